"""The JSON API of the page, under /api: fused search, failures, and embedding an upload."""

import asyncio
import base64
import time
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from aiohttp import web

from memesearch import wire
from memesearch.backend import taste
from memesearch.backend.parts import (
    LIBRARY,
    MAX_RESULTS,
    SEARCH_TIME,
    SEARCHER,
    body_of,
    count_query,
    index_of,
    plain,
    thumbnails_of,
)
from memesearch.errors import BadRequest
from memesearch.library.reads import EVERYTHING
from memesearch.library.records import Filter, Hit
from memesearch.search.live import LiveIndex
from memesearch.search.query import Ranked, Term, Terms
from memesearch.thumbs.formats import thumbnail_id
from memesearch.web import decode_json

SNIPPET_LENGTH = 300
MAX_FAILURES = 2**31  # more files than a library has; SQLite takes no larger numbers than 2**63


class SearchBody(msgspec.Struct, forbid_unknown_fields=True):
    terms: Terms = []
    k: int = 100
    offset: int = 0
    filter: Filter = EVERYTHING
    sort: Literal["taste"] | None = None


async def search_get(request: web.Request) -> web.Response:
    """`GET /api/search?q=...&k=&offset=`: several `q` are several terms."""
    check_parameters(request, {"k", "offset", "sort", *Filter.__struct_fields__}, {"q"})
    try:
        terms = [Term(text=text) for text in request.query.getall("q", [])]
        sort = msgspec.convert(request.query.get("sort") or None, Literal["taste"] | None)
        chosen = Filter(**{name: request.query.get(name) for name in Filter.__struct_fields__})
    except (ValueError, msgspec.ValidationError) as error:  # a text that is too long, a day that is none
        raise BadRequest(str(error)) from error
    body = SearchBody(terms, number(request, "k", 100), number(request, "offset", 0), chosen, sort)
    return await answer(request.app, body)


async def search_post(request: web.Request) -> web.Response:
    async with body_of(request) as raw:
        return await answer(request.app, decode_json(raw, SearchBody))


def check_parameters(request: web.Request, once: set[str], often: frozenset[str] | set[str] = frozenset()) -> None:
    """Raise BadRequest of a parameter that is unknown, or given twice without being one of those `often`."""
    for name in request.query:
        if name not in once | often:
            known = ", ".join(f"`{name}`" for name in sorted(once | often))
            raise BadRequest(f"there is no parameter {name!r} here; there are {known}")
        if name in once and len(request.query.getall(name)) > 1:
            raise BadRequest(f"`{name}` is given more than once")


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
    asked = [term for term in body.terms if term.text is None or term.text.strip()]  # nothing was asked by the others
    terms, learned, left_out = await taste.usable(app, asked, body.sort)
    index, sorting = library.index, learned is not None and body.sort is not None
    keep: dict[int, float] = {}
    if terms:
        with SEARCH_TIME.time():
            ranked, notices = await app[SEARCHER].fused(
                taste.spelled_out(terms, learned),
                MAX_RESULTS if offset or sorting else max(end, 1000),
                index,
                body.filter,
            )
            if learned is not None and index is not None and sorting:
                ranked, keep = await taste.by_taste(ranked, learned, library.store, index)
        count_query(terms)
        by_vector = 0 if notices or not index else await findable(app, index, body.filter)
        total = max(len(ranked), by_vector)
        page = ranked[offset:end]
    else:
        newest = await library.store.newest(end - offset, offset, body.filter)
        page = [Ranked(content, 0.0, None, None) for content in newest]
        total, notices = await countable(app, body.filter), []
    hits = await library.store.hits([entry.content_id for entry in page], body.filter)
    offered = await thumbnails_of(app, hits.values())
    results = [
        {
            **result(entry, hits[entry.content_id], offered.bits.get(hits[entry.content_id].hash, 0)),
            "keep": keep.get(entry.content_id),
        }
        for entry in page
        if entry.content_id in hits
    ]
    return plain(
        {
            "results": results,
            "total": total,
            "seconds": round(time.perf_counter() - started, 4),
            "notices": left_out + notices,
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


async def failures(request: web.Request) -> web.Response:
    check_parameters(request, {"limit", "offset"})
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


def add_routes(app: web.Application) -> None:
    app.router.add_get("/api/search", search_get)
    app.router.add_post("/api/search", search_post)
    app.router.add_get("/api/failures", failures)
    app.router.add_post("/api/embed", embed)
