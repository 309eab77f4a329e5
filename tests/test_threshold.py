"""The queue's threshold: what it trusts when, and that it holds its target over a simulated year."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from bench_script import bench_script
from numpy.typing import NDArray

from memesearch.rater.database import RaterDatabase
from memesearch.rater.pipeline.chosen import RECENT, threshold_now
from memesearch.taste.threshold import NOTHING, Threshold, choose_threshold, logit, sigmoid

NONE = (np.zeros(0), np.zeros(0, bool))
STREAM = np.linspace(0.005, 0.995, 199)


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """bench/threshold.py, whose simulated year the tests run in small."""
    return bench_script("threshold")


def decided(count: int, offset: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Predictions, and decisions of a person who keeps more (offset > 0) or fewer than predicted."""
    random = np.random.default_rng(seed)
    keep = random.uniform(0.3, 0.99, count)
    return keep, random.random(count) < sigmoid(logit(keep) + offset)


def test_without_decisions_predictions_are_taken_at_their_word() -> None:
    found = choose_threshold(*NONE, 0.75, stream=STREAM)
    assert STREAM[found.value <= STREAM].mean() == pytest.approx(0.75, abs=0.01)
    assert found.expected == pytest.approx(0.75, abs=0.01)
    assert (found.decisions, found.effective, found.offset, found.slope) == (0, 0, 0, 1)
    assert found.low < 0.68 < 0.82 < found.high  # it says how little it knows


def test_without_anything_each_picture_must_be_good_enough_by_itself() -> None:
    assert choose_threshold(*NONE, 0.75).value == pytest.approx(0.75)


@pytest.mark.parametrize(("offset", "direction"), [(-1.0, 1), (1.0, -1)])
def test_decisions_move_the_threshold_and_many_fix_it(offset: float, direction: int) -> None:
    before = choose_threshold(*NONE, 0.75, stream=STREAM)
    few = choose_threshold(*decided(8, offset), 0.75, stream=STREAM)
    many = choose_threshold(*decided(600, offset), 0.75, stream=STREAM)
    assert direction * (many.value - before.value) > 0.05
    assert abs(few.value - before.value) < abs(many.value - before.value)
    truth = sigmoid(logit(STREAM[many.value <= STREAM]) + offset).mean()
    assert truth == pytest.approx(0.75, abs=0.04)
    assert many.low <= truth <= many.high
    assert many.high - many.low < before.high - before.low


def test_one_class_only_moves_it_without_breaking_it() -> None:
    keep = np.full(30, 0.8)
    all_kept = choose_threshold(keep, np.ones(30, bool), 0.75, stream=STREAM)
    none_kept = choose_threshold(keep, np.zeros(30, bool), 0.75, stream=STREAM)
    assert all_kept.value < choose_threshold(*NONE, 0.75, stream=STREAM).value < none_kept.value
    assert 0 < all_kept.expected < 1 and 0 < none_kept.expected < 1


def test_nothing_is_queued_when_nothing_can_be_good_enough() -> None:
    stream = np.linspace(0.01, 0.3, 100)
    found = choose_threshold(*NONE, 0.75, stream=stream)
    assert found.value > stream.max()  # but a good one that comes tomorrow is taken
    hopeless = choose_threshold(np.full(500, 0.5), np.zeros(500, bool), 0.95, stream=stream)
    assert hopeless.value > 0.95
    bad_at_any = np.tile([0.2, 0.9999], 2000)
    assert choose_threshold(bad_at_any, np.tile([False, True, False, False], 1000), 0.99).value == NOTHING


def test_a_picture_queued_by_chance_stands_for_those_that_chance_left_out() -> None:
    random = np.random.default_rng(5)
    high, low = random.uniform(0.8, 0.99, 200), random.uniform(0.5, 0.8, 12)
    keep, kept = np.concatenate([high, low]), np.concatenate([np.ones(200, bool), np.zeros(12, bool)])
    order = random.permutation(212)
    sampled = np.concatenate([np.ones(200), np.full(12, 0.03)])
    weighted = choose_threshold(keep[order], kept[order], 0.75, sampled=sampled[order])
    plain = choose_threshold(keep[order], kept[order], 0.75)
    # 12 of 3 % are about 400 bad ones below 0.8: with them, going down to 0.5 would not hold the target
    assert plain.value < 0.55
    assert weighted.value > 0.6


def test_decisions_on_explored_pictures_alone_are_enough() -> None:
    keep = np.random.default_rng(6).uniform(0.05, 0.5, 80)
    found = choose_threshold(keep, np.ones(80, bool), 0.75, sampled=np.full(80, 0.03), stream=STREAM)
    assert found.value < 0.4


def test_new_decisions_count_more_than_old_ones() -> None:
    old, new = decided(400, 1.0, 1), decided(400, -1.0, 2)
    one = choose_threshold(*(np.concatenate(parts) for parts in zip(old, new, strict=True)), 0.75, stream=STREAM)
    other = choose_threshold(*(np.concatenate(parts) for parts in zip(new, old, strict=True)), 0.75, stream=STREAM)
    assert one.value > choose_threshold(*NONE, 0.75, stream=STREAM).value > other.value


def test_a_higher_target_never_lowers_the_threshold_and_the_same_input_gives_the_same() -> None:
    keep, kept = decided(300, -0.5, 3)
    found = [choose_threshold(keep, kept, target, stream=STREAM) for target in np.linspace(0.1, 0.95, 18)]
    assert (np.diff([one.value for one in found]) >= 0).all()
    assert choose_threshold(keep, kept, 0.1, stream=STREAM) == found[0]
    assert isinstance(found[0], Threshold) and all(one.low < one.expected < one.high for one in found)


def test_probabilities_of_0_and_1_are_no_trouble_and_nonsense_is_refused() -> None:
    found = choose_threshold(
        np.array([0.0, 1.0, 1.0]), np.array([True, False, True]), 0.75, stream=np.array([0.0, 1.0])
    )
    assert np.isfinite([found.value, found.expected, found.low, found.high]).all()
    with pytest.raises(ValueError, match="different lengths"):
        choose_threshold(np.zeros(3), np.zeros(2, bool), 0.75)
    with pytest.raises(ValueError, match="target"):
        choose_threshold(*NONE, 1.0)
    for keep, sampled in ((np.nan, 1.0), (1.5, 1.0), (0.5, 0.0)):
        with pytest.raises(ValueError, match="must lie in"):
            choose_threshold(np.array([keep]), np.array([True]), 0.75, sampled=np.array([sampled]))


@pytest.mark.parametrize(("rate", "batch"), [(0.44, 200), (0.05, 2000)])
def test_over_a_year_of_drift_the_target_is_held_where_a_fixed_threshold_fails(
    bench: ModuleType, rate: float, batch: int
) -> None:
    target, seeds = 0.6, range(2)
    mine, fixed, naive = (
        [bench.year(rule, rate, target, seed, 365, batch) for seed in seeds] for rule in bench.RULES.values()
    )
    print([(round(year["precision"], 3), round(year["queued_a_day"], 1)) for year in mine])
    assert max(year["miss"] for year in mine) <= 0.03
    for others in (fixed, naive):
        assert np.mean([year["month_miss"] for year in mine]) < 0.7 * np.mean([year["month_miss"] for year in others])
    assert min(year["queued_a_day"] for year in mine) > 3


def test_what_comes_in_now_is_what_was_stored_last_also_after_the_clock_was_set_back(tmp_path: Path) -> None:
    database = RaterDatabase(tmp_path / "rater.db")
    with database.transaction() as db:
        for at, keep in ((4e9, 0.1), (1.7e9, 0.9)):
            db.executemany(
                "INSERT INTO scores(hash, filename, model, score, keep, outcome, at)"
                " VALUES (?, '', '', 0, ?, 'below', ?)",
                [(f"{at} {number}".encode(), keep, at) for number in range(RECENT)],
            )
    assert threshold_now(database, 0.75).expected == pytest.approx(0.9)
    database.close()
