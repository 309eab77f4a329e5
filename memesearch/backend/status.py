"""What the backend says of itself: /api/status for the page, /health, and /metrics for Prometheus."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from memesearch.backend import taste
from memesearch.backend.parts import (
    CONFIG,
    FAILURES,
    INDEX_BUILDING,
    INDEX_BYTES,
    INDEX_PROBLEM,
    INDEX_RECALL,
    INDEX_SEGMENTS,
    INDEX_SHARE,
    INDEX_SIZE,
    INDEX_VECTORS,
    INDEXING_LEFT,
    LIBRARY,
    OCR_LEFT,
    STAGE,
    THUMBNAILS_LEFT,
    plain,
)
from memesearch.library.library import Library
from memesearch.library.progress import Progress
from memesearch.search.index.base import Stats
from memesearch.search.live import LiveIndex
from memesearch.web import metrics


async def status(request: web.Request) -> web.Response:
    stage = request.app.get(STAGE)
    thumbnails = stage.progress.report() if stage else None
    config = request.app[CONFIG]
    return plain(
        {
            **await describe(request.app[LIBRARY], config.ocr),
            "thumbnails": thumbnails,
            "taste": await taste.describe(request.app),
            "views": [view for view, base in (("rate", config.rater), ("queue", config.queue)) if base],
        }
    )


async def describe(library: Library, ocr: bool) -> dict[str, Any]:
    """Counts, progress and the embedding service's state."""
    counts = await library.store.counts()
    indexing, reading = library.indexing.report(), library.texts.progress.report()
    if library.problem:
        indexing.state, indexing.message = "waiting", library.problem
    config, problem = library.client.config, library.client.problem
    state = "unreachable" if problem else "switching" if library.switching_to else "ready"
    message = problem or (f"{library.switching_to} is being prepared" if library.switching_to else None)
    return {
        "name": library.root.name,
        "files": counts["files"],
        "contents": counts["contents"],
        "failures": counts["failures"],
        "indexing": indexing,
        "index": await asyncio.to_thread(describe_index, library.index, library.index_problem),
        "ocr": {"enabled": ocr, **msgspec.structs.asdict(reading)},
        "embedding_service": {
            "state": state,
            "message": message,
            "model": config.model if config else None,
            "model_id": config.model_id if config else None,
        },
    }


def describe_index(index: LiveIndex | None, problem: str | None) -> dict[str, Any] | None:
    """What the index is, holds and costs, and how much it finds; `problem` is of one that cannot begin."""
    if index is None:
        if problem is None:
            return None
        building = Progress().report()
        nothing = msgspec.structs.asdict(Stats("milvus", 0, 0, None, bits=32))
        return {**nothing, "problem": problem, "building": building, "recall": [], "efforts": {}}
    return {
        **msgspec.structs.asdict(index.vectors.stats()),
        "problem": index.problem,
        "building": index.progress.report(),
        "recall": index.recall,
        "efforts": index.vectors.efforts,
    }


async def health(request: web.Request) -> web.Response:
    """200 while this process answers; what it depends on is told, not required."""
    problem = request.app[LIBRARY].client.problem
    return plain({"status": "ok", "embedding_service": problem or "ok"})


async def backend_metrics(request: web.Request) -> web.Response:
    library = request.app[LIBRARY]
    counts = await library.store.counts()
    indexing = library.indexing.report()
    INDEX_SIZE.set(counts["files"])
    FAILURES.set(counts["failures"])
    INDEXING_LEFT.set(indexing.total - indexing.done if indexing.state != "idle" else 0)
    stage = request.app.get(STAGE)
    thumbnails = stage.progress.report() if stage else None
    working = thumbnails is not None and thumbnails.state == "thumbnails"
    THUMBNAILS_LEFT.set(thumbnails.total - thumbnails.done if thumbnails and working else 0)
    if library.index is not None:
        await asyncio.to_thread(tell_of_index, library.index)
    problem = library.index_problem if library.index is None else library.index.problem
    INDEX_PROBLEM.set(problem is not None)
    OCR_LEFT.set(counts["contents"] - counts["texts"] if request.app[CONFIG].ocr else 0)
    return await metrics(request)


def tell_of_index(index: LiveIndex) -> None:
    stats = index.vectors.stats()
    INDEX_VECTORS.set(stats.vectors)
    INDEX_BYTES.set(stats.memory_bytes or 0)
    INDEX_SEGMENTS.set(stats.segments)
    building = index.progress.report()
    INDEX_BUILDING.set(max(0, building.total - building.done) if building.state != "idle" else 0)
    for recall in index.recall:
        INDEX_RECALL.labels(recall.queries, "10").set(recall.at_10)
        INDEX_RECALL.labels(recall.queries, "100").set(recall.at_100)
    for queries, effort in index.vectors.efforts.items():
        INDEX_SHARE.labels(queries).set(effort.share)


def add_routes(app: web.Application) -> None:
    app.router.add_get("/api/status", status)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", backend_metrics)
