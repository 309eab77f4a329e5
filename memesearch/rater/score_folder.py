"""Scoring any folder of pictures with the current model, through the embedding service."""

import asyncio
import csv
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

from memesearch import wire
from memesearch.clip.client import ClipClient, ModelChanged
from memesearch.errors import BadRequest, ConfigError, Overloaded, Unavailable
from memesearch.library.progress import Progress
from memesearch.library.scan import scan
from memesearch.rater.config import RaterConfig
from memesearch.taste.checkpoint import Checkpoint, load, newest

log = logging.getLogger("score_folder")
BATCH = 4  # longer lists would wait behind indexing
IN_FLIGHT = 4  # batches
MOST_BYTES = 64 * 2**20  # of one picture
TELL_SECONDS = 5.0
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Scored:
    """P(keep), 0 to 1, and the score of the picture at `path`, relative to the folder."""

    keep: float
    score: float
    path: str


async def main(config: RaterConfig, folder: Path) -> int:
    """Print a CSV of all pictures below `folder`, best first. Returns the exit status: 1 when some were left out."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    checkpoint = load(newest(Path(config.models)))
    async with aiohttp.ClientSession() as session:
        client = ClipClient(config.pictures().clip_server, session)
        checkpoint.require((await client.refresh()).model_id or "")
        found = await asyncio.to_thread(scan, folder)
        scored, refused = await score_all(folder, list(found.files), client, checkpoint)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(("keep", "score", "file"))
    for one in sorted(scored, key=lambda one: (-one.keep, one.path)):
        out.writerow((f"{one.keep:.4f}", f"{one.score:.4f}", one.path))
    sys.stdout.flush()
    for path, reason in {**found.refused, **refused}.items():
        print(f"skipping {path!r}: {reason}", file=sys.stderr)
    return 1 if found.refused or refused else 0


async def score_all(
    folder: Path, paths: list[str], client: ClipClient, checkpoint: Checkpoint
) -> tuple[list[Scored], dict[str, str]]:
    """All that can be scored, and why the others cannot. Raises Unavailable, ModelChanged."""
    scored: list[Scored] = []
    refused: dict[str, str] = {}
    progress = Progress()
    progress.start("scoring", len(paths))
    batches = iter([paths[start : start + BATCH] for start in range(0, len(paths), BATCH)])

    async def work() -> None:
        for batch in batches:
            vectors = [pair async for pair in embed(folder, batch, client, checkpoint.model_id, refused)]
            if vectors:
                matrix = np.stack([wire.from_bytes(vector).astype(np.float32) for _, vector in vectors])
                score, keep = checkpoint.model.mean_score(matrix), checkpoint.model.keep_probability(matrix)
                named = zip(keep.tolist(), score.tolist(), (path for path, _ in vectors), strict=True)
                scored.extend(Scored(*one) for one in named)
            progress.advance(len(batch))

    async def tell() -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            log.info("scoring: %s", progress.report())

    telling = asyncio.create_task(tell())
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(work())
    except* (Unavailable, ModelChanged) as errors:
        raise errors.exceptions[0] from None
    finally:
        telling.cancel()
    return scored, refused


async def embed(
    folder: Path, paths: list[str], client: ClipClient, model_id: str, refused: dict[str, str]
) -> AsyncIterator[tuple[str, bytes]]:
    """(path, float16 vector) of each picture that can be embedded; the others go into `refused` with the reason."""
    there: list[tuple[str, bytes]] = []
    for path in paths:
        try:
            if (folder / path).stat().st_size > MOST_BYTES:
                refused[path] = f"is larger than {MOST_BYTES // 2**20} MB"
            else:
                there.append((path, await asyncio.to_thread((folder / path).read_bytes)))
        except OSError as error:
            refused[path] = f"cannot be read: {error.strerror}"
    while there:
        try:
            vectors = await client.embed_pictures([raw for _, raw in there], model_id)
        except Overloaded:
            await asyncio.sleep(PAUSE_SECONDS)
        except BadRequest as error:
            if error.index is None or error.index >= len(there):
                raise Unavailable(str(error)) from error
            refused[there.pop(error.index)[0]] = str(error)
        else:
            for (path, _), vector in zip(there, vectors, strict=True):
                yield path, vector
            return
