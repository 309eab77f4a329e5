"""What is known of the person's taste while they rate: a model that is refitted after every answer, and how its ranking
of the pictures moves."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memesearch.library.pool import Pool
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import Examples, read_examples
from memesearch.rater.rating.answers import Outcome
from memesearch.taste.measures import wilson
from memesearch.taste.model import Numbers, TasteModel

BACK = 10  # answers between the two rankings that are compared
WINDOW = 100  # of the last answers that the accuracy is told of
POINTS = 60  # of the curve of accuracy
FIRST, SMOOTH = 10, 30  # answers in its first point, and in each later one
TOP = 6
LOOKED_AT = 100  # of the best, for those whose files are still there


@dataclass(frozen=True)
class Known:
    """One moment: the pictures, the labels, and the model fitted to them.

    Attributes:
        rows: of each name in the pool, which are the first rows of `examples`.
        scores: float64 [n], of all rows of `examples`; None while there are no labels.
        answers: how many labels the model was fitted to.
        seconds: what the fit took.
    """

    pool: Pool
    rows: dict[str, int]
    examples: Examples
    model: TasteModel
    scores: Numbers | None
    answers: int
    seconds: float

    def guess(self, first: str, second: str) -> float | None:
        """How much higher the first picture scores, None when nothing is known of them."""
        if self.scores is None or first not in self.rows or second not in self.rows:
            return None
        return float(self.scores[self.rows[first]] - self.scores[self.rows[second]])


def learn(database: RaterDatabase, pool: Pool, rows: dict[str, int], model: TasteModel) -> Known:
    """Fit `model` to every label there is now; from where it stands, if it was fitted before."""
    examples = read_examples(database, pool)
    started = time.perf_counter()
    # the ridge holds nothing out, so nothing has to be kept together
    model.fit(examples.vectors, examples.labels, np.arange(len(examples.names), dtype=np.int64))
    scores = model.mean_score(examples.vectors) if len(examples.labels) else None
    return Known(pool, rows, examples, model, scores, len(examples.labels), time.perf_counter() - started)


class Movement:
    """How the ranking of the pool moves from answer to answer."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._past: deque[tuple[int, NDArray[np.int64]]] = deque(maxlen=4 * BACK)

    def see(self, known: Known) -> None:
        """Remember the ranking of this fit. Another pool starts anew."""
        if known.pool is not self._pool:
            self._pool = known.pool
            self._past.clear()
        while self._past and self._past[-1][0] >= known.answers:  # an answer was taken back
            self._past.pop()
        if known.scores is not None:
            self._past.append((known.answers, places(known.scores[: len(known.pool)])))

    def now(self, there: Callable[[str], bool]) -> dict[str, Any] | None:
        """The best pictures and how far each rose; how well the order agrees with that of some answers ago.

        `there` tells whether a name still has its file: what was kept or discarded leaves the folder before it leaves
        the pool.
        """
        if not self._past or self._pool is None:
            return None
        answers, ranks = self._past[-1]
        before = next(((then, old) for then, old in reversed(self._past) if then <= answers - BACK), None)
        names = self._pool.names
        best = islice((row for row in np.argsort(ranks)[:LOOKED_AT].tolist() if there(names[row])), TOP)
        return {
            "top": [{"name": names[row], "rose": int(before[1][row] - ranks[row]) if before else None} for row in best],
            "agreement": rank_correlation(before[1], ranks) if before else None,
            "back": answers - before[0] if before else None,
        }


def places(scores: Numbers) -> NDArray[np.int64]:
    """int64 [n]; 0 for the highest score."""
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return ranks


def rank_correlation(one: NDArray[np.int64], two: NDArray[np.int64]) -> float | None:
    """Spearman's, of two rankings without ties; None below two items."""
    n = len(one)
    if n < 2:
        return None
    apart = (one - two).astype(np.float64)
    return float(1 - 6 * (apart @ apart) / (n * (n * n - 1.0)))


def accuracy(outcomes: list[Outcome]) -> dict[str, Any] | None:
    """Share of the last answers that the model had expected before it was told, and how that share went."""
    told = [outcome.told for outcome in outcomes if outcome.told is not None]
    if not told:
        return None
    last = told[-WINDOW:]
    share = wilson(sum(last), len(last))
    ends = np.unique(np.linspace(min(FIRST, len(told)), len(told), POINTS).astype(int)).tolist()
    curve = [round(float(np.mean(told[max(0, end - SMOOTH) : end])), 3) for end in ends]
    return {"value": share.value, "low": share.low, "high": share.high, "of": len(last), "curve": curve}
