"""How right P(keep) is for unseen pictures, and what a decision is worth beside an answer; simulated people.

    python bench/taste_keep.py [--seeds 6]

Each person (R1 and R2, as many of each as seeds) likes a fifth of all pictures, gives 120 graded answers about random
pairs and then decides on pictures: random ones, or the best-scored of 1,000, as the queue shows them. Everything is
measured on 3,000 pictures that no label speaks of. "steepness" is the slope of a logistic regression of what was kept
on the log odds said: 1 is right, above 1 too timid. Prints tables, then one line of JSON.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray
from taste import POOL, someone

from memesearch.taste.labels import Labels
from memesearch.taste.measures import area
from memesearch.taste.ridge import Ridge
from memesearch.taste.simulate import Person, random_pairs

BASE_RATE, ANSWERS, OFFERED = 0.2, 120, 1000
KINDS = ("random", "best-scored")
EDGES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 1.0)
WORTH = (46, 100)  # further labels of each kind; P(keep) is measured after the most
Numbers = NDArray[np.float64]


def steepness(said: Numbers, kept: NDArray[np.bool_]) -> float:
    """By Newton's method, with an intercept."""
    odds = np.log(said) - np.log1p(-said)
    design, weights = np.column_stack([np.ones(len(odds)), odds]), np.array([0.0, 1.0])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-design @ weights))
        curve = (design.T * (chance * (1 - chance))) @ design
        weights = weights + np.linalg.solve(curve, design.T @ (kept - chance))
    return float(weights[1])


def answers(made: Person, seed: int, count: int) -> Labels:
    first, second = random_pairs(POOL, ANSWERS + max(WORTH), seed)
    said = made.answer(first, second, True, seed)
    return said.only(np.arange(len(first)) < count, np.zeros(0, np.bool_))


def decisions(made: Person, model: Ridge, pool: NDArray[np.float32], seed: int, kind: str, count: int) -> Labels:
    offered = np.random.default_rng([seed, 84]).choice(POOL, OFFERED, replace=False)
    if kind == "best-scored":
        offered = offered[np.argsort(-model.mean_score(pool)[offered], kind="stable")]
    return made.decide(offered[:count], BASE_RATE, seed)


def measure(kind: str, seed: int) -> tuple[dict[str, tuple[Numbers, NDArray[np.bool_]]], dict[str, float]]:
    """P(keep) of the test's pictures and whether they are kept, by decisions; and AUROC gained by further labels."""
    made, pool, test = someone(kind, seed)
    good, groups = made.good(BASE_RATE)[POOL:], np.arange(POOL)
    kept = made.decide(np.arange(POOL, POOL + len(test)), BASE_RATE, seed + 1000).kept
    model = Ridge()
    model.fit(pool, answers(made, seed, ANSWERS), groups)
    before = area(model.mean_score(test), good)
    decided = {(name, more): decisions(made, model, pool, seed, name, more) for name in KINDS for more in WORTH}
    said, gains = {}, {}
    for more in WORTH:
        model.fit(pool, answers(made, seed, ANSWERS + more), groups)
        gains[f"{more} answers"] = area(model.mean_score(test), good) - before
    for (name, more), labels in decided.items():
        model.fit(pool, answers(made, seed, ANSWERS).joined(labels), groups)
        gains[f"{more} decisions, {name}"] = area(model.mean_score(test), good) - before
        said[name] = model.keep_probability(test), kept  # in the end of the most decisions
    return said, gains


def calibration(said: Numbers, kept: NDArray[np.bool_]) -> dict[str, object]:
    bins = np.digitize(said, EDGES[1:-1])
    cells = [
        [float(said[bins == b].mean()), float(kept[bins == b].mean()), int((bins == b).sum())] for b in np.unique(bins)
    ]
    loss = float(-np.log(np.where(kept, said, 1 - said)).mean())
    return {"bins": cells, "steepness": steepness(said, kept), "log loss": loss}


def main() -> None:
    parser = argparse.ArgumentParser(description="How right P(keep) is, and what decisions are worth.")
    parser.add_argument("--seeds", type=int, default=6)
    options = parser.parse_args()
    people = [measure(kind, seed) for seed in range(options.seeds) for kind in ("R1", "R2")]
    result: dict[str, object] = {"seeds": options.seeds}
    print("decisions      said/kept by said: below .1, .1-.2, .2-.35, .35-.5, .5-.65, above; steepness; log loss")
    for name in KINDS:
        said, kept = (np.concatenate([person[name][part] for person, _ in people]) for part in (0, 1))
        found = calibration(said, kept)
        cells = "  ".join(f"{a:.3f}/{b:.3f}" for a, b, _ in found["bins"])  # type: ignore[attr-defined]
        print(f"{name:12}   {cells}   {found['steepness']:.2f}   {found['log loss']:.3f}")
        result[name] = found
    print(f"gain in AUROC (a base rate of {BASE_RATE:.0%}) over {ANSWERS} answers, +- standard error over people")
    for name in people[0][1]:
        values = np.array([gains[name] for _, gains in people])
        mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
        print(f"{name:28} {mean:+.3f} +- {error:.3f}")
        result[f"gain of {name}"] = [mean, error]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
