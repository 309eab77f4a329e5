"""What the person of `meme-rater/` likes, in the search page: the direction "Me", and results sorted by it.

The newest checkpoint of the configured folder is used, and read anew when another becomes the current one. One that was
trained on vectors of another model than the library's is left alone, and answers say so.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from memesearch.backend.parts import LIBRARY, SEARCHER
from memesearch.errors import ConfigError
from memesearch.library.pool import mean_of_parts
from memesearch.library.store import Store
from memesearch.search.live import LiveIndex
from memesearch.search.query import Ranked, Term
from memesearch.taste.checkpoint import Checkpoint, load, newest

log = logging.getLogger(__name__)
ME = "Me"
LOOK_SECONDS = 1.0  # how often at most is asked whether another model became the current one
MOST_SORTED = 1000  # beyond, what is searched for hardly shows in the pictures
MOST_KNOWN = 200_000  # probabilities that are kept
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Learned:
    """A checkpoint in use. A search keeps the one that it began with, whatever becomes the current one meanwhile.

    `direction`: float32 [d], a query vector. `known`: P(keep) of contents.
    """

    checkpoint: Checkpoint
    direction: NDArray[np.float32]
    known: dict[int, float] = field(default_factory=dict)

    async def keep_probabilities(self, contents: list[int], store: Store, index: LiveIndex) -> dict[int, float]:
        """P(keep) of each content that has vectors; an animation's are those of the mean of its frames."""
        found = {content: self.known[content] for content in contents if content in self.known}
        rows = await store.vectors_of_all([content for content in contents if content not in found], index.model)
        parts = Counter(content for content, _ in rows)
        if parts:
            vectors = mean_of_parts([vector for _, vector in rows], list(parts.values()), index.dimensions)
            keep = await asyncio.to_thread(self.checkpoint.model.keep_probability, vectors)
            found.update(zip(parts, keep.tolist(), strict=True))
            if len(self.known) > MOST_KNOWN:
                self.known.clear()
            self.known.update(found)
        return found


class Taste:
    """The current checkpoint, and why there is none to use."""

    def __init__(self, models: Path) -> None:
        self.learned: Learned | None = None
        self.problem: str | None = "no taste was read yet"
        self._models = models
        self._looked = -LOOK_SECONDS
        self._stamp: Stamp | None = None  # of `current` when it was read
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Follow `current`. What cannot be read is told by `problem`; nothing is raised."""
        async with self._reading:
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                self._stamp, self.learned, self.problem = await asyncio.to_thread(self._look)
                self._looked = time.monotonic()

    def _look(self) -> tuple[Stamp | None, Learned | None, str | None]:
        """What `current` is and leads to now, or why to nothing. What could not be read is tried again: it may come
        back."""
        try:
            info = (self._models / "current").stat()
            stamp = (info.st_mtime_ns, info.st_size, info.st_ino)
        except OSError:
            stamp = None
        if stamp == self._stamp and self.learned is not None:
            return stamp, self.learned, None
        try:
            folder = newest(self._models)
            learned = Learned(load(folder), read_direction(folder / "direction.json"))
        except ConfigError as error:
            return stamp, None, str(error)
        except OSError as error:  # a damaged `current` may hold what no file system takes as a name
            return stamp, None, f"{self._models / 'current'}: names no model: {error.strerror}; run train.py"
        log.info("the taste model %s is used", learned.checkpoint.name)
        return stamp, learned, None

    def problem_with(self, index: LiveIndex | None) -> str | None:
        """Why a search of `index` cannot use the taste; None when it can."""
        if self.learned is None:
            return self.problem
        if index is None:
            return "nothing is indexed yet"
        checkpoint = self.learned.checkpoint
        if checkpoint.model_id != index.model_id or self.learned.direction.shape != (index.dimensions,):
            return (
                f"the taste model {checkpoint.name} was trained on vectors of {checkpoint.model_id}, "
                f"but this library's are of {index.model_id}; train again with its model"
            )
        return None


TASTE = web.AppKey("taste", Taste)


def read_direction(path: Path) -> NDArray[np.float32]:
    """float32 [d], a query vector. Raises ConfigError."""
    try:
        direction = np.array(json.loads(path.read_text("utf-8")), np.float32)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if direction.ndim != 1 or not np.isfinite(direction).all():
        raise ConfigError(f"{path}: holds no vector")
    return direction


async def problem_of(app: web.Application) -> str | None:
    """Why there is no taste to search by now; None when there is. Brings the searcher's "Me" up to date."""
    if TASTE not in app:
        return "`taste` is not set in the configuration"
    taste, searcher, index = app[TASTE], app[SEARCHER], app[LIBRARY].index
    await taste.refresh()
    problem = taste.problem_with(index)
    if problem is None and taste.learned is not None:
        searcher.predefined[ME] = taste.learned.direction.tolist()
    else:
        searcher.predefined.pop(ME, None)
    return problem


async def usable(
    app: web.Application, terms: list[Term], sort: str | None
) -> tuple[list[Term], Learned | None, list[str]]:
    """The terms of a query, the taste that it has to do with, as far as that can be used, and notices.

    The newest pictures sorted by taste are a search by the taste alone.
    """
    mentioned = any(term.predefined_embedding == ME for term in terms)
    if not mentioned and sort is None:
        return terms, None, []
    problem = await problem_of(app)
    if problem is None:
        return terms or [Term(predefined_embedding=ME)], app[TASTE].learned, []
    if TASTE not in app and sort is None and ME in app[SEARCHER].predefined:
        return terms, None, []  # a direction of this name that the configuration brings
    left = [term for term in terms if term.predefined_embedding != ME]
    return left, None, [f"Your taste was left out: {problem}."]


def spelled_out(terms: list[Term], learned: Learned | None) -> list[Term]:
    """The same terms with the direction itself for "Me", which may get another one while a query is under way."""
    if learned is None:
        return terms
    direction = learned.direction.tolist()
    return [
        Term(embedding=direction, weight=term.weight) if term.predefined_embedding == ME else term for term in terms
    ]


async def by_taste(
    ranked: list[Ranked], learned: Learned, store: Store, index: LiveIndex
) -> tuple[list[Ranked], dict[int, float]]:
    """The same pictures, of the best those first that will most probably be kept, and P(keep) by content.

    A picture that only words found may have no vector yet; those come last, as they stood.
    """
    best, rest = ranked[:MOST_SORTED], ranked[MOST_SORTED:]
    keep = await learned.keep_probabilities([entry.content_id for entry in best], store, index)
    return sorted(best, key=lambda entry: -keep.get(entry.content_id, -1.0)) + rest, keep


async def describe(app: web.Application) -> dict[str, Any] | None:
    """For `GET /api/status`; None when no taste is configured."""
    if TASTE not in app:
        return None
    problem = await problem_of(app)
    learned = app[TASTE].learned
    return {
        "name": ME,
        "model": learned.checkpoint.name if learned else None,
        "kind": learned.checkpoint.model.kind if learned else None,
        "problem": problem,
    }
