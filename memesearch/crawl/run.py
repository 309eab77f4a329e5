"""One run over all sources: looks at what is new, takes the pictures in, and remembers where it stopped.

A pass over a source goes from its newest posts on until a page has nothing new. A pass that was broken off is
finished, from the page where it stopped, before another begins; so there is never more than one gap.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from memesearch.content_hash import hash_bytes
from memesearch.crawl.check_worker import Checked, CheckRequest
from memesearch.crawl.config import CrawlSettings
from memesearch.crawl.fetch import LONGEST_REST
from memesearch.crawl.files import Meta, Places
from memesearch.crawl.post import CannotStore, GivenUp, NotUnderstood, Page, Post, Refused
from memesearch.crawl.records import Position, Records
from memesearch.crawl.sources import Source, pages
from memesearch.workers import WorkerDied, WorkerPool

log = logging.getLogger(__name__)
CHECKERS = 2
CHECK_SECONDS = 60.0
DAY = 86_400.0
MOST_TOLD = 50  # pictures of a source that are named on the log because they cannot be had


@dataclass
class Tally:
    """What came of one source. `problem`: why it was left early; `told`: pictures that were not had, on the log."""

    pages: int = 0
    listed: int = 0
    looked_at: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    problem: str | None = None
    told: int = 0

    def tell(self, line: str, name: str, url: str, error: Exception) -> None:
        """On the log, unless a source goes on and on: the summary counts the rest."""
        self.told += 1
        if self.told <= MOST_TOLD:
            log.warning(line, name, url, error)
        elif self.told == MOST_TOLD + 1:
            log.warning("%s: more pictures that cannot be had are only counted", name)

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Crawl:
    """One run. `tallies` can be read at any time."""

    def __init__(self, settings: CrawlSettings, sources: list[Source], places: Places, records: Records) -> None:
        self.settings = settings
        self.sources = sources
        self.tallies = {source.name: Tally() for source in sources}
        self.ended = ""  # why the run ended early
        self._places, self._records = places, records
        self._left = settings.max_pictures or float("inf")  # pictures that may still be stored
        self._oldest = time.time() - settings.max_age_days * DAY if settings.max_age_days else float("-inf")
        self._checkers = WorkerPool("memesearch.crawl.check_worker", CHECKERS, CHECK_SECONDS)

    async def run(self) -> None:
        """Raises CannotStore when this machine takes nothing more."""
        self._places.tidy()
        try:
            async with asyncio.timeout(self.settings.max_seconds or None):
                await self._all_sources()
        except TimeoutError:
            self.ended = f"time is up (`max_seconds`: {self.settings.max_seconds:g})"
        finally:
            await self._checkers.close()

    async def _all_sources(self) -> None:
        """Side by side. The first error that is not one source's alone stops the others."""
        tasks = [asyncio.create_task(self._source(source)) for source in self.sources]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _source(self, source: Source) -> None:
        """One pass, after what is left of the one before.

        What goes wrong with this source is told in its tally, and the others go on.
        """
        tally = self.tallies[source.name]
        with storing():
            position = self._records.position(source.name)
        wait = position.not_before - time.time()
        if 0 < wait <= LONGEST_REST:  # a time further away was told by a clock that has been set back since
            tally.problem = f"wants to be left alone for another {wait:.0f} s"
            return
        position.not_before = 0.0
        try:
            resumed = position.cursor is not None
            if await self._pass(source, position, tally) and resumed:
                position = Position()
                await self._pass(source, position, tally)
        except (NotUnderstood, Refused, GivenUp) as error:
            tally.problem = str(error)
            log.warning("%s: %s", source.name, error)
            if isinstance(error, Refused) and position.cursor and not tally.pages:
                position.cursor = None  # the page where it stopped is no more
            if isinstance(error, GivenUp) and error.wait:
                position.not_before = time.time() + error.wait
            with storing():
                self._records.save(source.name, position)

    async def _pass(self, source: Source, position: Position, tally: Tally) -> bool:
        """Look at pages until there is nothing new; `position` follows, and is saved before each page is looked at.

        False when no more may be stored in this run.
        """
        began = time.time()
        with storing():
            through = position.unfinished or self._records.owes(source.name) or not source.newest_first
        async for cursor, page in pages(source, position.cursor, self.settings.max_pages):
            position.unfinished, position.cursor = True, cursor
            with storing():
                self._records.save(source.name, position)
            tally.pages += 1
            new = self._new(source, page)
            tally.listed += len(new)
            for post in new:
                if not await self._post(source, post, tally):
                    self.ended = f"enough for one run (`max_pictures`: {self.settings.max_pictures})"
                    return False
            if not new and page.posts and (not through or self._all_old(source, page)):
                break
        with storing():
            self._records.missed(source.name, began)
            self._records.save(source.name, Position())
        return True

    def _new(self, source: Source, page: Page) -> list[Post]:
        """The posts that are worth a look."""
        with storing():
            return [
                post
                for post in page.posts
                if not self._old(source, post) and len(self._records.settled(post.keys())) < len(post.keys())
            ]

    def _old(self, source: Source, post: Post) -> bool:
        """Whether nothing that follows can be of interest either."""
        return source.newest_first and post.created is not None and post.created < self._oldest

    def _all_old(self, source: Source, page: Page) -> bool:
        return all(self._old(source, post) for post in page.posts)

    async def _post(self, source: Source, post: Post, tally: Tally) -> bool:
        """Take a post's pictures in; False when no more may be stored in this run."""
        outcome = "deleted" if post.deleted else "adult" if post.adult and not self.settings.allow_adult else "empty"
        if outcome != "empty" or not post.pictures:
            self._note(source, post.key, outcome, tally)
            if outcome == "adult":  # all its pictures are settled
                for key in post.keys()[1:]:
                    self._note(source, key, outcome, tally)
        else:
            with storing():
                settled = self._records.settled(post.keys())
            for number, key in enumerate(post.keys(), 1):
                if key in settled:
                    continue
                if self._left < 1:
                    return False
                self._left -= 1  # taken before the download: others look at it meanwhile
                if await self._picture(source, post, number, tally) != "stored":
                    self._left += 1
        tally.looked_at += 1
        return True

    async def _picture(self, source: Source, post: Post, number: int, tally: Tally) -> str:
        """Try a picture's addresses in turn and write down what came of it, which is returned."""
        key, outcome = post.keys()[number - 1], "refused"
        for url in post.pictures[number - 1]:
            try:
                raw = await source.read(url)
                checked = await self._checkers.call(CheckRequest(raw), Checked)
                if checked.problem is not None:
                    raise Refused(checked.problem)
            except Refused as error:
                tally.tell("%s: skipping %.200r: %s", source.name, url, error)
                continue
            except (GivenUp, WorkerDied) as error:  # a worker may die of what else the machine does
                tally.tell("%s: not now, %.200r: %s", source.name, url, error)
                outcome = "failed"
                continue
            return self._take(source, post, number, url, raw, checked, tally)
        self._note(source, key, outcome, tally)
        return outcome

    def _take(
        self, source: Source, post: Post, number: int, url: str, raw: bytes, checked: Checked, tally: Tally
    ) -> str:
        """Store a picture unless its bytes are known. Nothing waits in here, so equal pictures cannot slip by."""
        key, digest = post.keys()[number - 1], hash_bytes(raw)
        with storing():
            file = self._records.same(digest)
        if file is not None:
            self._note(source, key, "duplicate", tally, file, digest)
            return "duplicate"
        meta = Meta(
            key, source.name, post.title, post.author, post.link, post.created, post.adult, post.score,
            number, len(post.pictures), printable(url), "",
            checked.width, checked.height, len(raw), digest.hex(), time.time(),
        )  # fmt: skip
        file = self._places.put(post, number, raw, checked, meta)
        self._note(source, key, "stored", tally, file, digest)
        return "stored"

    def _note(
        self, source: Source, key: str, outcome: str, tally: Tally, file: str | None = None, digest: bytes | None = None
    ) -> None:
        with storing():
            self._records.note(key, source.name, outcome, file, digest)
        tally.count(outcome)


def printable(url: str) -> str:
    """Paths may hold bytes that are no text."""
    return url.encode("utf-8", "replace").decode()


@contextmanager
def storing() -> Iterator[None]:
    """The database's errors (a full disk, mostly) end the run with a sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise CannotStore(
            f"the rater's database cannot be used: {error}; once that is mended, the next run goes on"
        ) from error
