"""A simulated year of daily batches: how well each rule for the queue's threshold holds a target precision.

    python bench/threshold.py [--seeds 6] [--days 365]

The person's taste and the stream drift; the model is retrained every 30 days, and each time its probabilities are
wrong in another way. Three rules see the same pictures: ours (memesearch/taste/threshold.py), a threshold fixed at the
target, and the lowest threshold with an empirical precision of at least the target. Prints a table, then one line
of JSON. "chance" is the standard error that a year's precision has by the number of pictures alone, were each one kept
with the probability of the target; the column after it is the worst miss in such errors.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere

from memesearch.taste.threshold import choose_threshold, sigmoid

Numbers = NDArray[np.float64]
RETRAINED_EVERY = 30  # days
STREAM_DAYS = 14  # of predictions that a rule sees
EXPLORATION = 0.03
BATCHES = {0.44: 200, 0.05: 2000}  # pictures a day by base rate: who likes little looks at more
Rule = Callable[["Past", float], float]


class Past:
    """What a rule may look at: the queue's decisions, and recent predictions."""

    def __init__(self) -> None:
        self.keep, self.kept, self.sampled = (np.zeros(0), np.zeros(0, bool), np.zeros(0))
        self.stream: list[Numbers] = []

    def add(self, prediction: Numbers, queued: NDArray[np.bool_], good: NDArray[np.bool_], sampled: Numbers) -> None:
        self.keep = np.append(self.keep, prediction[queued])
        self.kept = np.append(self.kept, good[queued])
        self.sampled = np.append(self.sampled, sampled[queued])
        self.stream = [*self.stream, prediction][-STREAM_DAYS:]


class World:
    """A stream, a person and a model, all of which change; the same for every rule.

    A picture has a part x that the model can see and a part it cannot; P(kept) = sigmoid(x + unseen + taste).
    """

    def __init__(self, rate: float, seed: int, batch: int) -> None:
        self.random, self.batch = np.random.default_rng([seed, int(1000 * rate)]), batch
        self.middle = centre(rate)
        self.taste, self.stream_shift = 0.0, 0.0
        self.offset, self.slope = 0.0, 1.0

    def day(self, day: int) -> tuple[Numbers, NDArray[np.bool_]]:
        """Predictions and the person's word for one batch."""
        if day % RETRAINED_EVERY == 0:  # of an intercept and an overconfidence that nobody knows
            self.offset, self.slope = self.random.normal(0, 0.5), float(np.exp(self.random.normal(0.1, 0.25)))
        self.taste = 0.995 * self.taste + self.random.normal(0, 0.04)
        self.stream_shift = 0.99 * self.stream_shift + self.random.normal(0, 0.06)
        seen = self.random.normal(self.middle + self.stream_shift, SEEN, self.batch)
        good = self.random.random(self.batch) < sigmoid(seen + self.random.normal(0, UNSEEN, self.batch) + self.taste)
        calibrated = seen / np.sqrt(1 + UNSEEN**2 * np.pi / 8)  # of the logistic-normal integral
        return sigmoid(self.offset + self.slope * calibrated), good


SEEN, UNSEEN = 1.8, 0.8


def centre(rate: float) -> float:
    """The mean of x with which a share `rate` of pictures is kept."""
    sample = np.random.default_rng(0).normal(0, np.hypot(SEEN, UNSEEN), 100_000)
    low, high = -12.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(sample + middle).mean() < rate else (low, middle)
    return low


def ours(past: Past, target: float) -> float:
    stream = np.concatenate(past.stream) if past.stream else None
    return choose_threshold(past.keep, past.kept, target, sampled=past.sampled, stream=stream).value


def fixed(_past: Past, target: float) -> float:
    return target


def lowest_empirical(past: Past, target: float) -> float:
    """The lowest threshold with an empirical precision of at least the target, over all decisions."""
    order = np.argsort(-past.keep)
    weights = 1 / past.sampled[order]
    precision = np.cumsum(weights * past.kept[order]) / np.cumsum(weights)
    enough = np.flatnonzero(precision >= target)
    return float(past.keep[order][enough[-1]]) if len(enough) else target


RULES: dict[str, Rule] = {"ours": ours, "fixed": fixed, "lowest empirical": lowest_empirical}


def year(rule: Rule, rate: float, target: float, seed: int, days: int, batch: int) -> dict[str, float]:
    """Realised precision of what lay above the threshold, over the year and by month."""
    world, past = World(rate, seed, batch), Past()
    chance = np.random.default_rng([seed, 7])
    queued, kept, good_ones, kept_in_all = np.zeros(days), np.zeros(days), 0, 0
    for day in range(days):
        threshold = rule(past, target)
        prediction, good = world.day(day)
        above = prediction >= threshold
        explored = ~above & (chance.random(batch) < EXPLORATION)
        past.add(prediction, above | explored, good, np.where(above, 1.0, EXPLORATION))
        queued[day], kept[day] = above.sum(), (above & good).sum()
        good_ones, kept_in_all = good_ones + int(good.sum()), kept_in_all + int((good & (above | explored)).sum())
    months = [
        kept[start : start + 30].sum() / queued[start : start + 30].sum()
        for start in range(0, days - 29, 30)
        if queued[start : start + 30].sum() >= 20
    ]
    precision = float(kept.sum() / queued.sum()) if queued.sum() else float("nan")
    return {
        "precision": precision,
        "miss": abs(precision - target),
        "month_miss": float(np.mean(np.abs(np.array(months) - target))) if months else float("nan"),
        "chance": float(np.sqrt(target * (1 - target) / max(1.0, queued.sum()))),
        "queued_a_day": float(queued.mean()),
        "recall": kept_in_all / max(1, good_ones),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--days", type=int, default=365)
    arguments = parser.parse_args()
    summary = []
    print(
        "base rate  target  rule               precision  miss (mean, worst)  chance  worst/chance  a month's miss"
        "  queued/day  recall"
    )
    for rate in (0.44, 0.05):
        for target in (0.6, 0.75, 0.9):
            for name, rule in RULES.items():
                years = [
                    year(rule, rate, target, seed, arguments.days, BATCHES[rate]) for seed in range(arguments.seeds)
                ]
                mean = {key: float(np.mean([one[key] for one in years])) for key in years[0]}
                worst = max(one["miss"] for one in years)
                in_errors = max(one["miss"] / one["chance"] for one in years)
                print(
                    f"{rate:9.2f}  {target:6.2f}  {name:17s}  {mean['precision']:9.3f}  "
                    f"{mean['miss']:8.3f} {worst:9.3f}  {mean['chance']:6.3f}  {in_errors:12.1f}  "
                    f"{mean['month_miss']:14.3f}  {mean['queued_a_day']:10.1f}  {mean['recall']:6.3f}"
                )
                rounded = {key: None if np.isnan(value) else round(value, 4) for key, value in mean.items()}
                summary.append(
                    {
                        "rate": rate,
                        "target": target,
                        "rule": name,
                        "worst": round(worst, 4),
                        "worst_in_errors": round(in_errors, 1),
                        **rounded,
                    }
                )
    held = max(row["worst"] for row in summary if row["rule"] == "ours")
    print(json.dumps({"benchmark": "threshold", "worst_miss_of_ours": held, "rows": summary}))


if __name__ == "__main__":
    main()
