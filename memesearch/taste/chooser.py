"""Ways of choosing pairs, beside each other: what may be paired, what was taken, and each rule's own choice.

No rule looks at all pairs: each works on a sample of items and, where it ranks pairs, on a sample of pairs, another one
at each call.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.labels import Labels
from memesearch.taste.model import Numbers, TasteModel, Vectors
from memesearch.taste.narrowing import Narrowing

Rule = Literal["thompson", "narrowing", "variance", "random", "gradient", "auto"]
RULES: tuple[Rule, ...] = ("thompson", "narrowing", "variance", "random", "gradient", "auto")
ITEMS = 20_000  # looked at in one call
PAIRS = 20_000  # compared by the rules that rank pairs
NARROWED, NARROWING_PAIRS = 2000, 3000  # items that stand for all, and pairs of them that are compared
DRAWS = 32  # of the posterior, for variances
AT_ONCE = 32  # pairs of one Thompson draw, to bound memory
BEST = 0.05  # of the items count as a draw's best ones: a queue wants all good pictures, not the one best
FEWEST_BEST = 12
FIRSTS, TRIES = 12, 64  # of one draw's best: first items that are tried, and second ones for each
TIMES = 3  # that an item comes in one proposal, unless there are few items

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Two rows to compare. `value`: the rule's own measure, higher is more worth asking; `reason`: thompson, narrowing,
    variance, random, gradient, spread, or control for the random share of another rule."""

    first: int
    second: int
    value: float
    reason: str


class Chooser:
    """What may be paired, and what was taken already."""

    def __init__(
        self,
        vectors: Vectors,
        labels: Labels,
        count: int,
        random: np.random.Generator,
        eligible: NDArray[np.bool_],
        similarity: float,
        avoid: Collection[tuple[int, int]],
    ) -> None:
        rows = np.flatnonzero(eligible)
        self.rows: Rows = random.choice(rows, ITEMS, replace=False) if len(rows) > ITEMS else rows
        self.vectors, self.random, self.similarity = vectors, random, similarity
        self._limit = max(TIMES, 1 + 4 * count // max(1, len(self.rows)))
        asked = zip(labels.first.tolist(), labels.second.tolist(), strict=True)
        self._taken = {key(*pair) for pair in (*asked, *avoid)}
        self._times: dict[int, int] = {}

    def take(self, first: int, second: int, value: float, reason: str) -> Pair | None:
        """The pair, which is then taken; None when it may not be shown. Which comes first is left to chance."""
        if not self.may(first, second) or max(self._times.get(item, 0) for item in (first, second)) >= self._limit:
            return None
        self._taken.add(key(first, second))
        for item in (first, second):
            self._times[item] = self._times.get(item, 0) + 1
        if self.random.random() < 0.5:
            first, second = second, first
        return Pair(first, second, value, reason)

    def may(self, first: int, second: int) -> bool:
        if first == second or key(first, second) in self._taken:
            return False
        return float(self.vectors[first] @ self.vectors[second]) <= self.similarity

    def some_pairs(self, count: int) -> Rows:
        """int64 [p, 2]; random pairs of different items, all there are where the sample is small."""
        return self.rows[self._pairs_among(len(self.rows), count).T]

    def _pairs_among(self, total: int, count: int) -> Rows:
        """int64 [2, p], in random order; of `total` things, at least two."""
        if total * (total - 1) // 2 <= count:
            first, second = np.triu_indices(total, 1)
        else:
            first = self.random.integers(0, total, count)
            second = (first + self.random.integers(1, total, count)) % total
        return np.stack([first, second])[:, self.random.permutation(len(first))]

    def at_random(self, count: int, reason: str) -> list[Pair]:
        pairs = self.some_pairs(max(PAIRS, 4 * count)) if count > 0 else ()
        return self._first(((int(first), int(second), 0.0) for first, second in pairs), count, reason)

    def spread(self, labels: Labels, count: int) -> list[Pair]:
        """Items far from all that were asked about, by the seeding of k-means++: chosen with a probability that grows
        with the squared distance to the nearest one (Arthur and Vassilvitskii 2007), so that outliers do not crowd in
        as they do when always the farthest is taken."""
        if count <= 0 or len(self.rows) < 2:
            return []
        here = self.vectors[self.rows]
        distance = np.ones(len(here))
        seen = labels.items()
        for start in range(0, len(seen), 256):
            distance = np.minimum(distance, 1 - (here @ self.vectors[seen[start : start + 256]].T).max(axis=1))
        pairs: list[Pair] = []
        for _ in range(4 * count):
            two = []
            for _ in range(2):
                weights = np.maximum(distance, 0) ** 2
                if weights.sum() <= 1e-12:
                    break
                place = int(self.random.choice(len(here), p=weights / weights.sum()))
                two.append(place)
                distance = np.minimum(distance, 1 - here @ here[place])
            if len(two) < 2:
                break
            value = float(1 - here[two[0]] @ here[two[1]])
            pair = self.take(int(self.rows[two[0]]), int(self.rows[two[1]]), value, "spread")
            pairs += [pair] if pair else []
            if len(pairs) == count:
                break
        return pairs

    def by(self, rule: Rule, model: TasteModel, count: int) -> list[Pair]:
        if rule == "thompson":
            return self.thompson(model, count)
        return self.narrowing(model, count) if rule == "narrowing" else self.ranked(model, count, rule)

    def narrowing(self, model: TasteModel, count: int) -> list[Pair]:
        """Pairs whose answers together narrow the scores of a random part of all items the most."""
        taken: list[Pair] = []
        if count <= 0 or len(self.rows) < 2:
            return taken
        few = min(NARROWED, len(self.rows))
        items = self.random.choice(self.rows, few, replace=False)
        first, second = self._pairs_among(few, NARROWING_PAIRS)
        worth = Narrowing(model.factor(self.vectors[items]), first, second)
        while len(taken) < count and (found := worth.best()):
            place, value = found
            pair = self.take(int(items[first[place]]), int(items[second[place]]), value, "narrowing")
            if pair:
                taken.append(pair)
                worth.ask(place)
            else:
                worth.drop(place)
        return taken

    def thompson(self, model: TasteModel, count: int) -> list[Pair]:
        """Top-two Thompson sampling (Russo 2016) for the best share: one of the best items of a function drawn from the
        posterior, against one of the best of a second. The value is how far both draws put them above the mean.

        Taking the very best of each draw asks about the same few odd pictures again and again: it costs two points of
        AUROC over all pictures, and finds no more good ones."""
        pairs: list[Pair] = []
        if len(self.rows) < 2:
            return pairs
        for _ in range(0, 2 * count, AT_ONCE):
            draws = self._draws(model, self.rows, 2 * min(AT_ONCE, count))
            heights = draws - draws.mean(axis=1, keepdims=True)
            for one, two in zip(heights[::2], heights[1::2], strict=True):
                if len(pairs) == count:
                    return pairs
                pair = self._best_two(one, two)
                pairs += [pair] if pair else []
        return pairs

    def _best_two(self, one: Numbers, two: Numbers) -> Pair | None:
        share = max(FEWEST_BEST, round(BEST * len(self.rows)))
        firsts, seconds = (self.random.permutation(best(drawn, share)) for drawn in (one, two))
        for first in firsts[:FIRSTS]:
            for second in seconds[:TRIES]:
                value = float(one[first] + two[second])
                pair = self.take(int(self.rows[first]), int(self.rows[second]), value, "thompson")
                if pair:
                    return pair
        return None

    def ranked(self, model: TasteModel, count: int, rule: str) -> list[Pair]:
        """The best of many random pairs by variance or expected gradient."""
        pairs = self.some_pairs(PAIRS) if len(self.rows) > 1 else np.zeros((0, 2), np.int64)
        if count <= 0 or not len(pairs):
            return []
        items, places = np.unique(pairs, return_inverse=True)
        first, second = places.reshape(-1, 2).T
        draws = self._draws(model, items, DRAWS)
        values = np.empty(len(pairs))
        for start in range(0, len(pairs), 2000):
            part = slice(start, start + 2000)
            differences = draws[:, first[part]] - draws[:, second[part]]
            if rule == "variance":
                values[part] = differences.var(axis=0)
            else:
                apart = np.linalg.norm(self.vectors[pairs[part, 0]] - self.vectors[pairs[part, 1]], axis=1)
                values[part] = expected_gradient(differences, apart)
        order = np.argsort(-values, kind="stable")
        return self._first(((int(pairs[at, 0]), int(pairs[at, 1]), float(values[at])) for at in order), count, rule)

    def _draws(self, model: TasteModel, rows: Rows, count: int) -> Numbers:
        """float64 [count, len(rows)]. Models know the vectors they were fitted to, so those are not copied if few."""
        if len(self.vectors) <= ITEMS:
            return model.draws(self.vectors, count, self.random)[:, rows]
        return model.draws(self.vectors[rows], count, self.random)

    def _first(self, pairs: Iterable[tuple[int, int, float]], count: int, reason: str) -> list[Pair]:
        """The first `count` that may be taken."""
        taken: list[Pair] = []
        for first, second, value in pairs:
            if len(taken) >= count:
                break
            pair = self.take(first, second, value, reason)
            if pair:
                taken.append(pair)
        return taken


def expected_gradient(differences: Numbers, apart: NDArray[np.floating]) -> Numbers:
    """How long the gradient of the loss will be at the answer, in expectation over the answer and the posterior:
    2 p (1 - p) |x1 - x2| where the score is linear (Settles 2008; the first implementation took the length for one
    supposed answer of one network)."""
    chance = 1 / (1 + np.exp(-np.clip(differences, -30, 30)))
    return np.asarray((2 * chance * (1 - chance)).mean(axis=0) * apart, np.float64)


def key(first: int, second: int) -> tuple[int, int]:
    """The same for both orders."""
    return (first, second) if first < second else (second, first)


def best(values: Numbers, count: int) -> list[int]:
    """Places of the highest values, in falling order."""
    count = min(count, len(values))
    some = np.argpartition(-values, count - 1)[:count]
    return [int(place) for place in some[np.argsort(-values[some], kind="stable")]]
