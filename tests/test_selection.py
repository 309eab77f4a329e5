"""Which pairs are asked about."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from memesearch.taste.chooser import RULES, Pair, Rule, expected_gradient
from memesearch.taste.labels import Labels, labels
from memesearch.taste.narrowing import INFORMATION, Narrowing
from memesearch.taste.ridge import Ridge
from memesearch.taste.select import SPREAD_PAIRS, propose

NOTHING = labels([], [])


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def items(count: int, dimensions: int = 16, seed: int = 0) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).standard_normal((count, dimensions)))


def answers(vectors: NDArray[np.float32], count: int, seed: int = 1) -> Labels:
    """Of a person who likes the first number."""
    pairs = np.random.default_rng(seed).integers(0, len(vectors), (count, 2))
    told = [(int(a), int(b), 1 if vectors[a, 0] > vectors[b, 0] else -1, True) for a, b in pairs if a != b]
    return labels(told, [])


def fitted(vectors: NDArray[np.float32], said: Labels) -> Ridge:
    model = Ridge()
    model.fit(vectors, said, np.arange(len(vectors)))
    return model


def ask(
    rule: Rule, vectors: NDArray[np.float32], said: Labels, count: int, seed: int = 0, **more: object
) -> list[Pair]:
    model = fitted(vectors, said) if len(vectors) else None
    everything = np.ones(len(vectors), bool)
    return propose(rule, model, vectors, said, count, np.random.default_rng(seed), everything, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("said", [0, 100])
def test_no_pair_is_repeated_or_of_near_duplicates_or_of_one_item(rule: Rule, said: int) -> None:
    originals = items(40)
    copies = unit(originals[:20] + 0.05 * items(20, seed=5))
    vectors = np.concatenate([originals, copies])
    told = answers(vectors, said)
    before = {frozenset(pair) for pair in zip(told.first.tolist(), told.second.tolist(), strict=True)}
    pairs = ask(rule, vectors, told, 60, avoid=[(0, 1), (3, 2)])
    asked = [frozenset((pair.first, pair.second)) for pair in pairs]
    assert len(pairs) == 60
    assert len(set(asked)) == len(asked)
    assert all(len(pair) == 2 for pair in asked)
    assert not set(asked) & (before | {frozenset((0, 1)), frozenset((2, 3))})
    assert all(vectors[pair.first] @ vectors[pair.second] <= 0.95 for pair in pairs)


@pytest.mark.parametrize("rule", RULES)
def test_pools_without_a_pair_end_with_none(rule: Rule) -> None:
    for vectors in (items(0), items(1), np.repeat(items(1), 5, axis=0)):
        assert ask(rule, vectors, NOTHING, 10) == []
    two = ask(rule, items(2), NOTHING, 10)
    assert [{pair.first, pair.second} for pair in two] == [{0, 1}]
    assert ask(rule, items(2), labels([(1, 0, 2, True)], []), 10) == []


@pytest.mark.parametrize("rule", RULES)
def test_only_eligible_items_are_shown(rule: Rule) -> None:
    vectors = items(60)
    eligible = np.arange(60) % 2 == 0
    model = fitted(vectors, answers(vectors, 100))
    pairs = propose(rule, model, vectors, answers(vectors, 100), 20, np.random.default_rng(0), eligible)
    assert pairs
    assert all(pair.first % 2 == 0 and pair.second % 2 == 0 for pair in pairs)


@pytest.mark.parametrize("rule", RULES)
def test_equal_seeds_choose_equally(rule: Rule) -> None:
    vectors = items(200)
    told = answers(vectors, 80)
    assert ask(rule, vectors, told, 20, seed=3) == ask(rule, vectors, told, 20, seed=3)
    assert ask(rule, vectors, told, 20, seed=3) != ask(rule, vectors, told, 20, seed=4)


def test_which_picture_comes_first_is_left_to_chance() -> None:
    pairs = ask("random", items(40), NOTHING, 400)
    assert 0.4 < np.mean([pair.first < pair.second for pair in pairs]) < 0.6


def test_thompson_asks_about_the_best_and_random_about_all() -> None:
    vectors = items(2000)
    told = answers(vectors, 300)
    share = {}
    for rule in ("thompson", "random"):
        pairs = [pair for pair in ask(rule, vectors, told, 100) if pair.reason == rule]
        asked = np.array([[pair.first, pair.second] for pair in pairs]).ravel()
        share[rule] = float(np.mean(np.argsort(np.argsort(-vectors[:, 0]))[asked] < 100))
    assert share["thompson"] > 0.4
    assert share["random"] < 0.15


def test_variance_asks_where_the_posterior_is_unsure() -> None:
    vectors = items(500)
    told = answers(vectors, 200)
    drawn = fitted(vectors, told).draws(vectors, 400, np.random.default_rng(9))
    spread = {
        rule: np.mean(
            [(drawn[:, p.first] - drawn[:, p.second]).var() for p in ask(rule, vectors, told, 50) if p.reason == rule]
        )
        for rule in ("variance", "random")
    }
    assert spread["variance"] > 1.3 * spread["random"]


def test_the_expected_gradient_is_that_of_the_loss() -> None:
    weights, first, second = np.array([0.4, -1.0]), np.array([0.3, 0.2]), np.array([-0.5, 0.9])

    def loss(w: NDArray[np.float64], won: int) -> float:
        difference = float(w @ (first - second))
        return float(np.log1p(np.exp(-difference if won else difference)))

    def slope(won: int) -> float:
        step = 1e-6
        return float(
            np.linalg.norm([(loss(weights + e, won) - loss(weights - e, won)) / (2 * step) for e in np.eye(2) * step])
        )

    chance = 1 / (1 + np.exp(-(weights @ (first - second))))
    expected = chance * slope(1) + (1 - chance) * slope(0)
    got = expected_gradient(np.array([[weights @ (first - second)]]), np.array([np.linalg.norm(first - second)]))
    assert got[0] == pytest.approx(expected, rel=1e-5)


def test_gradient_asks_about_pairs_that_are_far_apart_and_undecided() -> None:
    vectors = items(300)
    told = answers(vectors, 200)
    pairs = {rule: [p for p in ask(rule, vectors, told, 60) if p.reason == rule] for rule in ("gradient", "random")}
    apart = {rule: np.mean([vectors[p.first] @ vectors[p.second] for p in some]) for rule, some in pairs.items()}
    assert apart["gradient"] < apart["random"] - 0.2


def test_a_tenth_is_random_control_whatever_the_rule() -> None:
    vectors = items(1500)
    reasons = Counter(pair.reason for pair in ask("variance", vectors, answers(vectors, 100), 600))
    assert set(reasons) == {"variance", "control"}
    assert 30 <= reasons["control"] <= 95


def test_auto_begins_with_new_pictures_far_apart() -> None:
    centres = items(20, 64, seed=7)
    sizes = [600] + [10] * 19  # one kind fills three quarters of the library
    kind = np.repeat(np.arange(20), sizes)
    vectors = unit(centres[kind] + 0.05 * items(len(kind), 64))
    told = labels([(0, 700, 1, True)], [])
    pairs = ask("auto", vectors, told, 10)
    seen = [item for pair in pairs for item in (pair.first, pair.second)]
    assert {pair.reason for pair in pairs} == {"spread"}
    assert len(set(seen)) == 20
    assert len(set(kind[seen])) >= 16
    assert not {0, 700} & set(seen)


def test_auto_narrows_all_scores_and_asks_about_the_best_where_decisions_say_that_good_ones_are_rare() -> None:
    vectors = items(1000)
    order = np.argsort(-vectors[:, 0])
    told = answers(vectors, SPREAD_PAIRS + 20)
    reasons = Counter(pair.reason for pair in ask("auto", vectors, told, 100))
    assert set(reasons) == {"narrowing", "control"}
    assert 2 <= reasons["control"] <= 25
    pairs = list(zip(told.first.tolist(), told.second.tolist(), told.grade.tolist(), told.graded.tolist(), strict=True))
    kept = [(int(order[place]), place < 30) for place in range(0, 1000, 5)]
    reasons = Counter(pair.reason for pair in ask("auto", vectors, labels(pairs, kept), 200))
    assert set(reasons) == {"thompson", "random", "control"}
    assert 50 <= reasons["thompson"] <= 130
    often = [(int(order[place]), place < 500) for place in range(0, 1000, 5)]
    assert {pair.reason for pair in ask("auto", vectors, labels(pairs, often), 50)} == {"narrowing", "control"}


def test_auto_without_a_model_asks_at_random_after_the_first_pairs() -> None:
    vectors = items(500)
    eligible, random = np.ones(500, bool), np.random.default_rng(0)
    pairs = propose("auto", None, vectors, answers(vectors, SPREAD_PAIRS), 10, random, eligible)
    assert {pair.reason for pair in pairs} == {"random"}


def test_auto_changes_over_within_one_call() -> None:
    vectors = items(500)
    said = answers(vectors, SPREAD_PAIRS - 4)
    missing = SPREAD_PAIRS - len(said.first)
    reasons = [pair.reason for pair in ask("auto", vectors, said, 20)]
    assert reasons[:missing] == ["spread"] * missing
    assert set(reasons[missing:]) == {"narrowing", "control"}


def apart_from_the_mean(covariance: NDArray[np.float64]) -> float:
    """The mean variance of a score, less that of all scores together."""
    return float(np.diag(covariance).mean() - covariance.mean())


def after(covariance: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    """Of scores, once their difference was told with normal noise: textbook conditioning."""
    contrast = np.zeros(len(covariance))
    contrast[first], contrast[second] = 1, -1
    shared = covariance @ contrast
    return covariance - np.outer(shared, shared) / (1 / INFORMATION + contrast @ shared)


def test_narrowing_takes_as_much_variance_from_all_scores_as_a_regression_would() -> None:
    random = np.random.default_rng(0)
    factor = random.standard_normal((60, 8)).astype(np.float32)
    first, second = random.integers(0, 30, 200), random.integers(30, 60, 200)
    covariance = (factor @ factor.T).astype(np.float64)
    worth, gone = Narrowing(factor, first, second), np.zeros(200, bool)
    for turn in range(12):
        left = apart_from_the_mean(covariance)
        taken = np.array(
            [left - apart_from_the_mean(after(covariance, *two)) for two in zip(first, second, strict=True)]
        )
        found = worth.best()
        assert found
        place, value = found
        assert taken[place] == pytest.approx(taken[~gone].max(), rel=1e-3)
        assert value == pytest.approx(taken[place], rel=1e-3)
        gone[place] = True
        if turn % 3 == 2:
            worth.drop(place)
        else:
            worth.ask(place)
            covariance = after(covariance, first[place], second[place])


def test_narrowing_leaves_less_unknown_of_all_pictures_than_other_rules() -> None:
    vectors = items(800, 32)
    told = answers(vectors, 100)
    unknown = {}
    for rule in ("narrowing", "variance", "random"):
        pairs = [pair for pair in ask(rule, vectors, told, 40) if pair.reason == rule]
        factor = fitted(vectors, told).factor(vectors)
        covariance = (factor @ factor.T).astype(np.float64)
        for pair in pairs[:30]:
            covariance = after(covariance, pair.first, pair.second)
        unknown[rule] = apart_from_the_mean(covariance)
    assert unknown["narrowing"] < unknown["variance"] - 0.001
    assert unknown["narrowing"] < unknown["random"] - 0.001


@pytest.mark.parametrize("rule", RULES)
def test_a_hundred_thousand_items_need_no_table_of_pairs(rule: Rule) -> None:
    vectors = np.random.default_rng(0).standard_normal((100_000, 8), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    told = answers(vectors, 100)
    model = fitted(vectors, told)
    tracemalloc.start()
    pairs = propose(rule, model, vectors, told, 50, np.random.default_rng(0), np.ones(len(vectors), bool))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(pairs) == 50
    assert peak < 300e6


def test_thompson_finds_enough_of_the_best_for_a_large_round() -> None:
    vectors = items(2000)
    pairs = ask("thompson", vectors, answers(vectors, 300), 200)
    assert Counter(pair.reason for pair in pairs)["thompson"] > 150, "the others would be random"
