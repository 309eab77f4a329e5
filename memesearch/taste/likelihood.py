"""Answers and decisions as rows of one logistic regression.

An answer's five grades follow a cumulative logit over the difference of two scores (McCullagh 1980), with cut points
-c2, -c1, c1, c2 so that swapping the two pictures mirrors the answer. With s the logistic function, the probability
between two cut points is s(A) - s(B) = s(A) s(-B) (1 - exp(B - A)), so a graded answer is two logistic rows and a
term in the distance of its cut points alone. All of it is concave in weights, intercept, c1 and c2 - c1 together:
there is one best fit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.labels import Labels

Numbers = NDArray[np.float64]
EXTRAS = 3  # numbers that are no weights: the intercept of decisions, c1, and c2 - c1
INTERCEPT, CUT, GAP = range(EXTRAS)
INTERCEPT_DEVIATION = 3.0  # a weak prior: from one in a thousand kept to nearly all


@dataclass(frozen=True)
class Rows:
    """What was said, as logistic rows, each of probability s(sign · (features[base] · weights + extra · extras)).

    Attributes:
        features: float64 [p + d, k]; differences of pairs, then items judged alone.
        rounded: float32 [p + d, k]; the same, for products of matrices, which take half the time in it.
        base: int64 [m]; the line of `features` of each row.
        extra: float64 [m, 3].
        sign: float64 [m]; 1 or -1.
        pairs: p, how many lines are of pairs.
        equal, little: how many answers say "equal" and "better" (not "much better").
    """

    features: Numbers
    rounded: NDArray[np.float32]
    base: NDArray[np.int64]
    extra: Numbers
    sign: Numbers
    pairs: int
    equal: int
    little: int


def rows_of(labels: Labels, features: NDArray[np.float32]) -> Rows:
    """Rows of all labels. `features`: float32 [n, k], of the items."""
    mirror = np.where(labels.grade < 0, -1, 1).astype(np.float32)
    pairs = (features[labels.first] - features[labels.second]) * mirror[:, None]
    alone = features[labels.item]
    rounded = np.concatenate([pairs, alone])
    grade = np.abs(labels.grade)
    forced, much = np.flatnonzero(~labels.graded), np.flatnonzero(labels.graded & (grade == 2))
    little, equal = np.flatnonzero(labels.graded & (grade == 1)), np.flatnonzero(labels.graded & (grade == 0))
    decided = len(pairs) + np.arange(len(alone))
    parts = [  # lines, extras (intercept, c1, gap), signs
        (forced, (0, 0, 0), 1.0),
        (much, (0, -1, -1), 1.0),
        (little, (0, -1, 0), 1.0),
        (little, (0, -1, -1), -1.0),
        (equal, (0, 1, 0), 1.0),
        (equal, (0, -1, 0), -1.0),
        (decided, (1, 0, 0), np.where(labels.kept, 1.0, -1.0)),
    ]
    return Rows(
        rounded.astype(np.float64),
        rounded,
        np.concatenate([lines for lines, _, _ in parts]),
        np.concatenate([np.tile(np.array(extra, np.float64), (len(lines), 1)) for lines, extra, _ in parts]),
        np.concatenate([np.broadcast_to(np.asarray(sign), len(lines)) for lines, _, sign in parts]),
        len(pairs),
        len(equal),
        len(little),
    )


def log_likelihood(rows: Rows, parameters: Numbers) -> float:
    """Of all rows, with the terms in the cut points. `parameters`: float64 [k + 3], weights then extras."""
    weights, extras = parameters[:-EXTRAS], parameters[-EXTRAS:]
    towards = rows.sign * ((rows.features @ weights)[rows.base] + rows.extra @ extras)
    between = rows.equal * log_between(2 * extras[CUT]) + rows.little * log_between(extras[GAP])
    return float(-np.logaddexp(0.0, -towards).sum() + between)


def log_between(distance: float) -> float:
    """log(1 - exp(-distance)), the part of an answer's probability that only its cut points make."""
    return float(np.log(-np.expm1(-distance)))


def log_prior(parameters: Numbers, precision: float) -> float:
    """Up to a constant: normal weights, a weak normal intercept, and c exp(-c) for each cut point's distance."""
    weights, extras = parameters[:-EXTRAS], parameters[-EXTRAS:]
    cuts = extras[[CUT, GAP]]
    normal = precision * float(weights @ weights) + (extras[INTERCEPT] / INTERCEPT_DEVIATION) ** 2
    return float(len(weights) * np.log(precision) / 2 - normal / 2 + (np.log(cuts) - cuts).sum())


def derivatives(rows: Rows, parameters: Numbers, precision: float) -> tuple[Numbers, Numbers]:
    """Gradient [k + 3] and negative Hessian [k + 3, k + 3] of log likelihood plus log prior; the latter is positive.

    What the labels add to the Hessian of the weights is summed in float32. Its error is far below the prior's part, and
    touches the way to the best fit alone, not where it lies.
    """
    weights, extras = parameters[:-EXTRAS], parameters[-EXTRAS:]
    towards = rows.sign * ((rows.features @ weights)[rows.base] + rows.extra @ extras)
    missing = 1 / (1 + np.exp(np.clip(towards, -500, 500)))  # 1 - the row's probability
    pull, curve = rows.sign * missing, missing * (1 - missing)
    lines, count = len(rows.features), len(weights)

    def gathered(values: Numbers) -> Numbers:
        return np.asarray(np.bincount(rows.base, values, lines), np.float64)

    gradient = np.concatenate([rows.features.T @ gathered(pull) - precision * weights, rows.extra.T @ pull])
    hessian = np.empty((count + EXTRAS, count + EXTRAS))
    steep = rows.rounded * np.sqrt(gathered(curve)).astype(np.float32)[:, None]
    hessian[:count, :count] = steep.T @ steep  # a product with itself takes half the time
    hessian[np.arange(count), np.arange(count)] += precision
    cross = rows.features.T @ np.stack([gathered(curve * rows.extra[:, part]) for part in range(EXTRAS)], axis=1)
    hessian[:count, count:], hessian[count:, :count] = cross, cross.T
    hessian[count:, count:] = rows.extra.T @ (rows.extra * curve[:, None])
    own_gradient, own_curve = extras_alone(rows, extras)
    gradient[count:] += own_gradient
    hessian[np.arange(count, count + EXTRAS), np.arange(count, count + EXTRAS)] += own_curve
    return gradient, hessian


def extras_alone(rows: Rows, extras: Numbers) -> tuple[Numbers, Numbers]:
    """Gradient and negative second derivative of the terms that hold one extra each: priors and distances of cuts."""
    gradient, curve = np.empty(EXTRAS), np.empty(EXTRAS)
    gradient[INTERCEPT] = -extras[INTERCEPT] / INTERCEPT_DEVIATION**2
    curve[INTERCEPT] = 1 / INTERCEPT_DEVIATION**2
    for part, times, count in ((CUT, 2.0, rows.equal), (GAP, 1.0, rows.little)):
        value = extras[part]
        growth = np.expm1(min(times * value, 500.0))
        gradient[part] = 1 / value - 1 + count * times / growth
        curve[part] = 1 / value**2 + count * times**2 * (growth + 1) / growth**2
    return gradient, curve
