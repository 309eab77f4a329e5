"""Bradley-Terry ridge: a linear score over principal components, with a Laplace posterior.

The default model. It has nothing to tune: how strong the prior is follows from the labels, which are to foretell each
other, and how sure it is of a score is part of the answer. A refit after one more answer is tens of milliseconds, for
the components stay and the search starts where it ended.
"""

import time
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from memesearch.taste import leave_one_out
from memesearch.taste.components import Components, principal_components
from memesearch.taste.labels import Labels
from memesearch.taste.likelihood import (
    CUT,
    EXTRAS,
    GAP,
    INTERCEPT,
    Rows,
    derivatives,
    log_likelihood,
    log_prior,
    rows_of,
)
from memesearch.taste.model import Groups, Numbers, Vectors

COMPONENTS = 512  # more foretell better still, but a refit takes time as their square
USUAL_DEVIATION = 1.3  # of scores before anything was said, in units where a difference of 1 is odds of e
DEVIATION_SPREAD = 0.3  # how unsure that is: standard deviation of its logarithm
HYPERPRIOR = 1 / (2 * DEVIATION_SPREAD) ** 2  # precision of the log precision
USUAL_FALL = 0.01  # of the slope, per label, for a log precision higher by 1
STEPS, ROUNDS = 50, 20
ROUNDING = 1e-13  # of the log probability, relative: what a step may seem to lose
LAST_STEP = 1e-5  # nats; the step that promises less leaves a gain of about the square of it
LONGEST = 1.0  # step in the log precision
SAME_PRIOR = 0.05  # log precisions closer than this give the same scores


@dataclass(frozen=True)
class Posterior:
    """Normal around the best fit. `mean`: float64 [k + 3], weights then extras; `covariance`: [k + 3, k + 3];
    `foretold`: log probability of all labels, each foretold by the others."""

    mean: Numbers
    covariance: Numbers
    precision: float
    foretold: float = 0.0

    def weights(self) -> Numbers:
        return self.mean[:-EXTRAS]

    def factor(self) -> Numbers:
        """float64 [k, k]; times its transpose it is the covariance of the weights."""
        return np.asarray(np.linalg.cholesky(self.covariance[:-EXTRAS, :-EXTRAS]), np.float64)


class Ridge:
    """A `TasteModel`. A fit replaces what was learned in one step, so other threads may ask meanwhile."""

    kind: ClassVar[str] = "ridge"

    def __init__(self) -> None:
        self._components: Components | None = None
        self._posterior: Posterior | None = None
        self._seen: tuple[Vectors, Vectors] | None = None  # the last fit's vectors and their projection

    def fit(self, vectors: Vectors, labels: Labels, groups: Groups) -> dict[str, Any]:
        """See `TasteModel`. `groups` is not needed: nothing is held out. `vectors` must not be changed afterwards."""
        started = time.perf_counter()
        components, projected, warm = self._projected(vectors)
        rows = rows_of(labels, projected)
        start = self._posterior if warm else None
        posterior, steps = most_probable(rows, start or nothing_said(projected.shape[1]))
        self._components, self._posterior, self._seen = components, posterior, (vectors, projected)
        extras = posterior.mean[-EXTRAS:]
        return {
            "seconds": time.perf_counter() - started,
            "warm": warm,
            "steps": steps,
            "pairs": len(labels.first),
            "decisions": len(labels.item),
            "components": projected.shape[1],
            "prior_deviation": posterior.precision**-0.5,
            "foretold_loss": -posterior.foretold / max(len(labels), 1),
            "cut_points": [float(extras[CUT]), float(extras[CUT] + extras[GAP])],
            "keep_intercept": float(extras[INTERCEPT]),
        }

    def _projected(self, vectors: Vectors) -> tuple[Components, Vectors, bool]:
        """Components, the vectors along them, and whether both are those of the last fit."""
        if self._components is not None and self._seen is not None:
            before, projected = self._seen
            if before is vectors or np.array_equal(before, vectors):
                return self._components, projected, True
        components = principal_components(vectors, COMPONENTS)
        return components, components.project(vectors), False

    def _features(self, vectors: Vectors) -> tuple[Vectors, Posterior]:
        if self._components is None or self._posterior is None:
            raise ValueError("this model was not fitted yet")
        components, posterior, seen = self._components, self._posterior, self._seen
        if seen is not None and seen[0] is vectors:
            return seen[1], posterior
        return components.project(vectors), posterior

    def score(self, vectors: Vectors) -> tuple[Numbers, Numbers]:
        features, posterior = self._features(vectors)
        weights = posterior.weights()
        spread = quadratic(features, posterior.covariance[: len(weights), : len(weights)])
        return features @ weights, np.sqrt(spread)

    def mean_score(self, vectors: Vectors) -> Numbers:
        features, posterior = self._features(vectors)
        return np.asarray(features @ posterior.weights(), np.float64)

    def keep_probability(self, vectors: Vectors) -> Numbers:
        """The logistic averaged over the posterior by MacKay's formula (1992)."""
        features, posterior = self._features(vectors)
        weights = posterior.weights()
        count = len(weights)
        spread = quadratic(features, posterior.covariance[:count, :count])
        spread += 2 * (features @ posterior.covariance[:count, count + INTERCEPT])
        spread += posterior.covariance[count + INTERCEPT, count + INTERCEPT]
        middle = features @ weights + posterior.mean[count + INTERCEPT]
        return np.asarray(1 / (1 + np.exp(-middle / np.sqrt(1 + np.pi * np.maximum(spread, 0) / 8))))

    def factor(self, vectors: Vectors) -> Vectors:
        features, posterior = self._features(vectors)
        return features @ posterior.factor().astype(np.float32)

    def draws(self, vectors: Vectors, count: int, random: np.random.Generator) -> Numbers:
        features, posterior = self._features(vectors)
        weights = posterior.weights()
        drawn = weights + random.standard_normal((count, len(weights))) @ posterior.factor().T
        return np.asarray(drawn.astype(np.float32) @ features.T, np.float64)

    def direction(self, vectors: Vectors) -> Vectors:
        """The exact gradient, the same everywhere; zeros while nothing tells one picture from another."""
        _, posterior = self._features(vectors)
        assert self._components is not None
        gradient = self._components.directions @ posterior.weights()
        length = float(np.linalg.norm(gradient))
        return np.asarray(gradient / length if length > 1e-12 else np.zeros_like(gradient), np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        if self._components is None or self._posterior is None:
            raise ValueError("this model was not fitted yet")
        return {
            "centre": self._components.centre,
            "directions": self._components.directions,
            "mean": self._posterior.mean,
            "covariance": self._posterior.covariance,
            "precision": np.array(self._posterior.precision),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        centre, directions, mean = arrays["centre"], arrays["directions"], arrays["mean"]
        covariance, precision = arrays["covariance"], float(arrays["precision"])
        size = len(mean)
        if directions.shape != (len(centre), size - EXTRAS) or covariance.shape != (size, size) or precision <= 0:
            raise ValueError("the arrays of the ridge do not belong together")
        model = cls()
        model._components = Components(centre, directions)
        model._posterior = Posterior(mean, covariance, precision)
        return model


def quadratic(features: Vectors, covariance: Numbers) -> Numbers:
    """The variance of each row's score, float64 [n]."""
    turned = features @ covariance.astype(np.float32)
    return np.asarray(np.maximum(np.einsum("nk,nk->n", turned, features, dtype=np.float64), 0), np.float64)


def nothing_said(count: int) -> Posterior:
    """Where the first fit starts: the prior."""
    mean = np.concatenate([np.zeros(count), [0.0, 1.0, 1.0]])
    return Posterior(mean, np.eye(count + EXTRAS), USUAL_DEVIATION**-2)


def most_probable(rows: Rows, start: Posterior) -> tuple[Posterior, int]:
    """The posterior at the prior precision under which labels are best foretold by each other, and how many Newton
    steps it took.

    The zero of the slope in the log precision is found by secants, kept between the sides of it that are known. The
    first step takes the slope to fall as it does for most people, which a refit after one more label nearly ends with.
    """
    mean, precision, total = start.mean, start.precision, 0
    low, high = -np.inf, np.inf
    falling = HYPERPRIOR + len(rows.features) * USUAL_FALL
    before: tuple[float, float] | None = None
    for _ in range(ROUNDS):
        mean, covariance, steps = newton(rows, mean, precision)
        total += steps
        at = float(np.log(precision))
        foretold, slope = foretelling(rows, mean, covariance, precision)
        found = Posterior(mean, covariance, precision, foretold)
        low, high = (max(low, at), high) if slope > 0 else (low, min(high, at))
        # a slope that hardly falls, or rises, tells nothing of where the zero is
        if before and (before[1] - slope) / (at - before[0]) > falling / 10:
            falling = (before[1] - slope) / (at - before[0])
        there = at + float(np.clip(slope / falling, -LONGEST, LONGEST))
        if abs(there - at) < SAME_PRIOR:
            break
        before = at, slope
        precision = float(np.exp(there if low < there < high else (low + high) / 2))
    return found, total


def foretelling(rows: Rows, mean: Numbers, covariance: Numbers, precision: float) -> tuple[float, float]:
    """The log probability of all labels, each foretold by the others; and the derivative, in the log precision, of
    that and the log hyperprior together."""
    foretold, slope = leave_one_out.slope(rows, mean, covariance, precision)
    beyond = float(np.log(precision)) + 2 * float(np.log(USUAL_DEVIATION))
    return foretold, slope - HYPERPRIOR * beyond


def newton(rows: Rows, start: Numbers, precision: float) -> tuple[Numbers, Numbers, int]:
    """The most probable parameters, the inverse of the negative Hessian there, and the number of steps.

    The Hessian is the one before the last step, which is too short to change it.
    """
    mean, steps = start, 0
    value = log_likelihood(rows, mean) + log_prior(mean, precision)
    while True:
        gradient, hessian = derivatives(rows, mean, precision)
        step = np.linalg.solve(hessian, gradient)
        promise = float(gradient @ step)
        last = promise < LAST_STEP or steps == STEPS
        length = 1.0
        while True:  # both the cut points' signs and the rise are kept; the function is concave, so this ends
            tried = mean + length * step
            if np.all(tried[-EXTRAS:][[CUT, GAP]] > 0):
                there = log_likelihood(rows, tried) + log_prior(tried, precision)
                least = value + 1e-4 * length * promise - ROUNDING * abs(value)
                if there >= least or length < 1e-10:
                    break
            length /= 2
        mean, value, steps = tried, there, steps + 1
        if last:
            return mean, symmetric_inverse(hessian), steps


def symmetric_inverse(matrix: Numbers) -> Numbers:
    inverse = np.linalg.inv(matrix)
    return np.asarray((inverse + inverse.T) / 2)
