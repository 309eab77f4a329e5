"""Ways of learning a taste, on simulated people (memesearch/taste/simulate.py); the same figures at each run.

python bench/taste.py [--seeds 6] [--quick] [--article-seeds 6] [--parts timings,ridge,auto,ensemble,selection,article]

Two kinds of person (R1: mostly linear taste; R2: as much smooth, by cluster, and beyond the vector), as many of each
as seeds. Models learn from pairs of 12,000 pictures and are measured on 3,000 others, never paired. Figures are means
over all people. `--quick` measures two people, up to 512 pairs.
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.checkpoint import new_model
from memesearch.taste.labels import labels
from memesearch.taste.measures import area, precision_at
from memesearch.taste.select import propose
from memesearch.taste.simulate import Person, person, random_pairs

POOL, TEST = 12_000, 3_000
SIZES = (64, 128, 256, 512, 1024, 2048)
LEVELS = (0.70, 0.75, 0.80)
BASE_RATES = (0.44, 0.05)
TOP = 0.02
GRADED = {"forced": False, "graded": True}
RULES = ("random", "narrowing", "thompson", "variance", "gradient")
FIRST_ANSWERS, SELECTED_ANSWERS, ROUND = 64, 512, 16
AUTO_SIZES = (64, 128, 256, 400, 512, 640)
ARTICLE_PAIRS, ARTICLE_EPOCHS = 1024, 2
HELD_OUT = 0.1  # of the pictures: the article's programs validate on all answers about them, a fifth of all
Figures = dict[str, float]


@functools.lru_cache(maxsize=1)
def someone(kind: str, seed: int) -> tuple[Person, NDArray[np.float32], NDArray[np.float32]]:
    """A person, the pool's vectors and those of the test."""
    made = person(kind, POOL + TEST, seed)
    return made, made.vectors[:POOL], made.vectors[POOL:]


def figures(made: Person, scores: NDArray[np.float64], seed: int) -> Figures:
    """Of scores of the test's pictures: AUROC and P@2 % at both base rates, log loss of fresh forced answers."""
    found: Figures = {}
    for rate in BASE_RATES:
        good = made.good(rate)[POOL:]
        found[f"auroc {rate:.0%}"] = area(scores, good)
        found[f"P@2% {rate:.0%}"] = precision_at(scores, good, round(TOP * TEST))
    first, second = random_pairs(TEST, 4000, seed + 1000)
    asked = made.answer(first + POOL, second + POOL, False, seed + 1000)
    found["log loss"] = float(np.logaddexp(0, -(scores[first] - scores[second]) * asked.grade).mean())
    return found


def curves(kind: str, seed: int, learner: str, sizes: tuple[int, ...]) -> Iterator[tuple[str, int, Figures]]:
    """A kind of model with more and more answers about random pairs, forced and graded."""
    made, pool, test = someone(kind, seed)
    first, second = random_pairs(POOL, max(sizes), seed)
    for name, graded in GRADED.items():
        model = new_model(learner)
        answers = made.answer(first, second, graded, seed)
        for size in sizes:
            part = answers.only(np.arange(len(first)) < size, np.zeros(0, np.bool_))
            model.fit(pool, part, np.arange(POOL))
            yield f"{learner}, {name}", size, figures(made, model.mean_score(test), seed)


def selection(kind: str, seed: int) -> Iterator[tuple[str, int, Figures]]:
    """Each rule choosing pairs for the ridge, from the same first answers on; forced answers."""
    made, pool, test = someone(kind, seed)
    first, second = random_pairs(POOL, FIRST_ANSWERS, seed)
    for rule in RULES:
        random = np.random.default_rng([seed, 81])
        answers = made.answer(first, second, False, seed)
        model = new_model("ridge")
        model.fit(pool, answers, np.arange(POOL))
        while len(answers) < SELECTED_ANSWERS:
            chosen = propose(rule, model, pool, answers, ROUND, random, np.ones(POOL, np.bool_))
            rows = np.array([(pair.first, pair.second) for pair in chosen], np.int64)
            more = made.answer(rows[:, 0], rows[:, 1], False, seed * 1000 + len(answers))
            answers = answers.joined(more)
            model.fit(pool, answers, np.arange(POOL))
        yield rule, len(answers), figures(made, model.mean_score(test), seed)


def automatic(kind: str, seed: int) -> Iterator[tuple[str, int, Figures]]:
    """The default in use: the ridge, graded answers about pairs that the rule `auto` chooses from the first one on."""
    made, pool, test = someone(kind, seed)
    random, model, answers = np.random.default_rng([seed, 82]), new_model("ridge"), labels([], [])
    while len(answers) < max(AUTO_SIZES):
        known = model if len(answers) else None
        chosen = propose("auto", known, pool, answers, ROUND, random, np.ones(POOL, np.bool_))
        rows = np.array([(pair.first, pair.second) for pair in chosen], np.int64)
        answers = answers.joined(made.answer(rows[:, 0], rows[:, 1], True, seed * 1000 + len(answers)))
        model.fit(pool, answers, np.arange(POOL))
        if len(answers) in AUTO_SIZES:
            yield "auto", len(answers), figures(made, model.mean_score(test), seed)


def article(kind: str, seed: int) -> Iterator[tuple[str, int, Figures]]:
    """The article's ensemble after each epoch, see taste_article.py. Of 1,024 forced pairs its programs learn from
    those about no held-out picture; further lines tell what learning from all would bring."""
    from taste_article import train

    made, pool, test = someone(kind, seed)
    first, second = random_pairs(POOL, max(SIZES), seed)
    answers = made.answer(first, second, False, seed)
    asked, nothing = np.arange(len(first)) < ARTICLE_PAIRS, np.zeros(0, np.bool_)
    held_out = np.random.default_rng([seed, 83]).random(POOL) < HELD_OUT
    learned = {"article": asked & ~held_out[first] & ~held_out[second], "article, nothing held out": asked}
    for name, chosen in learned.items():
        epochs = train(pool, answers.only(chosen, nothing), test, ARTICLE_EPOCHS, seed)
        for epoch, (scores, seconds) in enumerate(epochs, 1):
            found = {**figures(made, scores, seed), "seconds": seconds}
            yield f"{name}, {epoch} epoch{'s' if epoch > 1 else ''}", ARTICLE_PAIRS, found


def means(rows: list[tuple[str, int, Figures]]) -> dict[str, dict[int, Figures]]:
    """Over people: name, number of answers, figure."""
    table: dict[str, dict[int, Figures]] = {}
    for name in dict.fromkeys(row[0] for row in rows):
        for size in sorted({row[1] for row in rows if row[0] == name}):
            found = [row[2] for row in rows if row[:2] == (name, size)]
            table.setdefault(name, {})[size] = {key: float(np.mean([each[key] for each in found])) for key in found[0]}
    return table


def needed(line: dict[int, Figures], level: float) -> float | None:
    """Answers needed for an AUROC, between measured sizes by logarithms; None when more than the most are."""
    sizes = sorted(line)
    values = np.maximum.accumulate([line[size][f"auroc {BASE_RATES[0]:.0%}"] for size in sizes])
    if level > values[-1]:
        return None
    return float(2 ** np.interp(level, values, np.log2(sizes)))


def show(title: str, table: dict[str, dict[int, Figures]]) -> None:
    print(f"\n{title}")
    for name, line in table.items():
        for size, found in line.items():
            cells = "  ".join(f"{key} {value:.3f}" for key, value in found.items())
            print(f"  {name:18} {size:5}  {cells}", flush=True)


def show_needed(table: dict[str, dict[int, Figures]]) -> dict[str, dict[str, float | None]]:
    print("\nanswers needed for an AUROC of")
    result = {}
    for name, line in table.items():
        result[name] = {f"{level:.2f}": needed(line, level) for level in LEVELS}
        cells = "  ".join(
            f"{level} {'>' if n is None else ''}{n or max(line):.0f}" for level, n in result[name].items()
        )
        print(f"  {name:18} {cells}")
    return result


def gates(result: dict[str, Any]) -> dict[str, bool]:
    """What a correct implementation meets, as far as it was measured."""
    found: dict[str, bool] = {}
    auroc = f"auroc {BASE_RATES[0]:.0%}"
    table = result.get("ridge", {})
    forced, graded = table.get("ridge, forced", {}), table.get("ridge, graded", {})
    if 256 in forced:
        found["ridge >= .715 at 256"] = forced[256][auroc] >= 0.715
    if 1024 in forced:
        found["ridge >= .795 at 1024"] = forced[1024][auroc] >= 0.795
    if 512 in forced:
        found["graded >= forced + .01 at 512"] = graded[512][auroc] >= forced[512][auroc] + 0.01
    if "timings" in result:
        found["warm refit < 50 ms"] = result["timings"]["warm refit"] < 0.05
        found["batched >= 10 x one by one"] = result["timings"]["one by one / batched"] >= 10
    by_chance = result.get("ridge, the article's people", {}).get("ridge, graded")
    for pairs, same in (("pairs by auto", result.get("auto", {}).get("auto")), ("random pairs", by_chance)):
        for name, line in result.get("article", {}).items() if same else ():
            target = line[ARTICLE_PAIRS][auroc]
            answers = needed(same, target)
            said = f"{answers:.0f}" if answers else f"more than {max(same)}"
            goal = f"AUROC {target:.3f} of {name} with <= 400 graded answers, {pairs} ({said})"
            found[goal] = bool(answers and answers <= 400)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Ways of learning a taste, on simulated people.")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--article-seeds", type=int, default=6, help="at most --seeds; minutes each on a CPU")
    parser.add_argument("--parts", default="timings,ridge,auto,ensemble,selection,article")
    parser.add_argument("--quick", action="store_true", help="one seed, few pairs, without the article's ensemble")
    options = parser.parse_args()
    parts = [part for part in options.parts.split(",") if not (options.quick and part == "article")]
    seeds = 1 if options.quick else options.seeds
    sizes = SIZES[:4] if options.quick else SIZES
    work: dict[str, tuple[Callable[[str, int], Iterator[tuple[str, int, Figures]]], int]] = {
        "ridge": (functools.partial(curves, learner="ridge", sizes=sizes), seeds),
        "auto": (automatic, min(options.article_seeds, seeds)),
        "ensemble": (functools.partial(curves, learner="ensemble", sizes=sizes), seeds),
        "selection": (selection, seeds),
        "article": (article, options.article_seeds),
    }
    result: dict[str, Any] = {"seeds": seeds, "article seeds": options.article_seeds}
    if "timings" in parts:
        from taste_timings import timings

        result["timings"] = timings(*someone("R1", 0))
    for part in parts:
        if part in work:
            measure, count = work[part]
            rows = [(seed, row) for seed in range(count) for kind in ("R1", "R2") for row in measure(kind, seed)]
            result[part] = means([row for _, row in rows])
            if part == "ridge":  # what is compared with the article must have learned from the same people
                same = [row for seed, row in rows if seed < options.article_seeds]
                result["ridge, the article's people"] = means(same)
            show(f"{part}: means over R1 and R2, seeds 0 to {count - 1}", result[part])
    result["needed"] = show_needed(
        {key: line for part in ("ridge", "auto", "ensemble") for key, line in result.get(part, {}).items()}
    )
    result["gates"] = gates(result)
    print("\n" + "\n".join(f"{'met   ' if met else 'MISSED'} {gate}" for gate, met in result["gates"].items()))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
