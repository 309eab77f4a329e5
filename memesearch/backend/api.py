"""The JSON API of the page, under /api: fused search, status, failures, and embedding an upload."""

import asyncio
import base64
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from memesearch import wire
from memesearch.backend.parts import (
    CONFIG,
    FAILURES,
    INDEX_BYTES,
    INDEX_RECALL,
    INDEX_SEGMENTS,
    INDEX_SHARE,
    INDEX_SIZE,
    INDEX_VECTORS,
    INDEXING_LEFT,
    LIBRARY,
    MAX_RESULTS,
    OCR_LEFT,
    SEARCH_TIME,
    SEARCHER,
    STAGE,
    THUMBNAILS_LEFT,
    body_of,
    count_query,
    index_of,
    plain,
    thumbnails_of,
)
from memesearch.errors import BadRequest
from memesearch.library.library import Library
from memesearch.library.reads import EVERYTHING
from memesearch.library.records import Filter, Hit
from memesearch.search.index.compact import CompactIndex
from memesearch.search.live import LiveIndex
from memesearch.search.query import Ranked, Term, Terms
from memesearch.thumbs.formats import thumbnail_id
from memesearch.web import decode_json, metrics

SNIPPET_LENGTH = 300
MAX_FAILURES = 2**31  # more files than a library has; SQLite takes no larger numbers than 2**63


class SearchBody(msgspec.Struct, forbid_unknown_fields=True):
    terms: Terms = []
    k: int = 100
    offset: int = 0
    filter: Filter = EVERYTHING


async def search_get(request: web.Request) -> web.Response:
    """`GET /api/search?q=...&k=&offset=`: several `q` are several terms."""
    try:
        terms = [Term(text=text) for text in request.query.getall("q", []) if text.strip()]
        given = {name: request.query[name] for name in Filter.__struct_fields__ if request.query.get(name)}
        chosen = msgspec.convert(given, Filter)
    except (ValueError, msgspec.ValidationError) as error:  # a text that is too long, a day that is none
        raise BadRequest(str(error)) from error
    body = SearchBody(terms, number(request, "k", 100), number(request, "offset", 0), chosen)
    return await answer(request.app, body)


async def search_post(request: web.Request) -> web.Response:
    async with body_of(request) as raw:
        return await answer(request.app, decode_json(raw, SearchBody))


def number(request: web.Request, name: str, default: int) -> int:
    try:
        return int(request.query.get(name, default))
    except ValueError as error:
        raise BadRequest(f"`{name}` must be a whole number") from error


async def answer(app: web.Application, body: SearchBody) -> web.Response:
    if body.k < 0 or body.offset < 0:
        raise BadRequest("`k` and `offset` cannot be negative")
    started = time.perf_counter()
    library, k, offset = app[LIBRARY], min(body.k, MAX_RESULTS), min(body.offset, MAX_RESULTS)
    end = min(offset + k, MAX_RESULTS)
    if body.terms:
        with SEARCH_TIME.time():
            ranked, notices = await app[SEARCHER].fused(
                body.terms, MAX_RESULTS if offset else max(end, 1000), library.index, body.filter
            )
        count_query(body.terms)
        by_vector = 0 if notices or not library.index else await findable(app, library.index, body.filter)
        total = max(len(ranked), by_vector)
        page = ranked[offset:end]
    else:
        newest = await library.store.newest(end - offset, offset, body.filter)
        page = [Ranked(content, 0.0, None, None) for content in newest]
        total, notices = await countable(app, body.filter), []
    hits = await library.store.hits([entry.content_id for entry in page])
    offered = await thumbnails_of(app, hits.values())
    results = [
        result(entry, hits[entry.content_id], offered.bits.get(hits[entry.content_id].hash, 0))
        for entry in page
        if entry.content_id in hits
    ]
    return plain(
        {
            "results": results,
            "total": total,
            "seconds": round(time.perf_counter() - started, 4),
            "notices": notices,
            "formats": offered.formats,
            "extensions": offered.extensions,
        }
    )


async def findable(app: web.Application, index: LiveIndex, chosen: Filter) -> int:
    """How many pictures a search by vectors ranks in the end."""
    among = await app[SEARCHER].among(chosen)
    there = await asyncio.to_thread(len, index.vectors)
    return min(there, MAX_RESULTS if among is None else len(among), MAX_RESULTS)


async def countable(app: web.Application, chosen: Filter) -> int:
    """How many pictures there are to leaf through."""
    among = await app[SEARCHER].among(chosen)
    there = (await app[LIBRARY].store.counts())["contents"] if among is None else len(among)
    return min(there, MAX_RESULTS)


def result(entry: Ranked, hit: Hit, formats: int) -> dict[str, Any]:
    return {
        "file": hit.files[0],
        "width": hit.width,
        "height": hit.height,
        "colour": hit.colour,
        "score": entry.score,
        "copies": hit.files[1:],
        "vector_rank": entry.vector_rank,
        "text_rank": entry.text_rank,
        "text": hit.text[:SNIPPET_LENGTH] if hit.text else None,
        "thumbnail": thumbnail_id(hit.hash),
        "formats": formats,
    }


async def status(request: web.Request) -> web.Response:
    stage = request.app.get(STAGE)
    thumbnails = stage.progress.report() if stage else None
    return plain({**await describe(request.app[LIBRARY], request.app[CONFIG].ocr), "thumbnails": thumbnails})


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
        "index": await asyncio.to_thread(describe_index, library.index),
        "ocr": {"enabled": ocr, **msgspec.structs.asdict(reading)},
        "embedding_service": {
            "state": state,
            "message": message,
            "model": config.model if config else None,
            "model_id": config.model_id if config else None,
        },
    }


def describe_index(index: LiveIndex | None) -> dict[str, Any] | None:
    """What the index is, holds and costs, and how much it finds."""
    if index is None:
        return None
    efforts = index.vectors.efforts if isinstance(index.vectors, CompactIndex) else {}
    return {
        **msgspec.structs.asdict(index.vectors.stats()),
        "problem": index.problem,
        "building": index.progress.report(),
        "recall": index.recall,
        "efforts": efforts,
    }


async def failures(request: web.Request) -> web.Response:
    limit, offset = number(request, "limit", 100), number(request, "offset", 0)
    if not 0 <= limit <= 1000 or offset < 0:
        raise BadRequest("`limit` must be between 0 and 1000, `offset` not negative")
    store = request.app[LIBRARY].store
    rows = [
        {"file": path, "reason": reason, "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")}
        for path, reason, at in await store.failures(limit, min(offset, MAX_FAILURES))
    ]
    return plain({"total": (await store.counts())["failures"], "failures": rows})


async def embed(request: web.Request) -> web.Response:
    """`POST /api/embed`: the raw bytes of a picture to its vector, for the page's address."""
    index = index_of(request.app)
    async with body_of(request) as raw:
        if not raw:
            raise BadRequest("the body must be the bytes of a picture")
        vector = await request.app[SEARCHER].embed_picture(raw, index)
    encoded = base64.urlsafe_b64encode(wire.to_bytes(vector)).decode().rstrip("=")
    return plain({"embedding": encoded, "model_id": index.model_id})


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
    OCR_LEFT.set(counts["contents"] - counts["texts"] if request.app[CONFIG].ocr else 0)
    return await metrics(request)


def tell_of_index(index: LiveIndex) -> None:
    stats = index.vectors.stats()
    INDEX_VECTORS.set(stats.vectors)
    INDEX_BYTES.set(stats.memory_bytes or 0)
    INDEX_SEGMENTS.set(stats.segments)
    for recall in index.recall:
        INDEX_RECALL.labels(recall.queries, "10").set(recall.at_10)
        INDEX_RECALL.labels(recall.queries, "100").set(recall.at_100)
    if isinstance(index.vectors, CompactIndex):
        for queries, effort in index.vectors.efforts.items():
            INDEX_SHARE.labels(queries).set(effort.share)


def add_routes(app: web.Application) -> None:
    app.router.add_get("/api/search", search_get)
    app.router.add_post("/api/search", search_post)
    app.router.add_get("/api/status", status)
    app.router.add_get("/api/failures", failures)
    app.router.add_post("/api/embed", embed)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", backend_metrics)
