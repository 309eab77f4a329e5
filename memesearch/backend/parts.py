"""What the backend's handlers are given: typed keys of the application, and metrics."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import Counter, Gauge, Histogram

from memesearch.admission import Limit
from memesearch.bodies import read_all
from memesearch.config import MseConfig
from memesearch.errors import Unavailable
from memesearch.library.library import Library
from memesearch.library.records import Hit
from memesearch.search.live import LiveIndex
from memesearch.search.query import Searcher, Term
from memesearch.thumbs.stage import ThumbnailStage
from memesearch.thumbs.state import Offer, offer

CONFIG = web.AppKey("config", MseConfig)
LIBRARY = web.AppKey("library", Library)
SEARCHER = web.AppKey("searcher", Searcher)
STAGE = web.AppKey("thumbnail_stage", ThumbnailStage)
PAGE = web.AppKey("page", Path)

QUERIES = Counter("mse_queries", "Queries answered")
TERMS = Counter("mse_terms", "Terms of the queries", ["type"])
INDEX_SIZE = Gauge("mse_index_size", "Pictures in the index")
RELOADS = Counter("mse_reloads", "Scans of the library's folder")
FAILURES = Gauge("mse_failures", "Files that could not be indexed")
SEARCH_TIME = Histogram("mse_search_seconds", "Seconds to answer a query")
INDEXING_LEFT = Gauge("mse_indexing_left", "Pictures still to be indexed")
THUMBNAILS_LEFT = Gauge("mse_thumbnails_left", "Thumbnails still to be made")
INDEX_VECTORS = Gauge("mse_index_vectors", "Vectors in the index")
INDEX_BYTES = Gauge("mse_index_memory_bytes", "Memory of the index of vectors")
INDEX_SEGMENTS = Gauge("mse_index_segments", "Sealed parts of the index that one search asks")
INDEX_BUILDING = Gauge("mse_index_building_left", "Changes that the index which is being built has still to follow")
INDEX_PROBLEM = Gauge("mse_index_problem", "1 while something is wrong with the index; /api/status says what")
INDEX_RECALL = Gauge("mse_index_recall", "Share of exact search's best that the index finds", ["queries", "at"])
INDEX_SHARE = Gauge("mse_index_searched_share", "Share of a compact index's lists that a search looks at", ["queries"])
OCR_LEFT = Gauge("mse_ocr_left", "Pictures whose text is still to be read")

MAX_RESULTS = 20_000
MAX_BODY_BYTES = 64 * 2**20
MAX_BODIES_BYTES = 512 * 2**20  # of all requests that are being received or answered
BODIES = web.AppKey("bodies", Limit)


@asynccontextmanager
async def body_of(request: web.Request) -> AsyncIterator[bytes]:
    """The body of a request, counted for as long as it is used. Raises what `read_all` raises."""
    with request.app[BODIES].hold() as held:
        yield await read_all(request, MAX_BODY_BYTES, held)


def count_query(terms: list[Term]) -> None:
    """Tell the metrics of one query."""
    QUERIES.inc()
    for term in terms:
        TERMS.labels(term.kind).inc()


def index_of(app: web.Application) -> LiveIndex:
    """The index to search. Raises Unavailable before the embedding service was first reached."""
    index = app[LIBRARY].index
    if index is None:
        raise Unavailable(f"nothing is indexed yet: {app[LIBRARY].client.problem or 'the first scan has not ended'}")
    return index


async def thumbnails_of(app: web.Application, hits: Iterable[Hit]) -> Offer:
    """Which thumbnails there are of these pictures."""
    folder = app[CONFIG].thumbnails
    return await offer(Path(folder) if folder else None, list({hit.hash for hit in hits}))


def plain(value: Any) -> web.Response:
    """A JSON answer, encoded fast."""
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
