"""Pictures to be judged one by one, blindly: how they are drawn, and where the judgements are kept.

A run has two pages. One holds pictures drawn at random, which all measures of a model rest on. The other holds equally
many from each span of score percentiles, the best ones in narrow spans, to see what is kept at each height. Which
page is which, and what a model says of a picture, is never told to who judges.
"""

import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memesearch.errors import ConfigError, NotFound
from memesearch.library.pool import Pool
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import Examples, remember
from memesearch.taste.groups import near_duplicate_groups
from memesearch.taste.measures import Numbers, ranks

SPANS = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 100.0)
RANDOM, PERCENTILES = "random", "percentiles"


@dataclass(frozen=True)
class Drawn:
    """Rows of the pool for each kind of page; `missing`: how many fewer than wanted there were."""

    rows: dict[str, list[int]]
    missing: int


@dataclass(frozen=True)
class Item:
    """A picture of a run. `good` is 1, 0, or None until it is judged; `turn` is higher for what was judged later."""

    place: int
    page: int
    kind: str
    filename: str
    hash: bytes
    percentile: float
    model: str
    good: int | None
    turn: int | None


class Judgements:
    """The statements on `judged_pages` and `judgements`."""

    def __init__(self, database: RaterDatabase) -> None:
        self.database = database

    def runs(self) -> list[str]:
        """Oldest first."""
        with self.database.reading() as db:
            rows = db.execute("SELECT run FROM judged_pages GROUP BY run ORDER BY min(at), run").fetchall()
        return [row[0] for row in rows]

    def find_run(self, name: str | None) -> str:
        """`name`, or the newest run. Raises NotFound."""
        runs = self.runs()
        if name is None and runs:
            return runs[-1]
        if name not in runs or name is None:
            known = f"there are {', '.join(runs)}" if runs else "make one first (eval.py CONFIG make)"
            raise NotFound(f"there is no run {name or ''}".rstrip() + f"; {known}")
        return name

    def items(self, run: str) -> list[Item]:
        """All pictures of a run, in the order they are shown."""
        with self.database.reading() as db:
            rows: list[tuple[Any, ...]] = db.execute(
                "SELECT place, page, kind, p.filename, hash, percentile, model, good, j.id FROM judged_pages p"
                " LEFT JOIN judgements j ON j.run = p.run AND j.filename = p.filename"
                " WHERE p.run = ? ORDER BY place",
                (run,),
            ).fetchall()
        return [Item(*row) for row in rows]

    def judged_before(self) -> set[bytes]:
        """Hashes of what was judged in any run."""
        with self.database.reading() as db:
            rows = db.execute("SELECT DISTINCT hash FROM judged_pages JOIN judgements USING (run, filename)").fetchall()
        return {row[0] for row in rows}

    def store_run(self, run: str, pool: Pool, drawn: Drawn, percentile: Numbers, model: str) -> None:
        """Keep what was drawn, with its vectors, so that judgements outlive their pictures. Raises ConfigError."""
        random = np.random.default_rng(seed_of(run))
        kinds = sorted(drawn.rows)
        random.shuffle(kinds)
        now = time.time()
        with self.database.transaction() as db:
            if db.execute("SELECT 1 FROM judged_pages WHERE run = ?", (run,)).fetchone():
                raise ConfigError(f"there is a run {run} already; choose another name with --run")
            place = 0
            for page, kind in enumerate(kinds, 1):
                for row in random.permutation(drawn.rows[kind]).tolist():
                    values = (run, place, page, kind, pool.names[row], pool.hashes[row])
                    db.execute(
                        "INSERT INTO judged_pages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (*values, float(percentile[row]), model, now),
                    )
                    place += 1
            remember(db, pool, [row for rows in drawn.rows.values() for row in rows])

    def judge(self, run: str, place: int, good: bool) -> None:
        """Store a judgement; a second one of the same picture takes the place of the first. Raises NotFound."""
        with self.database.transaction() as db:
            name = filename(db.execute("SELECT filename FROM judged_pages WHERE run = ? AND place = ?", (run, place)))
            db.execute(
                "INSERT OR REPLACE INTO judgements(run, filename, good, at) VALUES (?, ?, ?, ?)",
                (run, name, int(good), time.time()),
            )

    def take_back(self, run: str, place: int) -> None:
        """Forget a judgement, if there is one. Raises NotFound when there is no such picture."""
        with self.database.transaction() as db:
            name = filename(db.execute("SELECT filename FROM judged_pages WHERE run = ? AND place = ?", (run, place)))
            db.execute("DELETE FROM judgements WHERE run = ? AND filename = ?", (run, name))


def filename(rows: Iterable[tuple[str]]) -> str:
    for row in rows:
        return row[0]
    raise NotFound("this run has no such picture")


def seed_of(run: str) -> int:
    """The same name draws the same pictures from the same pool."""
    return zlib.crc32(run.encode())


def percentiles(keep: Numbers) -> Numbers:
    """float64 [n], above 0 and below 100: the share of the pool that scores lower."""
    return (ranks(keep) - 0.5) / max(1, len(keep)) * 100


def draw(
    percentile: Numbers, groups: NDArray[np.int64], usable: NDArray[np.bool_], later: NDArray[np.bool_],
    wanted: tuple[int, int], seed: int, there: Callable[[int], bool],
) -> Drawn:  # fmt: skip
    """Choose rows for both pages; of each group of near-duplicates at most one.

    Args:
        percentile, groups: float64 and int64 [n], of the rows of the pool.
        usable: bool [n]; False for what the person has labelled, and its near-duplicates.
        later: bool [n]; taken only when nothing else is left (judged in an earlier run).
        wanted: how many at random, and how many from each of SPANS.
        there: whether the picture of a row is still on the disk.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(usable))
    order = order[np.argsort(later[order], kind="stable")]
    seen: set[int] = set()

    def take(rows: NDArray[np.int64], count: int) -> list[int]:
        taken: list[int] = []
        for row in rows.tolist():
            if len(taken) == count:
                break
            if int(groups[row]) not in seen and there(row):
                seen.add(int(groups[row]))
                taken.append(row)
        return taken

    at_random = take(order, wanted[0])
    by_height: list[int] = []
    for low, high in pairwise(SPANS):
        inside = order[(percentile[order] >= low) & (percentile[order] < high)]
        by_height += take(inside, wanted[1])
    missing = wanted[0] + wanted[1] * (len(SPANS) - 1) - len(at_random) - len(by_height)
    return Drawn({RANDOM: at_random, PERCENTILES: by_height}, missing)


def make_run(
    judgements: Judgements, run: str, pool: Pool, examples: Examples, keep: Numbers, model: str,
    similarity: float, wanted: tuple[int, int], pictures: Path,
) -> Drawn:  # fmt: skip
    """Draw and store a run. `keep`: float64 [n], P(keep) of the pool's rows. Raises ConfigError."""
    groups = near_duplicate_groups(examples.vectors, similarity)
    labelled = np.unique(groups[examples.labels.items()])
    groups = groups[: len(pool)]
    usable = ~np.isin(groups, labelled)
    before = judgements.judged_before()
    later = np.array([digest in before for digest in pool.hashes], np.bool_)
    percentile = percentiles(keep)
    drawn = draw(
        percentile, groups, usable, later, wanted, seed_of(run), lambda row: (pictures / pool.names[row]).is_file()
    )
    if not any(drawn.rows.values()):
        raise ConfigError("no picture is left to judge: all are labelled, or gone; crawl and index more")
    judgements.store_run(run, pool, drawn, percentile, model)
    return drawn
