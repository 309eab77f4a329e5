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
    features = principal_components(pool).project(pool) * 16
    plan, where = ensemble.make_plan(said, groups, settings, 0), ensemble.device()
    ensemble.run(features, said, plan.alone(0), settings, 0, where)  # torch starts its threads

    def one_by_one() -> None:
        for member in range(settings.members):
            ensemble.run(features, said, plan.alone(member), settings, 0, where)

    def all_together() -> None:
        ensemble.run(features, said, plan, settings, 0, where)
        if where.type == "cuda":
            torch.cuda.synchronize()

    turns = [(seconds(all_together), seconds(one_by_one)) for _ in range(TURNS)]
    ratios = [alone / together for together, alone in turns]
    return {
        "ensemble, whole training": seconds(lambda: ensemble.train(pool, said, groups)),
        f"ensemble, {EPOCHS} epochs, batched": float(np.median([together for together, _ in turns])),
        "one by one": float(np.median([alone for _, alone in turns])),
        "one by one / batched": float(np.median(ratios)),
        "lowest of the ratios": min(ratios),
        "highest of the ratios": max(ratios),
    }
