"""What a picture could be called, and where in the library its like lies."""

import asyncio
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from numpy.typing import NDArray

from memesearch.errors import BadRequest, why_no_answer
from memesearch.rater.database import RaterDatabase
from memesearch.rater.processing.names import check_folder, safe_name
from memesearch.seldom import Seldom

log = logging.getLogger(__name__)
NEIGHBOURS = 24
SECONDS = 2.0  # a slow library must not hold up the queue
MAX_META_BYTES = 2**20
MAX_FOLDERS = 5_000
TAGS = 3


@dataclass(frozen=True)
class Post:
    """What the crawler wrote down of a picture: `title`, and `link` to where it was found; "" when it did not."""

    title: str
    link: str


def read_post(meta: Path, filename: str) -> Post:
    """The metadata beside a picture, as far as they can be read."""
    path = (meta / filename).with_suffix(".json")
    try:
        if path.stat().st_size > MAX_META_BYTES:
            return Post("", "")
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return Post("", "")
    if not isinstance(found, dict):
        return Post("", "")
    links = (found.get(key) for key in ("permalink", "link", "url"))
    link = next((link for link in links if isinstance(link, str) and link.startswith(("http://", "https://"))), "")
    title = found.get("title")
    return Post(title if isinstance(title, str) else "", link)


def suggest_name(post: Post, filename: str) -> str:
    """A name without extension."""
    return safe_name(post.title, safe_name(Path(filename).stem, "picture"))


class Neighbours:
    """Asks the library's search backend for the pictures nearest to one; without a backend there are none."""

    def __init__(self, backend: str | None, session: aiohttp.ClientSession) -> None:
        self._address = backend.rstrip("/") + "/api/" if backend else None
        self._session = session
        self._seldom = Seldom(log)

    async def of(self, vector: NDArray[np.float32] | None, model_id: str) -> list[tuple[str, float]]:
        """Files of the library and their scores, best first; [] when they cannot be had, whatever the reason."""
        if self._address is None or vector is None:
            return []
        try:
            async with asyncio.timeout(SECONDS):
                status = await self._ask("GET", "status")
                if status["embedding_service"]["model_id"] not in (None, model_id):
                    raise ValueError("its vectors are another model's")
                terms = [{"embedding": [float(number) for number in vector]}]
                answer = await self._ask("POST", "search", {"terms": terms, "k": NEIGHBOURS})
                return [(str(result["file"]), float(result["score"])) for result in answer["results"]]
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            reason = why_no_answer(error)
            self._seldom.warning("backend", f"no folders are suggested: `library_backend` {self._address}: {reason}")
            return []

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(method, f"{self._address}{path}", json=body) as answer:
            answer.raise_for_status()
            return await answer.json()


def suggest_folder(neighbours: Iterable[tuple[str, float]], library: Path) -> str | None:
    """The folder that most of the nearest pictures lie in, the nearer the more; None when there are none."""
    votes: Counter[str] = Counter()
    for place, (file, score) in enumerate(neighbours):
        folder = str(Path(file).parent)
        votes["" if folder == "." else folder] += max(score, 0.0) / (1 + place)  # type: ignore[assignment]
    for folder, _ in votes.most_common():
        try:
            if (library / check_folder(folder, library)).is_dir():
                return folder
        except BadRequest:  # the backend serves another library
            continue
    return None


def suggest_tags(db: sqlite3.Connection, neighbours: Iterable[tuple[str, float]]) -> list[str]:
    """Tags that at least two of the nearest pictures were given."""
    counts: Counter[str] = Counter()
    files = json.dumps([file for file, _ in neighbours])
    query = "SELECT tags FROM decisions WHERE kept AND target IN (SELECT value FROM json_each(?))"
    for (tags,) in db.execute(query, (files,)):
        counts.update(json.loads(tags))
    return [tag for tag, times in counts.most_common(TAGS) if times > 1]


def last_folder(database: RaterDatabase) -> str:
    """Where the last picture was kept; "" is the library itself."""
    with database.reading() as db:
        row = db.execute("SELECT target FROM decisions WHERE kept AND target IS NOT NULL ORDER BY id DESC").fetchone()
    return "" if row is None or "/" not in row[0] else str(row[0]).rpartition("/")[0]


def known_tags(database: RaterDatabase) -> list[str]:
    """Every tag in use, the most used first."""
    counts: Counter[str] = Counter()
    with database.reading() as db:
        for (tags,) in db.execute("SELECT tags FROM decisions WHERE kept AND tags != '[]'"):
            counts.update(json.loads(tags))
    return [tag for tag, _ in counts.most_common()]


def folders(library: Path) -> list[str]:
    """The library's folders, hidden ones and links left out, by name; of very many only the first ones met."""
    found: list[str] = []
    waiting = [""]
    while waiting and len(found) < MAX_FOLDERS:
        folder = waiting.pop()
        try:
            children = [child for child in (library / folder).iterdir() if not child.name.startswith(".")]
        except OSError:  # it may have gone meanwhile, and what cannot be read cannot be chosen
            continue
        for child in children:
            if child.is_dir() and not child.is_symlink():
                path = str(child.relative_to(library))
                found.append(path)
                waiting.append(path)
    return sorted(found)
