"""How well each label is foretold by all others, from one fit: what the strength of the ridge's prior is chosen by.

Taking one label out of a normal posterior is a division by the normal that the label put in, so no refit is needed
(leave-one-out of a Laplace posterior: Vehtari et al. 2016, section 3.2). The evidence would be as cheap, but by
Laplace's approximation it favours too narrow a prior while labels are few: every P(keep) is then too near one half.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.likelihood import CUT, EXTRAS, GAP, Rows, log_between

Numbers = NDArray[np.float64]
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
LOG_WEIGHTS = np.log(WEIGHTS / WEIGHTS.sum())
STEP = 0.01  # of the log precision, for a difference
LEAST_LEFT = 0.02  # of a label's precision must be other labels', or one label alone could be divided by nothing


@dataclass(frozen=True)
class Lines:
    """What the posterior says of each label. `middle`, `variance`: float64 [p + d], of the difference of two scores, or
    of a score with the intercept; `extras`: [3]."""

    middle: Numbers
    variance: Numbers
    extras: Numbers


def lines_of(rows: Rows, mean: Numbers, covariance: Numbers, precision: float) -> tuple[Lines, Lines]:
    """Of a fit, and how fast they change with the log precision of the prior."""
    count = len(mean) - EXTRAS
    alone = np.arange(len(rows.features)) >= rows.pairs
    features = np.column_stack([rows.rounded, alone.astype(np.float32)])
    turned = features @ covariance[: count + 1, : count + 1].astype(np.float32)  # the intercept is the first extra
    moving = -precision * (covariance[:, :count] @ mean[:count])
    here = Lines(
        np.asarray(features @ mean[: count + 1], np.float64),
        np.maximum(np.einsum("nk,nk->n", turned, features, dtype=np.float64), 1e-12),
        mean[-EXTRAS:],
    )
    middle = np.asarray(features @ moving[: count + 1], np.float64)
    cuts = [CUT, GAP]
    missing = missing_of(rows, here)
    towards = rows.sign * (middle[rows.base] + rows.extra[:, cuts] @ moving[-EXTRAS:][cuts])
    bending = np.bincount(rows.base, missing * (1 - missing) * (2 * missing - 1) * towards, len(middle))
    growing = features.T @ (features * bending.astype(np.float32)[:, None])  # of the negative Hessian
    growing[np.arange(count), np.arange(count)] += np.float32(precision)
    narrowing = -np.einsum("nk,nk->n", turned @ growing, turned, dtype=np.float64)
    return here, Lines(middle, narrowing, moving[-EXTRAS:])


def missing_of(rows: Rows, lines: Lines) -> Numbers:
    """1 minus the probability of each row at the middle."""
    cuts = [CUT, GAP]
    towards = rows.sign * (lines.middle[rows.base] + rows.extra[:, cuts] @ lines.extras[cuts])
    return np.asarray(1 / (1 + np.exp(np.clip(towards, -500, 500))), np.float64)


def log_foretold(rows: Rows, lines: Lines) -> float:
    """The sum over labels of the log probability that all other labels give it."""
    cuts = lines.extras[[CUT, GAP]]
    offset = rows.extra[:, [CUT, GAP]] @ cuts
    missing = missing_of(rows, lines)
    count = len(lines.middle)
    pull = np.bincount(rows.base, rows.sign * missing, count)
    curve = np.bincount(rows.base, missing * (1 - missing), count)
    variance = lines.variance / np.maximum(1 - curve * lines.variance, LEAST_LEFT)
    at = (lines.middle - variance * pull)[:, None] + np.sqrt(variance)[:, None] * POINTS
    each = -np.logaddexp(0.0, -rows.sign[:, None] * (at[rows.base] + offset[:, None]))
    places = rows.base[:, None] * len(POINTS) + np.arange(len(POINTS))
    together = np.bincount(places.ravel(), each.ravel(), at.size).reshape(at.shape) + LOG_WEIGHTS
    between = rows.equal * log_between(2 * cuts[0]) + rows.little * log_between(cuts[1])
    return float(np.logaddexp.reduce(together, axis=1).sum() + between)


def slope(rows: Rows, mean: Numbers, covariance: Numbers, precision: float) -> tuple[float, float]:
    """`log_foretold`, and its derivative in the log precision of the prior."""
    if not len(rows.features):
        return 0.0, 0.0
    here, change = lines_of(rows, mean, covariance, precision)

    def ahead(step: float) -> float:
        variance = here.variance * np.exp(step * change.variance / here.variance)
        extras = here.extras + step * change.extras
        extras[[CUT, GAP]] = np.maximum(extras[[CUT, GAP]], here.extras[[CUT, GAP]] / 2)
        return log_foretold(rows, Lines(here.middle + step * change.middle, variance, extras))

    return ahead(0.0), (ahead(STEP) - ahead(-STEP)) / (2 * STEP)
