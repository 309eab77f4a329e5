"""The threshold of the queue: how sure a model must be before a picture is shown, for a precision the person set.

A threshold that was right once is wrong soon: models are retrained, taste and sources drift. So it is estimated again
from the queue's own decisions after every batch. Predictions are first taken at their word; decisions correct them.

1. Recalibration (Platt, 1999): P(kept) = sigmoid(a + b logit P(keep)), with the prior a ~ N(0, 0.5), b ~ N(1, 0.25)
   (standard deviations), so that few decisions change little. Old decisions count less.
2. The precision of everything from a threshold on is the mean recalibrated probability there, plus the mean of what
   decisions there deviate from it: a doubly robust estimate (Robins, Rotnitzky and Zhao, 1994). A picture that was
   queued by chance stands for all that chance did not take: it weighs the inverse of its probability.
3. The threshold is the lowest down to which that precision holds the target.

This holds the target on average, not with certainty for each batch: with the number of decisions that a person makes,
a certain threshold would show next to nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from memesearch.taste.measures import Numbers, Truth, on_logit_scale

PRIOR = np.array([0.0, 1.0])
PRIOR_SPREAD = np.array([0.5, 0.25])
HALF_LIFE = 150.0  # decisions after which one counts half
FORGOTTEN = 12  # half-lives after which a decision is not looked at any more
LEAST_SLOPE = 0.1  # more probable never means worse
TRUSTED = 40.0  # so many decisions correct the recalibrated probabilities by half of what they deviate
EDGE = 1e-4  # probabilities are kept so far from 0 and 1
CANDIDATES = 400
NOTHING = 1.01  # a threshold that no probability reaches


@dataclass(frozen=True)
class Threshold:
    """From which P(keep) on pictures are queued, and what is expected of them.

    Attributes:
        value: above 1 when nothing is good enough.
        expected: the precision of what is queued, with its 95 % interval `low` to `high`.
        decisions: how many the estimate rests on.
        effective: the same, old and unlikely ones counted as the little they tell.
        offset, slope: of the recalibration, on the logit scale; 0 and 1 when predictions are right.
    """

    value: float
    expected: float
    low: float
    high: float
    decisions: int
    effective: float
    offset: float
    slope: float


@dataclass(frozen=True)
class Recalibration:
    """Posterior of offset and slope: mean float64 [2], covariance float64 [2, 2]."""

    mean: Numbers
    covariance: Numbers

    def __call__(self, keep: Numbers) -> Numbers:
        return sigmoid(self.mean[0] + self.mean[1] * logit(keep))


class Decided(NamedTuple):
    """What was decided: predictions, outcomes, and how many pictures of today each one stands for."""

    keep: Numbers
    kept: Truth
    chances: Numbers


class Coming(NamedTuple):
    """Predictions for what comes in, and the share of each."""

    keep: Numbers
    shares: Numbers


def choose_threshold(
    keep: Numbers,
    kept: Truth,
    target: float,
    *,
    sampled: Numbers | None = None,
    stream: Numbers | None = None,
) -> Threshold:
    """The lowest threshold on P(keep) whose expected precision is `target`.

    Args:
        keep: float64 [m]; P(keep) as it was predicted when each picture was queued, oldest decision first. Never the
            prediction of a later model, which has learnt from the very decision.
        kept: bool [m]; what the person decided.
        target: the share of queued pictures that shall be kept, between 0 and 1.
        sampled: float64 [m]; with which probability each was queued: 1 above the threshold of its time, the
            exploration's share below it. None: all 1.
        stream: float64 [s]; P(keep) of pictures as they come in now, queued or not (the last few batches). None:
            the decisions' own, weighted by 1 / `sampled`.

    Raises:
        ValueError: arrays of different lengths, or numbers that are no probabilities.
    """
    sampled = np.ones(len(keep)) if sampled is None else sampled
    check(keep, kept, sampled, target)
    recent = slice(-int(FORGOTTEN * HALF_LIFE), None)
    keep, kept, sampled = keep[recent], kept[recent], sampled[recent]
    keep = np.clip(keep, EDGE, 1 - EDGE)
    recency = 0.5 ** (np.arange(len(keep))[::-1] / HALF_LIFE)
    chances = recency / sampled
    if stream is None or not len(stream):
        stream, shares = keep, chances
    else:
        stream, shares = np.clip(stream, EDGE, 1 - EDGE), np.ones(len(stream))
    recalibration = recalibrate(keep, kept, recency)
    decided, coming = Decided(keep, kept, chances), Coming(stream, shares)
    values = candidates(stream, reaches(recalibration, target))
    expected, spread, effective = expectations(values, recalibration, decided, coming)
    good_enough = np.flatnonzero((expected >= target - 1e-9) & (values < NOTHING))
    place = int(good_enough[0]) if len(good_enough) else len(values) - 1
    bounds = on_logit_scale(float(expected[place]), float(spread[place]))
    offset, slope = recalibration.mean.tolist()
    value, rests_on = float(values[place]), float(effective[place])
    return Threshold(value, bounds.value, bounds.low, bounds.high, len(kept), rests_on, offset, slope)


def check(keep: Numbers, kept: Truth, sampled: Numbers, target: float) -> None:
    if not len(keep) == len(kept) == len(sampled):
        raise ValueError("predictions, decisions and sampling probabilities have different lengths")
    if not 0 < target < 1:
        raise ValueError("the target precision must lie between 0 and 1")
    if not np.all((keep >= 0) & (keep <= 1)) or not np.all((sampled > 0) & (sampled <= 1)):
        raise ValueError("predictions must lie in [0, 1] and sampling probabilities in (0, 1]")


def recalibrate(keep: Numbers, kept: Truth, weights: Numbers) -> Recalibration:
    """Laplace approximation of offset and slope by Newton's method; the posterior is log-concave."""
    design = np.column_stack([np.ones(len(keep)), logit(keep)])
    precision = np.diag(PRIOR_SPREAD**-2)
    mean = PRIOR.copy()
    for _ in range(50):
        probability = sigmoid(design @ mean)
        gradient = design.T @ (weights * (kept - probability)) - precision @ (mean - PRIOR)
        hessian = (design.T * (weights * probability * (1 - probability))) @ design + precision
        step = np.linalg.solve(hessian, gradient)
        mean = mean + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return Recalibration(np.array([mean[0], max(LEAST_SLOPE, mean[1])]), np.asarray(np.linalg.inv(hessian), np.float64))


def reaches(recalibration: Recalibration, target: float) -> float:
    """The P(keep) whose recalibrated probability is `target`; NOTHING when none gets there."""
    place = (float(logit(np.array([target]))[0]) - recalibration.mean[0]) / recalibration.mean[1]
    return float(sigmoid(np.array([place]))[0]) if place < float(logit(np.array([1 - EDGE]))[0]) else NOTHING


def candidates(stream: Numbers, alone: float) -> Numbers:
    """Thresholds to try, rising. From `alone` on a picture is good enough by itself, whatever else comes."""
    values = np.unique(stream)
    if len(values) > CANDIDATES:
        values = values[np.unique(np.linspace(0, len(values) - 1, CANDIDATES).astype(int))]
    return np.unique(np.append(values, [alone, NOTHING]))


def expectations(
    values: Numbers, recalibration: Recalibration, decided: Decided, coming: Coming
) -> tuple[Numbers, Numbers, Numbers]:
    """For each threshold of `values`: expected precision, its standard deviation, effective number of decisions."""
    probability = recalibration(coming.keep)
    steepness = probability * (1 - probability)
    share, mass, flat, tilted = sums_from(
        values,
        coming.keep,
        [
            coming.shares * part
            for part in (np.ones(len(steepness)), probability, steepness, steepness * logit(coming.keep))
        ],
    )
    # nothing comes from there on at the moment: the least that would be taken stands for it
    least = np.clip(values, EDGE, 1 - EDGE)
    alone, none = recalibration(least), share == 0
    by_model = np.where(none, alone, mass / np.where(none, 1, share))
    slopes = np.column_stack([flat, tilted]) / np.where(none, 1, share)[:, None]
    slopes[none] = (alone * (1 - alone))[none, None] * np.column_stack([np.ones(len(values)), logit(least)])[none]
    variance = np.einsum("vi,ij,vj->v", slopes, recalibration.covariance, slopes)

    believed, weights = recalibration(decided.keep), decided.chances
    total, squares, deviation, noise = sums_from(
        values,
        decided.keep,
        [weights, weights**2, weights * (decided.kept - believed), weights**2 * believed * (1 - believed)],
    )
    effective = total**2 / np.maximum(squares, 1e-300)
    trust = effective / (effective + TRUSTED)
    some = np.where(total > 0, total, 1)
    expected = np.clip(by_model + trust * deviation / some, EDGE, 1 - EDGE)
    return expected, np.sqrt((1 - trust) ** 2 * variance + trust**2 * noise / some**2), effective


def sums_from(values: Numbers, keep: Numbers, parts: list[Numbers]) -> list[Numbers]:
    """Of each part, the sum over all whose `keep` is at least the value, for each of `values`."""
    order = np.argsort(keep, kind="stable")
    start = np.searchsorted(keep[order], values, "left")
    return [np.append(np.cumsum(part[order][::-1])[::-1], 0.0)[start] for part in parts]


def logit(probability: Numbers) -> Numbers:
    return np.log(probability) - np.log1p(-probability)


def sigmoid(score: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-np.clip(score, -500, 500))), np.float64)
