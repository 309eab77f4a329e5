"""The models of taste beside slow, plain ways to the same numbers, and with labels that hardly are any."""

from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from memesearch.errors import NotEnoughLabels
from memesearch.taste import ensemble
from memesearch.taste.checkpoint import KINDS, new_model
from memesearch.taste.components import principal_components
from memesearch.taste.gradient import Said, gradient, losses, losses_of, prior, said_by
from memesearch.taste.gradient import scores as member_scores
from memesearch.taste.held_out import folds
from memesearch.taste.labels import Labels, labels
from memesearch.taste.likelihood import EXTRAS, derivatives, log_likelihood, log_prior, rows_of
from memesearch.taste.model import TasteModel
from memesearch.taste.ridge import USUAL_DEVIATION, Ridge, newton, nothing_said
from memesearch.taste.simulate import person

COUNT, DIMENSIONS = 400, 40
NOTHING = labels([], [])
pytestmark = pytest.mark.filterwarnings("error")


def made(
    pairs: int = 60, decisions: int = 30, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float64], Labels]:
    """Vectors, the taste of each, and answers of all kinds about them."""
    someone = person("R1", COUNT, seed, DIMENSIONS)
    random = np.random.default_rng(seed)
    first = random.integers(0, COUNT, pairs)
    second = (first + random.integers(1, COUNT, pairs)) % COUNT
    graded, forced = (someone.answer(first, second, kind, seed) for kind in (True, False))
    half = np.arange(pairs) % 2 == 0
    judged = someone.decide(random.integers(0, COUNT, decisions), 0.4, seed)
    mixed = Labels(first, second, np.where(half, graded.grade, forced.grade), half, judged.item, judged.kept)
    return someone.vectors, someone.taste, mixed


def groups() -> NDArray[np.int64]:
    return np.arange(COUNT)


def fitted(kind: str, said: Labels, vectors: NDArray[np.float32]) -> TasteModel:
    model = new_model(kind)
    model.fit(vectors, said, np.arange(len(vectors)))
    return model


def plain_log_likelihood(said: Labels, features: NDArray[np.float32], parameters: NDArray[np.float64]) -> float:
    """By the definition: probabilities between cut points, answer for answer."""
    scores = features.astype(np.float64) @ parameters[:-EXTRAS]
    intercept, c1, gap = parameters[-EXTRAS:]
    cuts = [-np.inf, -c1 - gap, -c1, c1, c1 + gap, np.inf]
    total = 0.0
    for first, second, grade, graded in zip(said.first, said.second, said.grade, said.graded, strict=True):
        ahead = scores[first] - scores[second]
        if graded:
            low, high = list(pairwise(cuts))[grade + 2]
            total += np.log(1 / (1 + np.exp(low - ahead)) - 1 / (1 + np.exp(high - ahead)))
        else:
            total += np.log(1 / (1 + np.exp(-grade * ahead)))
    for item, kept in zip(said.item, said.kept, strict=True):
        total += np.log(1 / (1 + np.exp(-(1 if kept else -1) * (scores[item] + intercept))))
    return float(total)


def test_the_likelihood_in_rows_is_that_of_the_definition() -> None:
    vectors, _, said = made()
    features = principal_components(vectors, 256).project(vectors)
    random = np.random.default_rng(1)
    for _ in range(5):
        parameters = np.append(random.standard_normal(features.shape[1]), [random.normal(), 0.6, 1.7])
        assert log_likelihood(rows_of(said, features), parameters) == pytest.approx(
            plain_log_likelihood(said, features, parameters), rel=1e-6
        )


def test_gradient_and_hessian_are_those_of_finite_differences() -> None:
    vectors, _, said = made()
    rows = rows_of(said, principal_components(vectors, 256).project(vectors)[:, :6])
    at, small = np.array([0.3, -0.2, 0.5, 0.1, -0.4, 0.2, -0.7, 0.8, 1.4]), 1e-5

    def value(parameters: NDArray[np.float64]) -> float:
        return log_likelihood(rows, parameters) + log_prior(parameters, 0.7)

    gradient, hessian = derivatives(rows, at, 0.7)
    steps = np.eye(len(at)) * small
    slopes = [(value(at + step) - value(at - step)) / (2 * small) for step in steps]
    curves = [(derivatives(rows, at + s, 0.7)[0] - derivatives(rows, at - s, 0.7)[0]) / (2 * small) for s in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(hessian, -np.array(curves), rtol=1e-5, atol=1e-6)


def test_newton_ends_where_a_plain_optimiser_does() -> None:
    vectors, _, said = made()
    rows = rows_of(said, principal_components(vectors, 256).project(vectors)[:, :8])
    found, covariance, _ = newton(rows, nothing_said(8).mean, 0.5)
    plain = torch.zeros(11, dtype=torch.float64, requires_grad=True)  # the cut points by their logarithms
    optimiser = torch.optim.LBFGS([plain], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")
    features, base = torch.tensor(rows.features), torch.tensor(rows.base)
    extra, sign = torch.tensor(rows.extra), torch.tensor(rows.sign)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        c1, gap = plain[9].exp(), plain[10].exp()
        towards = sign * ((features @ plain[:8])[base] + extra @ torch.stack([plain[8], c1, gap]))
        between = rows.equal * torch.log(-torch.expm1(-2 * c1)) + rows.little * torch.log(-torch.expm1(-gap))
        prior = 0.25 * plain[:8].square().sum() + plain[8] ** 2 / 18 + c1 + gap - plain[9] - plain[10]
        value = torch.nn.functional.softplus(-towards).sum() - between + prior
        torch.autograd.backward(value)
        return value.detach()

    optimiser.step(loss)
    optimum = plain.detach().numpy()
    np.testing.assert_allclose(found, np.append(optimum[:9], np.exp(optimum[9:])), atol=1e-3)
    hessian = derivatives(rows, found, 0.5)[1]  # the covariance is from before the last step
    np.testing.assert_allclose(covariance @ hessian, np.eye(11), atol=2e-3)


def test_the_spread_of_draws_is_the_uncertainty_of_scores() -> None:
    vectors, _, said = made()
    model = fitted("ridge", said, vectors)
    draws = model.draws(vectors[:20], 20_000, np.random.default_rng(0))
    mean, deviation = model.score(vectors[:20])
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(draws.std(axis=0), deviation, rtol=0.05)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_factor_holds_the_uncertainty_of_scores_and_how_they_move_together(kind: str) -> None:
    vectors, _, said = made()
    model = fitted(kind, said, vectors)
    factor = model.factor(vectors[:20]).astype(np.float64)
    mean, deviation = model.score(vectors[:20])
    np.testing.assert_allclose(model.mean_score(vectors[:20]), mean, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(factor @ factor.T)), deviation, rtol=1e-3)
    draws = model.draws(vectors[:20], 40_000, np.random.default_rng(0))
    np.testing.assert_allclose(factor @ factor.T, np.cov(draws.T), atol=0.05 * float(deviation.max()) ** 2)


def test_the_probability_of_keeping_is_the_mean_over_the_posterior() -> None:
    vectors, _, said = made(40, 60)
    model = Ridge()
    model.fit(vectors, said, groups())
    posterior, features = model.arrays(), principal_components(vectors, 256).project(vectors[:50])
    drawn = np.random.default_rng(0).multivariate_normal(posterior["mean"], posterior["covariance"], 20_000)
    by_draws = (1 / (1 + np.exp(-drawn[:, :-EXTRAS] @ features.T - drawn[:, -EXTRAS, None]))).mean(axis=0)
    np.testing.assert_allclose(model.keep_probability(vectors[:50]), by_draws, atol=0.02)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_scores_order_pictures_never_rated_as_the_person_would(kind: str) -> None:
    vectors, taste, said = made(300, 60)
    model = fitted(kind, said, vectors)
    unseen = np.setdiff1d(np.arange(COUNT), said.items())
    scores, deviation = model.score(vectors[unseen])
    assert np.corrcoef(scores, taste[unseen])[0, 1] > 0.5
    assert np.all(deviation > 0)
    keep = model.keep_probability(vectors[unseen])
    assert np.corrcoef(keep, taste[unseen])[0, 1] > 0.5
    assert abs(keep.mean() - 0.4) < 0.15, "decisions tell how many are kept"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_direction_is_where_scores_rise_most(kind: str) -> None:
    vectors, _, said = made(300, 60)
    model = fitted(kind, said, vectors)
    direction = model.direction(vectors)
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-5)
    rise = model.score(vectors + 0.01 * direction)[0].mean() - model.score(vectors)[0].mean()
    for other in np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSIONS, 10)))[0].T.astype(np.float32):
        assert rise > model.score(vectors + 0.01 * other)[0].mean() - model.score(vectors)[0].mean()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_model_survives_its_arrays(kind: str) -> None:
    vectors, _, said = made()
    model = fitted(kind, said, vectors)
    again = KINDS[kind].from_arrays(model.arrays())
    for ask in (lambda m: m.score(vectors)[0], lambda m: m.score(vectors)[1], lambda m: m.keep_probability(vectors)):
        np.testing.assert_allclose(ask(again), ask(model), rtol=1e-5, atol=1e-6)
    arrays: dict[str, Any] = model.arrays()
    with pytest.raises(ValueError, match="do not belong together"):
        KINDS[kind].from_arrays({**arrays, "directions": arrays["directions"][:, :-1]})


HARDLY: dict[str, Labels] = {
    "nothing": NOTHING,
    "one answer": labels([(0, 1, 2, True)], []),
    "one decision": labels([], [(3, True)]),
    "two that contradict": labels([(0, 1, 1, False), (0, 1, -1, False)], []),
    "a cycle": labels([(0, 1, 2, True), (1, 2, 2, True), (2, 0, 2, True)] * 20, []),
    "all equal": labels([(n, n + 1, 0, True) for n in range(50)], []),
    "all kept": labels([], [(n, True) for n in range(60)]),
    "all discarded": labels([], [(n, False) for n in range(60)]),
    "one pair a hundred times": labels([(0, 1, 2, True)] * 100, []),
}


@pytest.mark.parametrize("said", HARDLY.values(), ids=HARDLY.keys())
def test_the_ridge_takes_any_labels_and_tells_how_little_they_say(said: Labels) -> None:
    vectors, _, _ = made()
    model = Ridge()
    report = model.fit(vectors, said, groups())
    scores, deviation = model.score(vectors)
    keep = model.keep_probability(vectors)
    assert np.isfinite([scores, deviation, keep]).all()
    assert np.all((keep > 0) & (keep < 1))
    assert 0.05 < report["prior_deviation"] < 30
    assert deviation.mean() > 0.1 * report["prior_deviation"], "so few answers leave nearly everything open"
    assert model.direction(vectors).shape == (DIMENSIONS,)
    assert model.draws(vectors, 3, np.random.default_rng(0)).shape == (3, COUNT)


def test_without_labels_all_scores_are_alike_and_every_keeping_is_even() -> None:
    vectors, _, _ = made()
    model = Ridge()
    model.fit(vectors, NOTHING, groups())
    scores, deviation = model.score(vectors)
    assert np.all(scores == 0) and np.all(model.keep_probability(vectors) == 0.5)
    assert deviation.mean() == pytest.approx(USUAL_DEVIATION, rel=0.1)
    assert np.all(model.direction(vectors) == 0)


def test_one_class_alone_moves_the_probability_but_never_to_certainty() -> None:
    vectors, _, _ = made()
    kept = fitted("ridge", HARDLY["all kept"], vectors).keep_probability(vectors)
    assert 0.8 < kept.mean() < 0.999
    discarded = fitted("ridge", HARDLY["all discarded"], vectors).keep_probability(vectors)
    assert 0.001 < discarded.mean() < 0.2


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_ridge_takes_a_pool_of_almost_no_pictures(count: int) -> None:
    vectors = made()[0][:count]
    model = Ridge()
    model.fit(vectors, NOTHING if count < 2 else labels([(0, 1, 1, True)], [(0, True)]), np.arange(count))
    assert model.score(vectors)[0].shape == (count,)
    if count > 1:
        assert model.score(vectors)[0][0] > model.score(vectors)[0][1]


def test_a_refit_keeps_the_components_and_comes_out_as_a_first_fit_does() -> None:
    vectors, _, said = made(200, 40)
    part = said.only(np.arange(200) < 190, np.arange(40) < 38)
    model = Ridge()
    assert model.fit(vectors, part, groups())["warm"] is False
    components = model.arrays()["directions"]
    assert model.fit(vectors, said, groups())["warm"] is True
    assert model.arrays()["directions"] is components
    np.testing.assert_allclose(model.score(vectors)[0], fitted("ridge", said, vectors).score(vectors)[0], atol=0.03)
    assert (
        model.fit(vectors[:-1], part.only(np.zeros(190, np.bool_), np.zeros(38, np.bool_)), groups())["warm"] is False
    )


def test_swapping_the_pictures_of_every_answer_changes_nothing() -> None:
    vectors, _, said = made()
    mirrored = Labels(said.second, said.first, -said.grade, said.graded, said.item, said.kept)
    one, other = (fitted("ridge", each, vectors).score(vectors)[0] for each in (said, mirrored))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_principal_components_of_a_large_pool_are_those_of_an_exact_decomposition() -> None:
    vectors = person("R1", 3000, 0, 400).vectors
    found = principal_components(vectors, 256)
    exact = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[2]
    directions = found.directions / np.linalg.norm(found.directions, axis=0)
    assert found.directions.shape == (400, 256)
    np.testing.assert_allclose(np.abs(np.sum(directions[:, :20].T * exact[:20], axis=1)), 1, atol=1e-3)
    explained = np.square((vectors - vectors.mean(axis=0)) @ directions).sum()
    assert explained > 0.99 * np.square((vectors - vectors.mean(axis=0)) @ exact[:256].T).sum()


def test_members_trained_together_are_those_trained_one_by_one() -> None:
    vectors, _, said = made(120, 20)
    settings = ensemble.Settings(members=4, epochs=12, patience=3)
    features = principal_components(vectors, 256).project(vectors) * 6
    plan, where = ensemble.make_plan(said, groups(), settings, 7), torch.device("cpu")
    together, report = ensemble.run(features, said, plan, settings, 7, where)
    for member in range(4):
        alone, own = ensemble.run(features, said, plan.alone(member), settings, 7, where)
        np.testing.assert_allclose(alone.score(features)[0], together.score(features)[member], rtol=1e-3, atol=1e-4)
        assert own["best_epochs"] == [report["best_epochs"][member]]


def test_the_same_labels_give_the_same_ensemble() -> None:
    vectors, _, said = made()
    one, same = (fitted("ensemble", said, vectors).score(vectors)[0] for _ in range(2))
    np.testing.assert_array_equal(one, same)


def test_another_seed_gives_other_members() -> None:
    vectors, _, said = made()
    features = principal_components(vectors, 256).project(vectors) * 6
    settings, where = ensemble.Settings(members=2, epochs=2), torch.device("cpu")
    plan = ensemble.make_plan(said, groups(), settings, 0)
    one, other = (ensemble.run(features, said, plan, settings, seed, where)[0].score(features) for seed in (0, 1))
    assert np.abs(one - other).max() > 1e-3


def test_the_ensemble_says_when_there_is_too_little_to_learn_from() -> None:
    vectors, _, _ = made()
    with pytest.raises(NotEnoughLabels, match="needs at least 8 answers and decisions, and there are 1; "):
        new_model("ensemble").fit(vectors, HARDLY["one answer"], groups())


@pytest.mark.parametrize("name", ["a cycle", "all equal", "all kept", "all discarded", "one pair a hundred times"])
def test_the_ensemble_takes_any_labels_that_are_enough(name: str) -> None:
    vectors, _, _ = made()
    model = fitted("ensemble", HARDLY[name], vectors)
    assert np.isfinite(model.score(vectors)).all() and np.isfinite(model.keep_probability(vectors)).all()


def test_the_loss_of_the_ensemble_is_the_likelihood_of_the_ridge() -> None:
    vectors, _, said = made()
    features = principal_components(vectors, 256).project(vectors)
    settings, where = ensemble.Settings(members=1), torch.device("cpu")
    weights = ensemble.first_weights([0], features.shape[1], settings.width, 0, where)
    weights["cuts"][:] = torch.tensor([[0.3, -0.2]])
    weights["intercept"][:] = 0.4
    lines, inputs = said_by(said, where)[torch.arange(len(said))[None]], torch.from_numpy(features)
    loss = losses(weights, lines, inputs[lines.rows.transpose(1, 2).flatten(1)])
    scores = member_scores(weights, inputs[None])[0].numpy()
    parameters = np.array([1.0, 0.4, np.exp(0.3), np.exp(-0.2)])
    assert loss.sum().item() == pytest.approx(-plain_log_likelihood(said, scores[:, None], parameters), rel=1e-5)


def test_the_gradient_of_the_ensemble_is_that_of_automatic_differentiation() -> None:
    vectors, _, said = made(60, 20)
    features = torch.from_numpy(principal_components(vectors, 256).project(vectors)).double()
    weights = ensemble.first_weights([0, 1, 2], features.shape[1], 16, 0, torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    weights = {name: value.double() for name, value in weights.items()}
    for name in ("cuts", "intercept"):
        weights[name] += torch.randn(weights[name].shape, generator=random, dtype=torch.float64) / 2
    order = torch.stack([torch.randperm(len(said), generator=random) for _ in range(3)])
    taken = said_by(said, torch.device("cpu"))
    numbers = (getattr(taken, field.name).double() for field in fields(Said)[1:])
    lines = Said(taken.rows, *numbers)[order]
    inputs = features[lines.rows.transpose(1, 2).flatten(1)]
    for value in weights.values():
        value.grad = torch.full_like(value, torch.nan)
    found = gradient(weights, lines, inputs, 0.3)
    by_torch = {name: value.clone().requires_grad_() for name, value in weights.items()}
    each = losses(by_torch, lines, inputs)
    (each.mean(dim=1).sum() + 0.3 * prior(by_torch)).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(losses_of(*found, lines.bounded), each.detach())
    for name, value in by_torch.items():
        torch.testing.assert_close(weights[name].grad, value.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dense", [False, True], ids=["each picture once", "each picture often"])
def test_no_group_is_on_both_sides_of_a_fold(dense: bool) -> None:
    random = np.random.default_rng(0)
    rows = 30 if dense else COUNT
    pairs = [(int(a), int((a + b) % rows), 1, True) for a, b in random.integers(1, rows, (200, 2)) if b % rows]
    said = labels(pairs, [(int(row), True) for row in random.integers(0, rows, 40)])
    near = np.arange(COUNT) // 2  # each picture has a near-duplicate
    splits = folds(said, near, 5, 0)
    assert len(splits) == 5
    tested = 0
    for split in splits:
        learn, test = said.only(*split.learn), said.only(*split.test)
        assert not set(near[learn.items()]) & set(near[test.items()])
        tested += len(test)
    assert tested > len(said) * (0.1 if dense else 0.6)
