"""How well scores and probabilities tell good pictures from bad ones, each measure with its uncertainty.

`scores` is float64 [n], higher is better; `good` is bool [n], the person's own word; `probability` is float64 [n],
P(good). Ties are counted half, never broken by order.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from memesearch.errors import NotEnoughLabels

Numbers = NDArray[np.float64]
Truth = NDArray[np.bool_]
NORMAL_95 = 1.959963984540054  # of the normal distribution, 95 % lies within so many standard deviations
SMALLEST = 1e-12  # the least probability whose logarithm is taken


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Roc:
    """Points from (0, 0) to (1, 1), float64 [k]; `threshold`: a picture is taken from this score on."""

    false_positive: Numbers
    true_positive: Numbers
    threshold: Numbers


@dataclass(frozen=True)
class PrecisionRecall:
    """For each distinct score as threshold, falling, float64 [k]; `low` and `high` are Wilson's for the precision."""

    threshold: Numbers
    precision: Numbers
    low: Numbers
    high: Numbers
    recall: Numbers
    taken: Numbers


@dataclass(frozen=True)
class Bin:
    """Pictures that were predicted alike: the mean prediction, what came of it, how many."""

    predicted: float
    observed: Interval
    count: int


def check(scores: Numbers, good: Truth, both: bool = True) -> None:
    """Raise NotEnoughLabels or ValueError unless something can be measured; `both`: of good and of bad ones."""
    if len(scores) != len(good):
        raise ValueError("scores and judgements have different lengths")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold numbers that are not finite")
    if not len(good) or (both and (good.all() or not good.any())):
        needed = "at least one good and one bad picture" if both else "at least one picture"
        raise NotEnoughLabels(f"this measure needs {needed}; judge more")


def ranks(scores: Numbers) -> Numbers:
    """1 for the lowest; equal scores share the mean of their ranks."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse], np.float64)


def area(scores: Numbers, good: Truth) -> float:
    """The share of (good, bad) couples in which the good one has the higher score; float, NaN for one class only."""
    many, few = int(good.sum()), int((~good).sum())
    if not many or not few:
        return float("nan")
    return float((ranks(scores)[good].sum() - many * (many + 1) / 2) / (many * few))


def auroc(scores: Numbers, good: Truth) -> Interval:
    """The area under the ROC curve with its 95 % interval after DeLong.

    The variance is that of DeLong et al. (1988) by the midranks of Sun and Xu (2014); the interval is taken on the
    logit scale, so that it stays within 0 and 1. Without any error DeLong's variance is 0: the interval is then
    Wilson's for as many trials as the rarer class has.

    Raises:
        NotEnoughLabels: all are good, or all are bad.
    """
    check(scores, good)
    value = area(scores, good)
    many, few = int(good.sum()), int((~good).sum())
    if value in (0.0, 1.0):
        bounds = wilson(value * min(many, few), min(many, few))
        return Interval(value, bounds.low, bounds.high)
    everyone = ranks(scores)
    of_good = (everyone[good] - ranks(scores[good])) / few  # how many of the bad ones each good one beats
    of_bad = 1 - (everyone[~good] - ranks(scores[~good])) / many
    spread = sqrt(sum(float(np.var(part, ddof=min(1, len(part) - 1))) / len(part) for part in (of_good, of_bad)))
    return on_logit_scale(value, spread)


def on_logit_scale(value: float, spread: float) -> Interval:
    """The interval of a share with standard deviation `spread`, by the delta method."""
    middle, width = np.log(value / (1 - value)), NORMAL_95 * spread / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-np.clip([middle - width, middle + width], -700, 700)))
    return Interval(value, float(low), float(high))


def wilson(successes: float, trials: float) -> Interval:
    """Wilson's interval for a share; `trials` may be an effective number. (0 to 1) without any trial."""
    if trials <= 0:
        return Interval(float("nan"), 0.0, 1.0)
    share, square = successes / trials, NORMAL_95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    width = NORMAL_95 / (1 + square / trials) * sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return Interval(share, max(0.0, min(share, middle - width)), min(1.0, max(share, middle + width)))


def steps(scores: Numbers, good: Truth) -> tuple[Numbers, Numbers, Numbers]:
    """Distinct scores, falling, and how many are taken from each on: all, and good ones; float64 [k]."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    return scores[order][last], (last + 1).astype(np.float64), np.cumsum(good[order])[last].astype(np.float64)


def roc(scores: Numbers, good: Truth) -> Roc:
    """The ROC curve; its area by trapezoids is `area`. Raises NotEnoughLabels."""
    check(scores, good)
    threshold, taken, hits = steps(scores, good)
    false = (taken - hits) / (~good).sum()
    true = hits / good.sum()
    return Roc(np.append(0.0, false), np.append(0.0, true), np.append(np.inf, threshold))


def precision_recall(scores: Numbers, good: Truth) -> PrecisionRecall:
    """Precision and recall by threshold. Raises NotEnoughLabels when nothing is good."""
    check(scores, good, both=False)
    if not good.any():
        raise NotEnoughLabels("recall needs at least one good picture; judge more")
    threshold, taken, hits = steps(scores, good)
    bounds = [wilson(hit, count) for hit, count in zip(hits, taken, strict=True)]
    low, high = np.array([bound.low for bound in bounds]), np.array([bound.high for bound in bounds])
    return PrecisionRecall(threshold, hits / taken, low, high, hits / good.sum(), taken)


def precision_at(scores: Numbers, good: Truth, count: int) -> float:
    """The share of good ones among the best `count` (P@k); of a tie across the end, its mean over all orders."""
    check(scores, good, both=False)
    count = min(count, len(scores))
    if count < 1:
        raise ValueError("at least one picture must be looked at")
    edge = np.sort(scores)[::-1][count - 1]
    above, at = scores > edge, scores == edge
    return float((good[above].sum() + good[at].mean() * (count - above.sum())) / count)


def log_loss(probability: Numbers, good: Truth) -> float:
    """Mean of -log P(what was said), in nats; 0.693 is a coin."""
    check(probability, good, both=False)
    said = np.where(good, probability, 1 - probability)
    return float(-np.log(np.maximum(said, SMALLEST)).mean())


def brier(probability: Numbers, good: Truth) -> float:
    """Mean squared error of the probability; 0.25 is a coin."""
    check(probability, good, both=False)
    return float(np.square(probability - good).mean())


def calibration(probability: Numbers, good: Truth, bins: int = 10) -> list[Bin]:
    """Equally many pictures to a bin, by rising probability; equal probabilities are never in two bins."""
    check(probability, good, both=False)
    place = np.minimum((ranks(probability) - 1) * bins // len(probability), bins - 1)
    return [
        Bin(float(probability[place == bin_].mean()), share(good[place == bin_]), int((place == bin_).sum()))
        for bin_ in np.unique(place)
    ]


def kept_by_percentile(percentile: Numbers, good: Truth, edges: Numbers) -> list[tuple[float, float, Bin]]:
    """For each span [low, high) of score percentiles (the last one closed) that holds judgements: the share of good."""
    check(percentile, good, both=False)
    spans = []
    for low, high in pairwise(edges):
        inside = (percentile >= low) & ((percentile < high) | ((high == edges[-1]) & (percentile == high)))
        if inside.any():
            found = Bin(float(percentile[inside].mean()), share(good[inside]), int(inside.sum()))
            spans.append((float(low), float(high), found))
    return spans


def share(good: Truth) -> Interval:
    return wilson(float(good.sum()), len(good))
