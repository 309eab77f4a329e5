"""What the ridge is tuned by: labels foretold by each other; and whether its P(keep) then is how many are kept."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from memesearch.taste import leave_one_out
from memesearch.taste.components import principal_components
from memesearch.taste.labels import Labels
from memesearch.taste.likelihood import EXTRAS, Rows, rows_of
from memesearch.taste.measures import area
from memesearch.taste.ridge import DEVIATION_SPREAD, USUAL_DEVIATION, Ridge, most_probable, newton, nothing_said
from memesearch.taste.simulate import person, random_pairs

POOL, TEST, DIMENSIONS, BASE_RATE = 2000, 2000, 256, 0.2
PAIRS = 120


def some_rows(pairs: int, decisions: int, components: int | None = None) -> tuple[Labels, NDArray[np.float32], Rows]:
    made = person("R1", 400, 3, 40)
    first, second = random_pairs(400, pairs, 3)
    said = made.answer(first, second, True, 3).joined(made.decide(np.arange(0, 400, 9)[:decisions], 0.4, 3))
    features = principal_components(made.vectors, 256).project(made.vectors)[:, :components]
    return said, features, rows_of(said, features)


def foretold_by_refits(said: Labels, features: NDArray[np.float32], precision: float) -> float:
    """By the definition: each label's probability under the posterior without it, by many draws."""
    random, total = np.random.default_rng(0), 0.0
    pairs, decisions = len(said.first), len(said.item)
    for place in range(pairs + decisions):
        out = np.arange(pairs + decisions) == place
        rest = rows_of(said.only(~out[:pairs], ~out[pairs:]), features)
        mean, covariance, _ = newton(rest, nothing_said(features.shape[1]).mean, precision)
        drawn = random.multivariate_normal(mean, covariance, 2000)
        drawn[:, -2:] = mean[-2:]  # the cut points are not drawn
        total += np.log(np.exp(likelihoods(said.only(out[:pairs], out[pairs:]), features, drawn)).mean())
    return total


def likelihoods(said: Labels, features: NDArray[np.float32], drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log probability of one label under each draw."""
    intercept, low, high = drawn[:, -EXTRAS], drawn[:, -2], drawn[:, -2] + drawn[:, -1]
    if len(said.item):
        towards = drawn[:, :-EXTRAS] @ features[said.item[0]] + intercept
        return -np.logaddexp(0, -towards if said.kept[0] else towards)
    ahead = drawn[:, :-EXTRAS] @ (features[said.first[0]] - features[said.second[0]])
    cuts = [np.full_like(low, -np.inf), -high, -low, low, high, np.full_like(low, np.inf)]
    chosen = int(said.grade[0]) + 2
    return np.asarray(np.log(1 / (1 + np.exp(cuts[chosen] - ahead)) - 1 / (1 + np.exp(cuts[chosen + 1] - ahead))))


@pytest.mark.parametrize("precision", [0.25, 1.0])
def test_foretelling_from_one_fit_is_that_of_a_refit_without_each_label(precision: float) -> None:
    said, features, rows = some_rows(60, 30)
    mean, covariance, _ = newton(rows, nothing_said(features.shape[1]).mean, precision)
    foretold, _ = leave_one_out.slope(rows, mean, covariance, precision)
    assert foretold == pytest.approx(foretold_by_refits(said, features, precision), rel=0.02)


@pytest.mark.parametrize("decisions", [0, 40])
def test_its_slope_is_that_of_fits_with_other_priors(decisions: int) -> None:
    _, features, rows = some_rows(120, decisions)
    start, step = nothing_said(features.shape[1]).mean, 0.05

    def at(precision: float) -> tuple[float, float]:
        mean, covariance, _ = newton(rows, start, precision)
        return leave_one_out.slope(rows, mean, covariance, precision)

    for precision in (0.2, 0.6, 2.0):
        more, less = at(precision * np.exp(step))[0], at(precision * np.exp(-step))[0]
        assert at(precision)[1] == pytest.approx((more - less) / (2 * step), abs=0.15)


@pytest.mark.parametrize(("pairs", "decisions"), [(8, 0), (60, 0), (0, 40), (120, 40), (500, 40)])
def test_the_prior_is_the_one_of_the_best_foretelling_on_a_grid(pairs: int, decisions: int) -> None:
    _, features, rows = some_rows(pairs, decisions)
    best, _ = most_probable(rows, nothing_said(features.shape[1]))

    def worth(precision: float) -> float:
        mean, covariance, _ = newton(rows, best.mean, precision)
        beyond = (np.log(precision) / 2 + np.log(USUAL_DEVIATION)) / DEVIATION_SPREAD
        return leave_one_out.slope(rows, mean, covariance, precision)[0] - float(beyond) ** 2 / 2

    grid = [worth(best.precision * 2.0**step) for step in np.arange(-4, 4.5, 0.5)]
    assert max(grid) - worth(best.precision) < 0.1


@cache
def learned(how: str, decisions: int) -> tuple[float, NDArray[np.float64], NDArray[np.bool_]]:
    """Of twelve people who answered pairs and decided on random or the best-scored pictures: mean AUROC; P(keep) of
    pictures never seen, and whether each was kept then."""
    areas, said_keep, kept = [], [], []
    for seed in range(6):
        for kind in ("R1", "R2"):
            made = person(kind, POOL + TEST, seed, DIMENSIONS)
            pool, test = made.vectors[:POOL], np.arange(POOL, POOL + TEST)
            said = made.answer(*random_pairs(POOL, PAIRS, seed), True, seed)
            model = Ridge()
            model.fit(pool, said, np.arange(POOL))
            if decisions:
                best = np.argsort(-model.score(pool)[0])
                chosen = best if how == "best" else np.random.default_rng(seed).permutation(POOL)
                said = said.joined(made.decide(chosen[:decisions], BASE_RATE, seed))
                model.fit(pool, said, np.arange(POOL))
            areas.append(area(model.score(made.vectors[test])[0], made.good(BASE_RATE)[test]))
            said_keep.append(model.keep_probability(made.vectors[test]))
            kept.append(made.decide(test, BASE_RATE, seed + 100).kept)
    return float(np.mean(areas)), np.concatenate(said_keep), np.concatenate(kept)


@pytest.mark.parametrize("how", ["random", "best"])
def test_decisions_teach_beside_pairs_whether_at_random_or_on_the_best(how: str) -> None:
    alone = learned("none", 0)[0]
    assert learned(how, 40)[0] > alone + 0.002
    assert learned(how, 100)[0] > alone + 0.008


@pytest.mark.parametrize("how", ["random", "best"])
def test_of_pictures_said_to_be_kept_so_often_so_many_are(how: str) -> None:
    _, said, kept = learned(how, 100)
    for low, high in ((0.0, 0.1), (0.1, 0.2), (0.2, 0.35), (0.35, 0.5), (0.5, 0.65), (0.65, 1.0)):
        band = (said >= low) & (said < high)
        assert band.sum() > 100
        assert abs(said[band].mean() - kept[band].mean()) < 0.06, f"said {said[band].mean()}, kept {kept[band].mean()}"


def steepness(said: NDArray[np.float64], kept: NDArray[np.bool_]) -> float:
    """Of a logistic regression of what was kept on the log odds of what was said; 1 where those are right, more where
    they are too timid."""
    odds = np.log(said / (1 - said))
    level, steep = 0.0, 1.0
    for _ in range(20):
        p = 1 / (1 + np.exp(-level - steep * odds))
        w = p * (1 - p)
        gradient = np.array([(kept - p).sum(), ((kept - p) * odds).sum()])
        hessian = np.array([[w.sum(), (w * odds).sum()], [(w * odds).sum(), (w * odds**2).sum()]])
        level, steep = np.array([level, steep]) + np.linalg.solve(hessian, gradient)
    return float(steep)


@pytest.mark.parametrize("how", ["random", "best"])
def test_nobody_is_told_too_timidly_what_they_will_keep(how: str) -> None:
    _, said, kept = learned(how, 100)
    each = zip(said.reshape(-1, TEST), kept.reshape(-1, TEST), strict=True)
    assert 0.8 < np.mean([steepness(*person) for person in each]) < 1.25
