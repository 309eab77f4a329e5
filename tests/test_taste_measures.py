"""Measures against plain counts, published figures, and simulated coverage."""

import numpy as np
import pytest

from memesearch.errors import NotEnoughLabels
from memesearch.taste import measures
from memesearch.taste.measures import area, auroc, calibration, precision_at, precision_recall, roc, wilson
from memesearch.taste.resampling import paired_bootstrap


def judged(count: int, seed: int = 0, gap: float = 1.2, rate: float = 0.44):  # type: ignore[no-untyped-def]
    """Scores with many ties, and what the person said."""
    random = np.random.default_rng(seed)
    good = random.random(count) < rate
    return np.round(random.normal(size=count) + gap * good, 1), good


def counted(scores, good) -> float:  # type: ignore[no-untyped-def]
    """AUROC by looking at every couple of a good and a bad one."""
    wins = [(one > other) + (one == other) / 2 for one in scores[good] for other in scores[~good]]
    return float(np.mean(wins))


def delong(scores, good) -> float:  # type: ignore[no-untyped-def]
    """DeLong's standard error by its definition, over all couples."""
    won = np.array([[(one > other) + (one == other) / 2 for other in scores[~good]] for one in scores[good]])
    return float(np.sqrt(won.mean(1).var(ddof=1) / won.shape[0] + won.mean(0).var(ddof=1) / won.shape[1]))


@pytest.mark.parametrize("seed", range(5))
def test_auroc_and_its_interval_equal_the_plain_count_over_all_couples(seed: int) -> None:
    scores, good = judged(80, seed)
    found = auroc(scores, good)
    assert found.value == pytest.approx(counted(scores, good), abs=1e-12)
    slope = 1 / (found.value * (1 - found.value))  # of the logit
    logit = np.log(np.array([found.low, found.high]) / (1 - np.array([found.low, found.high])))
    assert (logit[1] - logit[0]) / 2 == pytest.approx(1.959964 * delong(scores, good) * slope, rel=1e-6)


def test_the_interval_of_auroc_holds_the_truth_95_times_of_100() -> None:
    truth = auroc(*judged(200_000, 99)).value
    inside = [found.low <= truth <= found.high for found in (auroc(*judged(150, seed)) for seed in range(400))]
    assert 0.92 <= np.mean(inside) <= 0.98


def test_auroc_without_errors_is_not_believed_to_be_certain() -> None:
    scores = np.arange(10.0)
    perfect, inverted = auroc(scores, scores > 6.5), auroc(-scores, scores > 6.5)
    assert (perfect.value, perfect.high) == (1.0, 1.0) and perfect.low == wilson(3, 3).low < 0.5
    assert (inverted.value, inverted.low) == (0.0, 0.0) and inverted.high > 0.5
    assert auroc(np.zeros(10), scores > 5.5).value == 0.5
    one_of_each = auroc(np.array([0.0, 1.0, 2.0]), np.array([False, True, False]))
    assert 0 <= one_of_each.low <= 0.5 <= one_of_each.high <= 1


@pytest.mark.parametrize("measure", [auroc, roc])
def test_one_class_only_cannot_be_ranked(measure) -> None:  # type: ignore[no-untyped-def]
    for good in (np.ones(4, bool), np.zeros(4, bool), np.zeros(0, bool)):
        with pytest.raises(NotEnoughLabels, match="one good and one bad"):
            measure(np.zeros(len(good)), good)
    with pytest.raises(ValueError, match="not finite"):
        measure(np.array([0.0, np.nan]), np.array([True, False]))


def test_the_area_under_the_roc_points_is_auroc() -> None:
    scores, good = judged(120)
    points = roc(scores, good)
    assert np.trapezoid(points.true_positive, points.false_positive) == pytest.approx(area(scores, good))
    assert (points.false_positive[0], points.true_positive[0], points.threshold[0]) == (0, 0, np.inf)
    assert (points.false_positive[-1], points.true_positive[-1]) == (1, 1)


def test_precision_and_recall_are_those_of_taking_what_reaches_the_threshold() -> None:
    scores, good = judged(120)
    found = precision_recall(scores, good)
    assert (np.diff(found.threshold) < 0).all()
    for place, threshold in enumerate(found.threshold):
        taken = good[scores >= threshold]
        assert found.precision[place] == pytest.approx(taken.mean())
        assert found.recall[place] == pytest.approx(taken.sum() / good.sum())
        assert found.low[place] <= found.precision[place] <= found.high[place]
    with pytest.raises(NotEnoughLabels):
        precision_recall(scores, np.zeros(120, bool))


def test_precision_of_the_best_k_shares_a_tie_out() -> None:
    scores, good = np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False, True])
    assert precision_at(scores, good, 1) == 1
    assert precision_at(scores, good, 2) == pytest.approx((1 + 1 / 3) / 2)
    assert precision_at(scores, good, 99) == pytest.approx(3 / 5)


def test_wilsons_interval_is_the_published_one() -> None:
    # 10 of 12, as the reference's threshold selected; values of the R package binom
    assert (wilson(10, 12).low, wilson(10, 12).high) == (
        pytest.approx(0.55196, abs=1e-4),
        pytest.approx(0.95304, abs=1e-4),
    )
    assert (wilson(0, 10).low, wilson(0, 10).high) == (0.0, pytest.approx(0.27753, abs=1e-4))
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_log_loss_and_brier_are_least_for_the_true_probability() -> None:
    random = np.random.default_rng(0)
    true = random.random(20_000)
    good = random.random(20_000) < true
    for measure in (measures.log_loss, measures.brier):
        assert measure(true, good) < measure(np.sqrt(true), good)
        assert measure(true, good) < measure(np.full(20_000, 0.5), good)
    assert measures.log_loss(np.full(4, 0.5), good[:4]) == pytest.approx(np.log(2))
    assert measures.brier(np.full(4, 0.5), good[:4]) == pytest.approx(0.25)
    assert np.isfinite(measures.log_loss(np.array([0.0]), np.array([True])))


def test_calibration_bins_hold_equally_many_and_show_what_came_of_predictions() -> None:
    random = np.random.default_rng(0)
    probability = random.random(2000)
    good = random.random(2000) < probability
    bins = calibration(probability, good)
    assert [part.count for part in bins] == [200] * 10
    assert sum(part.observed.low <= part.predicted <= part.observed.high for part in bins) >= 8
    assert len(calibration(np.full(50, 0.3), good[:50])) == 1


def test_kept_by_percentile_counts_each_picture_once_up_to_the_best() -> None:
    percentile, good = np.array([0.0, 10.0, 49.9, 50.0, 99.0, 100.0]), np.array([0, 0, 1, 1, 1, 1], bool)
    spans = measures.kept_by_percentile(percentile, good, np.array([0.0, 50.0, 90.0, 95.0, 100.0]))
    assert [(low, high, part.count, part.observed.value) for low, high, part in spans] == [
        (0, 50, 3, pytest.approx(1 / 3)),
        (50, 90, 1, 1.0),
        (95, 100, 2, 1.0),
    ]


def test_the_paired_bootstrap_sees_a_difference_that_two_intervals_would_hide() -> None:
    random = np.random.default_rng(1)
    good = random.random(150) < 0.44
    picture = random.normal(size=150)
    worse, better = picture + 0.9 * good, picture + 1.25 * good
    assert auroc(worse, good).high > auroc(better, good).low
    found = paired_bootstrap(worse, better, good)
    assert found.low > 0 and found.probability > 0.99
    assert found.value == pytest.approx(area(better, good) - area(worse, good))
    assert paired_bootstrap(worse, better, good) == found
    same = paired_bootstrap(worse, worse, good)
    assert (same.value, same.low, same.high, same.probability) == (0, 0, 0, 0.5)


def test_the_bootstrap_over_groups_knows_that_copies_tell_nothing_new() -> None:
    random = np.random.default_rng(2)
    good = random.random(60) < 0.5
    first, second = random.normal(size=60) + good, random.normal(size=60) + good
    alone = paired_bootstrap(first, second, good)
    copies = [np.repeat(part, 4) for part in (first, second, good, np.arange(60))]
    grouped = paired_bootstrap(*copies)
    believed = paired_bootstrap(*copies[:3])
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert believed.high - believed.low < 0.7 * (grouped.high - grouped.low)
    with pytest.raises(ValueError, match="one class"):
        paired_bootstrap(first, second, np.ones(60, bool))
