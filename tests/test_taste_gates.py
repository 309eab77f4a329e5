"""How well the ridge learns simulated tastes: the small edition of bench/taste.py."""

from functools import cache

import numpy as np
from bench_script import bench_script

from memesearch.taste.measures import area
from memesearch.taste.model import Numbers
from memesearch.taste.ridge import Ridge
from memesearch.taste.simulate import Person, person, random_pairs

POOL, TEST, SEEDS = 5000, 3000, 6
SIZES = (256, 512, 1024)


@cache
def learned() -> dict[tuple[bool, int], Numbers]:
    """AUROC at a base rate of 44 % on pictures never paired, of each person: by graded or forced, and answers."""
    found: dict[tuple[bool, int], list[float]] = {}
    for seed in range(SEEDS):
        for kind in ("R1", "R2"):
            made = person(kind, POOL + TEST, seed)
            model = Ridge()  # refits share the components and differ in nothing else
            for graded in (False, True):
                for size, value in curve(model, made, graded, seed):
                    found.setdefault((graded, size), []).append(value)
    return {key: np.array(values) for key, values in found.items()}


def curve(model: Ridge, made: Person, graded: bool, seed: int) -> list[tuple[int, float]]:
    pool, test = made.vectors[:POOL], made.vectors[POOL:]
    good = made.good(0.44)[POOL:]
    first, second = random_pairs(POOL, max(SIZES), seed)
    answers = made.answer(first, second, graded, seed)
    values = []
    for size in SIZES:
        model.fit(pool, answers.only(np.arange(len(first)) < size, np.zeros(0, np.bool_)), np.arange(POOL))
        values.append((size, area(model.score(test)[0], good)))
    return values


def test_the_ridge_learns_as_much_as_a_correct_one_does() -> None:
    table = learned()
    assert table[False, 256].mean() >= 0.715
    assert table[False, 1024].mean() >= 0.795


def test_graded_answers_teach_more_than_forced_ones() -> None:
    table = learned()
    assert table[True, 512].mean() >= table[False, 512].mean() + 0.01


def test_four_hundred_graded_answers_are_worth_more_than_five_hundred_forced_ones() -> None:
    table = learned()
    at_400 = (table[True, 256] + (table[True, 512] - table[True, 256]) * np.log2(400 / 256)).mean()
    assert at_400 > table[False, 512].mean()


def test_400_graded_answers_about_chosen_pairs_teach_what_the_article_learns_from_1024() -> None:
    """Its ensemble reaches .793 for these twelve people by 1,024 forced pairs (bench/taste.py; minutes each)."""
    bench = bench_script("taste")
    found = [
        next(figures["auroc 44%"] for _, size, figures in bench.automatic(kind, seed) if size == 400)
        for seed in range(SEEDS)
        for kind in ("R1", "R2")
    ]
    assert np.mean(found) >= 0.793, found


def test_the_simulated_vectors_have_the_shape_of_real_ones() -> None:
    vectors = person("R1", 4000, 0).vectors
    assert vectors.shape == (4000, 1152)
    assert abs(np.linalg.norm(vectors.mean(axis=0)) - 0.80) < 0.02
    variances = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)[2:200] ** 2
    decay = np.polyfit(np.log(np.arange(3, 201)), np.log(variances), 1)[0]
    assert -1.2 < decay < -0.8


def test_the_simulated_person_answers_alike_with_few_and_with_many_grades() -> None:
    made = person("R2", 2000, 0, 64)
    first, second = random_pairs(2000, 3000, 0)
    forced, graded = made.answer(first, second, False, 0), made.answer(first, second, True, 0)
    told = graded.grade != 0
    np.testing.assert_array_equal(np.sign(graded.grade[told]), forced.grade[told])
    assert 0.1 < 1 - told.mean() < 0.25
    right = (forced.grade > 0) == (made.taste[first] > made.taste[second])
    assert 0.75 < right.mean() < 0.9


def test_a_refit_with_one_more_answer_takes_few_steps() -> None:
    made = person("R1", 2000, 0)
    first, second = random_pairs(2000, 513, 0)
    answers = made.answer(first, second, True, 0)
    model = Ridge()
    cold = model.fit(made.vectors, answers.only(np.arange(513) < 512, np.zeros(0, np.bool_)), np.arange(2000))
    warm = model.fit(made.vectors, answers, np.arange(2000))
    assert warm["warm"] and warm["steps"] <= 5 < cold["steps"]
