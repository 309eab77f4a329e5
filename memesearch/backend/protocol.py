"""The fixed formats of the backend: both generations of `POST /`, reloading, and `GET /` for programs."""

from typing import Annotated

import msgspec
from aiohttp import web

from memesearch.backend import taste
from memesearch.backend.parts import (
    LIBRARY,
    MAX_RESULTS,
    PAGE,
    RELOADS,
    SEARCH_TIME,
    SEARCHER,
    body_of,
    count_query,
    index_of,
    plain,
    thumbnails_of,
)
from memesearch.errors import BadRequest, NotFound
from memesearch.inside import page
from memesearch.library.records import Hit
from memesearch.search.query import FEW, Numbers, Term, Terms
from memesearch.thumbs.formats import thumbnail_id
from memesearch.web import decode_json

Weighted = tuple[str, float]


class Query(msgspec.Struct):
    """Either generation of the body; which one is told by the keys that are there."""

    text: Annotated[list[Weighted], FEW] = []
    images: Annotated[list[Weighted], FEW] = []
    embeddings: Annotated[list[Numbers], FEW] = []
    top_k: int = 4000
    terms: Terms | None = None
    k: int = 1000
    include_video: bool = False
    debug_enabled: bool = False


async def search(request: web.Request) -> web.Response:
    """`POST /`."""
    async with body_of(request) as raw:
        query = decode_json(raw, Query)
        with SEARCH_TIME.time():
            return await (
                first_generation(request.app, query) if query.terms is None else second_generation(request.app, query)
            )


async def first_generation(app: web.Application, query: Query) -> web.Response:
    try:
        terms = [Term(text=text, weight=weight) for text, weight in query.text]
        terms += [Term(image=image, weight=weight) for image, weight in query.images]
    except ValueError as error:  # a weight out of range
        raise BadRequest(str(error)) from error
    terms += [Term(embedding=vector) for vector in query.embeddings]
    found = await ranked_files(app, terms, query.top_k)
    return plain([{"score": score, "file": file} for score, file, _ in found])


async def second_generation(app: web.Application, query: Query) -> web.Response:
    found = await ranked_files(app, query.terms or [], query.k)
    offered = await thumbnails_of(app, [hit for _, _, hit in found])
    matches = [
        [
            score,
            file,
            thumbnail_id(hit.hash),
            offered.bits.get(hit.hash, 0),
            [hit.width, hit.height],
            hit.text if query.debug_enabled else None,
        ]
        for score, file, hit in found
    ]
    return plain({"matches": matches, "formats": offered.formats, "extensions": offered.extensions})


async def ranked_files(app: web.Application, terms: list[Term], limit: int) -> list[tuple[float, str, Hit]]:
    """(score, file, picture), best first; copies of one picture are files of their own."""
    if limit < 0:
        raise BadRequest("the number of results cannot be negative")
    if not terms or limit == 0:
        return []
    index = index_of(app)
    if any(term.predefined_embedding == taste.ME for term in terms):
        problem = await taste.problem_of(app)
        if problem and taste.TASTE in app:
            raise NotFound(f"there is no predefined embedding named {taste.ME!r} now: {problem}")
    spelled = taste.spelled_out(terms, app[taste.TASTE].learned if taste.TASTE in app else None)
    limit = min(limit, MAX_RESULTS)
    scores, contents = await app[SEARCHER].by_vector(spelled, limit, index)
    count_query(terms)
    hits = await app[LIBRARY].store.hits(contents.tolist())
    found = []
    for score, content in zip(scores.tolist(), contents.tolist(), strict=True):
        hit = hits.get(content)
        found += [(score, file, hit) for file in hit.files] if hit else []
    return found[:limit]


async def root(request: web.Request) -> web.StreamResponse:
    """`GET /`: the page for a browser, JSON for a program."""
    if "text/html" in request.headers.get("Accept", ""):
        return page(request.app[PAGE], "index.html")
    index = request.app[LIBRARY].index
    counts = await request.app[LIBRARY].store.counts()
    await taste.problem_of(request.app)
    return plain(
        {
            "n_total": counts["files"],
            "predefined_embedding_names": sorted(request.app[SEARCHER].predefined),
            "d_emb": index.dimensions if index else 0,
        }
    )


async def reload_index(request: web.Request) -> web.Response:
    """`POST /reload_index`: JSON `true` once the index holds exactly what is on disk."""
    RELOADS.inc()
    await request.app[LIBRARY].reload()
    return web.json_response(True)


async def reload(request: web.Request) -> web.Response:
    await reload_index(request)
    return web.Response(text="OK")


def add_routes(app: web.Application) -> None:
    app.router.add_get("/", root)
    app.router.add_post("/", search)
    app.router.add_post("/reload_index", reload_index)
    app.router.add_post("/reload", reload)
