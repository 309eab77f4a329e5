"""What learning a taste costs; the part `timings` of taste.py."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from memesearch.taste import ensemble
from memesearch.taste.components import principal_components
from memesearch.taste.labels import Labels
from memesearch.taste.ridge import Ridge
from memesearch.taste.simulate import Person, random_pairs

PAIRS, REFITS, EPOCHS, TURNS = 1000, 20, 2, 5


def seconds(work: Callable[[], object]) -> float:
    """Of the processor when there is one thread, which a busy machine hardly changes; else of the clock."""
    clock = time.process_time if torch.get_num_threads() == 1 and not torch.cuda.is_available() else time.perf_counter
    started = clock()
    work()
    return clock() - started


def timings(made: Person, pool: NDArray[np.float32], _test: NDArray[np.float32]) -> dict[str, float]:
    """Seconds, and the ratio of the ensemble's speeds in this one run."""
    first, second = random_pairs(len(pool), PAIRS + REFITS, 0)
    answers = made.answer(first, second, True, 0)
    nothing, groups = np.zeros(0, np.bool_), np.arange(len(pool))

    def part(count: int) -> Labels:
        return answers.only(np.arange(len(first)) < count, nothing)

    ridge = Ridge()
    found = {"first fit, 1,000 graded pairs": seconds(lambda: ridge.fit(pool, part(PAIRS), groups))}
    refits = [seconds(lambda n=n: ridge.fit(pool, part(PAIRS + n), groups)) for n in range(1, REFITS + 1)]
    found["warm refit"] = float(np.median(refits))
    found["slowest warm refit"] = max(refits)
    found["scores of 12,000 with uncertainty"] = min(seconds(lambda: ridge.score(pool)) for _ in range(3))
    found["scores of 12,000"] = min(seconds(lambda: ridge.mean_score(pool)) for _ in range(3))
    found["P(keep) of 12,000"] = min(seconds(lambda: ridge.keep_probability(pool)) for _ in range(3))
    found |= ensemble_timings(pool, part(PAIRS), groups)
    print("timings, seconds")
    print("\n".join(f"  {name:36} {value:.3f}" for name, value in found.items()), flush=True)
    return found


def ensemble_timings(pool: NDArray[np.float32], said: Labels, groups: NDArray[np.int64]) -> dict[str, float]:
    """The same epochs of all members together and of one member after another, by turns; a whole training."""
    settings = ensemble.Settings(epochs=EPOCHS)
    features = principal_components(pool, ensemble.COMPONENTS).project(pool) * 16
    plan, where = ensemble.make_plan(said, groups, settings, 0), ensemble.device()
    ensemble.run(features, said, plan.alone(0), settings, 0, where)  # torch starts its threads
    plain_member(features, said, plan.alone(0), settings, where)

    def all_together() -> None:
        ensemble.run(features, said, plan, settings, 0, where)
        if where.type == "cuda":
            torch.cuda.synchronize()

    def plainly() -> None:
        for member in range(settings.members):
            plain_member(features, said, plan.alone(member), settings, where)

    def by_the_same_code() -> None:
        for member in range(settings.members):
            ensemble.run(features, said, plan.alone(member), settings, 0, where)

    turns = [(seconds(all_together), seconds(plainly), seconds(by_the_same_code)) for _ in range(TURNS)]
    ratios = [plain / together for together, plain, _ in turns]
    together, plain, same = np.median(turns, axis=0).tolist()
    return {
        "ensemble, whole training": seconds(lambda: ensemble.train(pool, said, groups)),
        f"ensemble, {EPOCHS} epochs, batched": together,
        "one by one, plain PyTorch": plain,
        "one by one, by the batched code": same,
        "one by one / batched": float(np.median(ratios)),
        "lowest of the ratios": min(ratios),
        "highest of the ratios": max(ratios),
        "by the batched code / batched": same / together,
    }


def plain_member(
    features: NDArray[np.float32], said: Labels, plan: ensemble.Plan, settings: ensemble.Settings, where: torch.device
) -> float:
    """One member as one would write it in PyTorch: modules, automatic differentiation, AdamW. Pairs only. Returns its
    loss on the labels that it holds out."""
    network = torch.nn.Sequential(
        torch.nn.Dropout(settings.dropout), torch.nn.Linear(features.shape[1], settings.width),
        torch.nn.SiLU(), torch.nn.Linear(settings.width, 1),
    ).to(where)  # fmt: skip
    cuts = torch.nn.Parameter(torch.zeros(2, device=where))
    optimiser = torch.optim.AdamW(
        [{"params": network.parameters(), "weight_decay": settings.decay}, {"params": [cuts], "weight_decay": 0.0}],
        lr=settings.rate, fused=True,
    )  # fmt: skip
    inputs, grade = torch.from_numpy(features).to(where), torch.from_numpy(said.grade.astype(np.int64)).to(where)
    first, second = torch.from_numpy(said.first).to(where), torch.from_numpy(said.second).to(where)
    infinite = torch.full((1,), torch.inf, device=where)

    def loss_of(lines: torch.Tensor) -> torch.Tensor:
        felt = (network(inputs[first[lines]]) - network(inputs[second[lines]])).squeeze(1)
        c1, c2 = cuts.exp().cumsum(0).unsqueeze(1)
        edges = torch.cat([-infinite, -c2, -c1, c1, c2, infinite])
        below, above = edges[grade[lines] + 2], edges[grade[lines] + 3]
        return -torch.log(torch.sigmoid(above - felt) - torch.sigmoid(below - felt) + 1e-9).mean()

    learn, test = (torch.from_numpy(part[0]).to(where) for part in (plan.learn, plan.test))
    for _ in range(settings.epochs):
        network.train()
        for lines in learn[torch.randperm(len(learn), device=where)][: plan.shortest].split(settings.batch):
            optimiser.zero_grad()
            loss_of(lines).backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            held_out = float(loss_of(test))
    return held_out
