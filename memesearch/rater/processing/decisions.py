"""Keep, discard and undo: the label is stored first, then the file is moved.

`moved` says how far a decision has come: 0 stored, 1 the file lies at its target, -1 withdrawn and to be brought back.
Whatever was broken off is finished by `finish_all`: at start, and now and then.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from memesearch.errors import MemeSearchError
from memesearch.library.pool import Pool
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import remember
from memesearch.rater.processing import queue
from memesearch.rater.processing.moving import CannotMove, Gone, digest_of, move
from memesearch.rater.processing.names import lies_inside, numbered
from memesearch.seldom import Seldom

log = logging.getLogger(__name__)
LOG_SECONDS = 600.0  # between two lines on the same thing that keeps files from being moved
COLUMNS = "id, filename, hash, kept, at, target, tags, moved"


class Stale(MemeSearchError):
    """What the person saw is not what is there any more; nothing was stored."""

    status = 409


@dataclass(frozen=True)
class Decision:
    """A label as it is stored. `target` is relative to the library or the trash; `tags` is a JSON list."""

    id: int
    filename: str
    hash: bytes
    kept: bool
    at: float
    target: str | None
    tags: str
    moved: int


@dataclass(frozen=True)
class Outcome:
    """What came of a decision. `problem` says why its file could not be moved yet."""

    decision: Decision
    problem: str | None


@dataclass(frozen=True)
class Folders:
    """Where pictures come from and go to. No other folder is ever touched."""

    images: Path
    library: Path
    trash: Path

    def of(self, decision: Decision) -> Path:
        return self.library if decision.kept else self.trash


class Decisions:
    """Decides about pictures of the queue, one at a time.

    `pool` gives the picture of a hash with its vector, which its label is tied to; None when that cannot be had.
    """

    def __init__(self, database: RaterDatabase, folders: Folders, pool: Callable[[bytes], Pool | None]) -> None:
        self.database, self.folders = database, folders
        self._pool = pool
        self._turn = threading.Lock()
        self._seldom = Seldom(log, LOG_SECONDS)

    def keep(self, token: str, digest: bytes, target: str, tags: list[str]) -> Outcome:
        """Store that the picture is kept, and move it to `target` in the library, a name that was checked.

        Args:
            token: of the row of the queue.
            digest: of the bytes the person saw.
        Raises:
            Stale: the row or those bytes are not there any more.
        """
        return self._decide(token, digest, True, target, tags)

    def discard(self, token: str, digest: bytes) -> Outcome:
        """Store that the picture is discarded, and move it to the trash. Raises Stale."""
        return self._decide(token, digest, False, None, [])

    def _decide(self, token: str, digest: bytes, kept: bool, target: str | None, tags: list[str]) -> Outcome:
        with self._turn:
            before = self._first("token = ?", token)
            if before is not None:  # the request came twice, or from two pages
                if bool(before.kept) != kept:
                    done = "kept" if before.kept else "discarded"
                    raise Stale(f"{before.filename} was {done} already; undo that to decide otherwise")
                return Outcome(before, None if before.moved == 1 else "the picture has not been moved yet")
            with self.database.reading() as db:
                row = queue.find(db, token)
            if row is None:
                raise Stale("this picture is not in the queue any more: it was decided or put off elsewhere")
            self._check(row.filename, digest)
            pool = self._pool(digest)
            with self.database.transaction() as db:
                if db.execute("DELETE FROM library_queue WHERE token = ?", (token,)).rowcount != 1:
                    raise Stale("this picture is not in the queue any more: it was decided or put off elsewhere")
                number = self._store(db, row, digest, kept, target, tags)
                if pool is not None and digest in pool.hashes:
                    remember(db, pool, [pool.hashes.index(digest)])
            return self._finish(self.get(number))

    def _check(self, filename: str, digest: bytes) -> None:
        """Raises Stale unless the file is there and holds what the person saw."""
        path = self.folders.images / filename
        if not lies_inside(self.folders.images, str(Path(filename).parent)) or path.is_symlink():
            raise Stale(f"{filename} is a link, and links are not moved; remove it")
        try:
            now = digest_of(path)
        except OSError as error:
            raise Stale(f"{filename} cannot be read: {error.strerror}; nothing was stored") from error
        if now is None:
            raise Stale(f"{filename} is not on the disk any more; nothing was stored")
        if now != digest:
            raise Stale(f"{filename} was changed since it was shown; look at it again")

    def _store(
        self, db: sqlite3.Connection, row: queue.Waiting, digest: bytes, kept: bool, target: str | None, tags: list[str]
    ) -> int:
        now = time.time()
        if target is None:
            target = f"{datetime.fromtimestamp(now):%Y-%m-%d}/{os.path.basename(row.filename)}"
        target = free_name(self.folders.library if kept else self.folders.trash, target)
        values = (row.filename, digest, int(kept), now, target, msgspec.json.encode(tags).decode())
        judged = row.hash in (None, digest)  # else the file was replaced, and what a model said was said of another
        keep, explored = (row.keep, row.explored) if judged else (None, True)
        stored = db.execute(
            "INSERT INTO decisions(filename, hash, kept, at, target, tags, keep, explored, score, model, token)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, keep, int(explored), row.score if judged else None, row.model, row.token),
        )
        return int(stored.lastrowid or 0)

    def _finish(self, decision: Decision) -> Outcome:
        """Do what is left to do. The file that is gone leaves its label, which is what counts."""
        source, goal = self.folders.images / decision.filename, self.folders.of(decision)
        try:
            self._check_root()
            target = move(source, goal, decision.target or "", decision.hash, self._noting(decision, "target"))
        except CannotMove as error:
            self._seldom.warning("move", f"{decision.filename}: {error}")  # a full disk stops them all
            return Outcome(decision, f"{error}. The decision is stored, and moving is tried again.")
        except Gone:
            log.warning("%s was gone before it could be moved; its label stays", decision.filename)
            return self._moved(decision, None, "the file was gone before it could be moved; its label stays")
        return self._moved(decision, target, None)

    def _moved(self, decision: Decision, target: str | None, problem: str | None) -> Outcome:
        with self.database.transaction() as db:
            db.execute("UPDATE decisions SET moved = 1, target = ? WHERE id = ?", (target, decision.id))
        return Outcome(self.get(decision.id), problem)

    def _check_root(self) -> None:
        """Raises CannotMove while the folder of pictures is away: its pictures are not gone then."""
        if not self.folders.images.is_dir():
            raise CannotMove(f"{self.folders.images} is not there; is its disk connected?")

    def _noting(self, decision: Decision, column: str) -> Callable[[str], None]:
        def note(name: str) -> None:
            with self.database.transaction() as db:
                db.execute(f"UPDATE decisions SET {column} = ? WHERE id = ?", (name, decision.id))

        return note

    def undo(self, number: int) -> str | None:
        """Withdraw a decision; its file comes back into the queue. The row's token, None when it was withdrawn before.

        Raises:
            Stale: the file cannot come back: it has expired, or was changed or moved by others. The label stays.
            CannotMove: it cannot come back now; this is tried again.
        """
        with self._turn:
            decision = self._first("id = ?", number)
            if decision is None:
                return None
            if decision.target is None:
                raise Stale(f"{decision.filename} cannot come back: its file is gone. Its label stays.")
            if decision.moved >= 0:
                back = decision.filename
                if decision.moved == 1:
                    back = free_name(self.folders.images, back)
                with self.database.transaction() as db:
                    db.execute("UPDATE decisions SET moved = -1, filename = ? WHERE id = ?", (back, number))
            return self._bring_back(self.get(number))

    def _bring_back(self, decision: Decision) -> str:
        source = self.folders.of(decision) / (decision.target or "")
        try:
            self._check_root()
            move(source, self.folders.images, decision.filename, decision.hash, self._noting(decision, "filename"))
        except Gone as error:
            with self.database.transaction() as db:
                db.execute("UPDATE decisions SET moved = 1 WHERE id = ?", (decision.id,))
            raise Stale(f"{decision.target} cannot come back: it was moved or changed. Its label stays.") from error
        with self.database.transaction() as db:
            row = db.execute(
                "INSERT OR REPLACE INTO library_queue(filename, score, keep, explored, model, at, hash)"
                " SELECT filename, score, keep, explored, model, at, hash FROM decisions WHERE id = ? RETURNING token",
                (decision.id,),
            ).fetchone()
            db.execute("DELETE FROM decisions WHERE id = ?", (decision.id,))
        return str(row[0])

    def finish_all(self) -> list[str]:
        """Finish what was broken off, by a crash or a full disk; what still stands in the way of it."""
        problems = []
        with self.database.reading() as db:
            waiting = [row[0] for row in db.execute("SELECT id FROM decisions WHERE moved != 1 ORDER BY id")]
        for number in waiting:
            with self._turn:
                decision = self._first("id = ? AND moved != 1", number)
                if decision is None:
                    continue
                try:
                    problem = self._finish(decision).problem if decision.moved == 0 else None
                    if decision.moved == -1:
                        self._bring_back(decision)
                except MemeSearchError as error:
                    problem = str(error)
            if problem:
                problems.append(problem)
        return problems

    def get(self, number: int) -> Decision:
        """A decision that is there."""
        decision = self._first("id = ?", number)
        assert decision is not None
        return decision

    def last(self) -> Decision | None:
        """The youngest decision, which `undo` would take back first."""
        return self._first("moved >= 0 AND target IS NOT NULL ORDER BY id DESC LIMIT 1")

    def _first(self, where: str, *values: int | str) -> Decision | None:
        with self.database.reading() as db:
            row = db.execute(f"SELECT {COLUMNS} FROM decisions WHERE {where}", values).fetchone()
        return None if row is None else Decision(*row)


def free_name(root: Path, wanted: str) -> str:
    """A name that nothing has yet, so that whatever has it later is what was brought there."""
    number = 1
    while os.path.lexists(root / numbered(wanted, number)):
        number += 1
    return numbered(wanted, number)
