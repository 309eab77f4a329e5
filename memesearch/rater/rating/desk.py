"""What lies before the person who rates: the pairs to come, their answers, and a model that follows in the background.

Blocking; called from threads. A few pairs are always ready, so that an answer is answered with the next ones at once:
those of the queue first, then pairs chosen by the model as it stands.
"""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from memesearch.errors import BadRequest, NotFound
from memesearch.inside import find
from memesearch.library.pool import Pool, read_pool
from memesearch.rater.config import RaterConfig
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import remember
from memesearch.rater.rating import offers
from memesearch.rater.rating.answers import answered_pairs, as_rows, count_answers, outcomes, store_answer
from memesearch.rater.rating.live_taste import Known, Movement, accuracy, learn
from memesearch.rater.rating.offers import Offer
from memesearch.taste.model import TasteModel
from memesearch.taste.select import propose

log = logging.getLogger(__name__)
AHEAD = 6  # pairs that are ready
SHOWN = 2  # of them, that the page may already show
POOL_SECONDS = 2.0  # between two looks at a library that changes
REST = 20  # times as long as reading the pool took, before it is read again


class Desk:
    """Everything behind the page. `known` is replaced as a whole after each fit, so any thread may read it."""

    def __init__(self, config: RaterConfig, model: TasteModel) -> None:
        """Read the pool and what was rated before. Raises ConfigError."""
        pictures = config.pictures()
        self.config, self.model = config, model
        self.root, self._library = Path(pictures.files), Path(pictures.db_path)
        self._database = RaterDatabase(Path(config.database))
        self._learning = RaterDatabase(Path(config.database))  # a connection of its own: answers do not wait for it
        self._random = np.random.default_rng()
        self._filling = threading.Lock()
        self._hidden: set[str] = set()  # pictures of the pool that cannot be given out
        self._away = False  # all of them
        self.movement = Movement()
        self._read, self._read_seconds = 0.0, 0.0
        self._seen = self._state_of_library()
        self.known = self._fit(self._read_pool())
        self.fill()

    def close(self) -> None:
        self._database.close()
        self._learning.close()

    # what the page asks for

    def deck(self) -> dict[str, Any]:
        """The next pairs, and what an undo would take back."""
        with self._database.reading() as db:
            ready, last = [] if self._away else offers.open_offers(db), offers.last_done(db)
        return {
            "pairs": [{"token": o.token, "first": o.meme1, "second": o.meme2, "reason": o.reason} for o in ready],
            "undo": last.token if last else None,
            "dimensions": list(self.config.dimensions),
            "note": None if ready else self._why_none(),
        }

    def answer(self, token: str, grade: int, dimensions: dict[str, int]) -> bool:
        """Store an answer; False when this pair was answered before. Raises NotFound, BadRequest."""
        if unknown := set(dimensions) - set(self.config.dimensions):
            raise BadRequest(f"`dimensions` of the configuration does not name {sorted(unknown)[0]!r}")
        known = self.known
        with self._database.transaction() as db:
            offer = self._offer(db, token)
            if offer.state != "open":
                return False
            if not all(name in known.rows for name in offer.names):
                raise NotFound("one of these pictures is gone; nothing was stored")
            answer = store_answer(db, offer.names, grade, dimensions, offer.iteration, offer.reason)
            remember(db, known.pool, [known.rows[name] for name in offer.names])
            offers.close(db, offer, "answered", answer, known.guess(*offer.names))
        return True

    def skip(self, token: str) -> bool:
        with self._database.transaction() as db:
            offer = self._offer(db, token)
            if offer.state != "open":
                return False
            offers.close(db, offer, "skipped")
        return True

    def undo(self, token: str) -> bool:
        """Take back the last answer or skip, if that is the one `token` names; so a doubled request takes back one."""
        with self._database.transaction() as db:
            self._offer(db, token)
            last = offers.last_done(db)
            if last is None or last.token != token:
                return False
            offers.reopen(db, last)
        return True

    def _offer(self, db: Any, token: str) -> Offer:
        offer = offers.offer_of(db, token)
        if offer is None:
            raise NotFound("this pair is not on offer; nothing was stored")
        if offer.state == "gone":
            raise NotFound("one of these pictures is gone; nothing was stored")
        return offer

    def status(self) -> dict[str, Any]:
        """What the panel shows."""
        with self._database.reading() as db:
            counts = offers.counts(db)
        known = self.known
        return {
            "answers": count_answers(self._database),
            **counts,
            "pictures": len(known.pool),
            "lost": known.examples.lost,
            "learnt": known.answers,
            "refit_seconds": known.seconds,
            "accuracy": accuracy(outcomes(self._database)),
            "ranking": self.movement.now(lambda name: (self.root / name).is_file()),
        }

    def _why_none(self) -> str:
        if self._away:
            return f"The folder of pictures, {self.root}, is empty or away. Once it is back, the pairs are too."
        pictures = len(self.known.pool) - len(self._hidden)
        if pictures < 2 and self._hidden:
            return (
                f"Of the library's pictures {pictures or 'none'} can be read in {self.root}; index what is there now."
            )
        if pictures < 2:
            return f"The library has {pictures or 'no'} picture{'s' * (pictures != 1)}; index at least two to compare."
        return "Every pair has been shown, or is of near-duplicates. Index more pictures, and more pairs come."

    # what happens in the background

    def catch_up(self) -> float:
        """Follow the library, learn from all answers, and lay out pairs. Returns the seconds of the fit."""
        pool = self._read_pool() if self.library_changed() else self.known.pool
        self.known = self._fit(pool)
        self.fill()
        return self.known.seconds

    def _fit(self, pool: Pool) -> Known:
        rows = {name: row for row, name in enumerate(pool.names)}
        known = learn(self._learning, pool, rows, self.model)
        self.movement.see(known)
        return known

    def _state_of_library(self) -> tuple[int, ...]:
        """Changes whenever something is written into the library's database."""
        state = []
        for path in (self._library, self._library.with_name(self._library.name + "-wal")):
            try:
                info = path.stat()
            except OSError:
                continue
            state += [info.st_mtime_ns, info.st_size] if info.st_size else []
        return tuple(state)

    def library_changed(self) -> bool:
        """Whether the pool is to be read again; rarely, if that takes long."""
        rest = max(POOL_SECONDS, REST * self._read_seconds)
        return time.monotonic() - self._read > rest and self._state_of_library() != self._seen

    def _read_pool(self) -> Pool:
        started = time.monotonic()
        self._seen = self._state_of_library()
        pool = read_pool(self._library)
        self._read, self._hidden = time.monotonic(), set()
        self._read_seconds = self._read - started
        return pool

    # laying out pairs

    def fill(self) -> None:
        """Drop pairs whose pictures are gone, and lay out new ones. While the whole folder of pictures is away (a disk
        that is not mounted, say), nothing is dropped."""
        with self._filling:
            away, self._away = self._away, len(self.known.pool) > 0 and not holds_anything(self.root)
            if self._away:
                return
            if away:
                self._hidden = set()
            missing = self._from_queue()
            if missing > 0:
                self._live(missing)

    def _from_queue(self) -> int:
        """Returns how many pairs are still wanted."""
        with self._database.transaction() as db:
            offers.adopt(db)
            ready = []
            for offer in offers.open_offers(db):
                if self._showable(offer.names):
                    ready.append(offer)
                else:
                    log.warning("the pair %s, %s is dropped: a picture is gone", *offer.names)
                    offers.close(db, offer, "gone")
            waiting = offers.waiting(db)
            if waiting:
                for offer in [offer for offer in ready[SHOWN:] if not offer.queued]:
                    offers.withdraw(db, offer)
                    ready.remove(offer)
            wanted = AHEAD - len(ready)
            for first, second, iteration, reason in waiting:
                if wanted <= 0:
                    break
                if first != second and self._showable((first, second)):
                    offers.make_offer(db, (first, second), iteration, reason or "queue", True)
                    wanted -= 1
                else:
                    log.warning("the queued pair %s, %s is dropped: a picture is gone", first, second)
                    offers.drop_queued(db, (first, second))
        return wanted

    def _live(self, count: int) -> None:
        """Choose pairs with the model as it stands."""
        known = self.known
        with self._database.reading() as db:
            shown = offers.shown_pairs(db)
        avoid = as_rows(shown | answered_pairs(self._database), known.rows)
        eligible = np.zeros(len(known.examples.names), bool)
        eligible[: len(known.pool)] = True
        for again in range(3):  # again when some of the chosen cannot be shown
            if again == 2:  # then many are gone, and it is quicker to look for all at once
                self._hidden.update(name for name in known.pool.names if not os.path.isfile(self.root / name))
            eligible[[known.rows[name] for name in self._hidden if name in known.rows]] = False
            model = known.model if known.scores is not None else None
            similarity = self.config.duplicate_similarity
            chosen = propose(
                "auto", model, known.examples.vectors, known.examples.labels, count, self._random, eligible,
                similarity=similarity, avoid=avoid,
            )  # fmt: skip
            with self._database.transaction() as db:
                for pair in chosen:
                    names = known.pool.names[pair.first], known.pool.names[pair.second]
                    if self._showable(names):
                        offers.make_offer(db, names, "live", pair.reason, False)
                        avoid.append((pair.first, pair.second))
                        count -= 1
            if count <= 0 or not chosen:
                return

    def _showable(self, names: tuple[str, str]) -> bool:
        """Whether both are in the pool and are files inside the library's folder."""
        for name in names:
            if name not in self.known.rows:
                return False
            try:
                find(self.root, name, self.root)
            except NotFound:
                self._hidden.add(name)
                return False
        return True

    def picture(self, name: str) -> str:
        """Where a picture of the pool lies. Raises NotFound for any other name."""
        if name not in self.known.rows:
            raise NotFound("the library has no such picture")
        return find(self.root, name, self.root)


def holds_anything(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
