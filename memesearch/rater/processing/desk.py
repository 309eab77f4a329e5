"""What lies before the person who decides: the next pictures with suggestions, and what came of each decision."""

import asyncio
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memesearch.errors import Unavailable
from memesearch.rater.config import RaterConfig
from memesearch.rater.database import RaterDatabase
from memesearch.rater.processing import queue
from memesearch.rater.processing.crawled import Crawled
from memesearch.rater.processing.decisions import Decisions, Folders, Outcome, Stale
from memesearch.rater.processing.moving import digest_of
from memesearch.rater.processing.names import check_file_name, check_folder, check_tags, lies_inside
from memesearch.rater.processing.standing import standing
from memesearch.rater.processing.suggestions import (
    Neighbours,
    last_folder,
    read_post,
    suggest_folder,
    suggest_name,
    suggest_tags,
)
from memesearch.rater.processing.trash import expire

log = logging.getLogger(__name__)
MAX_CARDS = 5
REMEMBERED = 64  # suggestions, so that a picture that is asked for twice is not searched for twice
SECONDS = 60.0  # between two attempts to move what could not be moved
DAY = 86_400.0


@dataclass(frozen=True)
class Wish:
    """How a picture is to be kept, as a browser sends it: nothing is checked yet."""

    name: str
    folder: str
    tags: list[str]


class Desk:
    """The queue's work; files and database are touched in threads, one decision at a time."""

    def __init__(
        self, config: RaterConfig, folders: Folders, database: RaterDatabase, crawled: Crawled, neighbours: Neighbours
    ) -> None:
        self.config, self.folders, self.database, self.crawled = config, folders, database, crawled
        self.decisions = Decisions(database, folders, crawled.find)
        self._neighbours = neighbours
        self._near: dict[bytes, list[tuple[str, float]]] = {}
        self._problem: str | None = None

    async def next(self, count: int) -> list[dict[str, Any]]:
        """The pictures to be judged next, the best first. Raises Unavailable while the pictures' folder is away."""
        found = await asyncio.to_thread(self._first, min(count, MAX_CARDS))
        return await asyncio.gather(*(self._card(row, digest) for row, digest in found))

    def _first(self, count: int) -> list[tuple[queue.Waiting, bytes]]:
        """The first rows whose files are there; the rest stays in the queue in case they come back."""
        if not self.folders.images.is_dir():
            raise Unavailable(f"the folder of pictures {self.folders.images} is not there; is its disk connected?")
        with self.database.reading() as db:
            names = queue.names(db)
        found: list[tuple[queue.Waiting, bytes]] = []
        for name in names:
            if len(found) == count:
                break
            if digest := self._digest(name):
                with self.database.reading() as db:
                    row = queue.named(db, name)
                if row is not None:  # else it was decided meanwhile
                    found.append((row, digest))
        return found

    def _digest(self, filename: str) -> bytes | None:
        """The hash of a picture that may be decided about: a plain file inside its folder that can be read."""
        try:
            if not os.path.lexists(self.folders.images / filename):  # first, for it costs least
                return None
            if not lies_inside(self.folders.images, str(Path(filename).parent)):
                return None
            return digest_of(self.folders.images / filename)
        except (OSError, ValueError):
            return None

    async def _card(self, row: queue.Waiting, digest: bytes) -> dict[str, Any]:
        """What the page shows. Neither the score nor why it is in the queue is told: it would sway the judgement."""
        near = await self._nearest(digest)
        return await asyncio.to_thread(self._describe, row, digest, near)

    def _describe(self, row: queue.Waiting, digest: bytes, near: list[tuple[str, float]]) -> dict[str, Any]:
        post = read_post(Path(self.config.meta), row.filename)
        folder = suggest_folder(near, self.folders.library)
        with self.database.reading() as db:
            tags = suggest_tags(db, near)
        changed = row.hash is not None and row.hash != digest
        return {
            "token": row.token,
            "hash": digest.hex(),
            "file": row.filename,
            "name": suggest_name(post, row.filename),
            "extension": os.path.splitext(row.filename)[1],
            "folder": last_folder(self.database) if folder is None else folder,
            "tags": tags,
            "title": post.title,
            "link": post.link,
            "notice": "This picture was changed after it was put into the queue." if changed else None,
        }

    async def _nearest(self, digest: bytes) -> list[tuple[str, float]]:
        if digest not in self._near:
            pool = await asyncio.to_thread(self.crawled.find, digest)
            if pool is None:
                return []
            if len(self._near) >= REMEMBERED:
                self._near.clear()
            self._near[digest] = await self._neighbours.of(pool.vectors[0], pool.model_id)
        return self._near[digest]

    async def keep(self, token: str, digest: bytes, wish: Wish) -> dict[str, Any]:
        """Raises BadRequest for a name, folder or tag that cannot be, and Stale."""
        return await asyncio.to_thread(self._keep, token, digest, wish)

    def _keep(self, token: str, digest: bytes, wish: Wish) -> dict[str, Any]:
        with self.database.reading() as db:
            row = queue.find(db, token)
        target = ""
        if row is not None:  # else `keep` tells whether the request came twice
            folder = check_folder(wish.folder, self.folders.library)
            name = check_file_name(wish.name, os.path.splitext(row.filename)[1])
            target = f"{folder}/{name}" if folder else name
        return self._told(self.decisions.keep(token, digest, target, check_tags(wish.tags)))

    async def discard(self, token: str, digest: bytes) -> dict[str, Any]:
        return self._told(await asyncio.to_thread(self.decisions.discard, token, digest))

    def _told(self, outcome: Outcome) -> dict[str, Any]:
        decision = outcome.decision
        if outcome.problem and decision.moved == 0:
            self._problem = outcome.problem
        return {
            "id": decision.id,
            "decision": "keep" if decision.kept else "discard",
            "moved": decision.moved == 1,
            "target": decision.target,
            "problem": outcome.problem,
        }

    async def put_off(self, token: str) -> dict[str, Any]:
        """To the end of the queue. Raises Stale."""
        fresh = await asyncio.to_thread(queue.put_off, self.database, token)
        if fresh is None:
            raise Stale("this picture is not in the queue any more: it was decided or put off elsewhere")
        return {"decision": "later", "token": fresh}

    async def undo(self, number: int) -> dict[str, Any] | None:
        """Take a decision back; the picture's card, None when it was taken back before. Raises Stale, CannotMove."""
        return await self._card_of(await asyncio.to_thread(self.decisions.undo, number))

    async def undo_later(self, token: str) -> dict[str, Any] | None:
        """Bring back what was put off; None when that was done before."""
        return await self._card_of(await asyncio.to_thread(queue.put_back, self.database, token))

    async def _card_of(self, token: str | None) -> dict[str, Any] | None:
        row = None if token is None else await asyncio.to_thread(self.row, token)
        if row is None:
            return None
        digest = await asyncio.to_thread(self._digest, row.filename)
        return None if digest is None else await self._card(row, digest)

    def row(self, token: str) -> queue.Waiting | None:
        with self.database.reading() as db:
            return queue.find(db, token)

    def status(self) -> dict[str, Any]:
        """Counts, precision against its target, the decision that undo would take back, and what is in the way."""
        now, last = standing(self.database), self.decisions.last()
        problem = self._problem if now.unmoved else None
        if not self.folders.library.is_dir():
            problem = f"the library {self.folders.library} is not there; is its disk connected?"
        return {
            **asdict(now),
            "target_precision": self.config.target_precision,
            "last": None if last is None else {"id": last.id, "kept": bool(last.kept), "file": last.filename},
            "problem": problem,
        }

    async def finish(self) -> None:
        """Finish what a crash or a full disk broke off."""
        try:
            problems = await asyncio.to_thread(self.decisions.finish_all)
            self._problem = problems[0] if problems else None
        except Unavailable as error:
            log.warning("what was broken off is finished later: %s", error)

    async def tend(self) -> None:
        """For ever: finish what could not be moved; at first and once a day, let the trash expire."""
        left = 0.0
        while True:
            if left <= 0:
                left = DAY
                try:
                    await asyncio.to_thread(expire, self.database, self.folders.trash, self.config.trash_days)
                except Unavailable as error:
                    log.warning("the trash expires later: %s", error)
                    left = SECONDS
            left -= SECONDS
            await asyncio.sleep(SECONDS)
            await self.finish()
