"""Routes of the queue's server. All addresses on its page are relative: it may stand behind another server's path."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import msgspec
from aiohttp import web
from prometheus_client import Gauge

from memesearch.errors import BadRequest, NotFound
from memesearch.inside import SAFE, add_page, content_type, send
from memesearch.rater.processing.desk import MAX_CARDS, Desk, Wish
from memesearch.rater.processing.names import lies_inside
from memesearch.rater.processing.standing import standing
from memesearch.rater.processing.suggestions import folders, known_tags
from memesearch.web import beside, decode_json, errors_as_answers, metrics, same_origin

DESK = web.AppKey("desk", Desk)
MAX_BODY_BYTES = 2**16
COUNTS = [str(count) for count in range(1, MAX_CARDS + 1)]

QUEUE_LENGTH = Gauge("meme_queue_length", "Pictures that wait for a decision")
DECISIONS = Gauge("meme_decisions", "Decisions stored", ["kind"])
UNMOVED = Gauge("meme_unmoved", "Decisions whose file could not be moved yet")
PRECISION = Gauge("meme_precision", "Share kept of what the threshold let through", ["bound"])


class Decide(msgspec.Struct, forbid_unknown_fields=True):
    """`token` and `hash` are those of the card; the rest is for what is kept."""

    token: str
    decision: Literal["keep", "discard", "later"]
    hash: str = ""
    name: str = ""
    folder: str = ""
    tags: list[str] = []


class Undo(msgspec.Struct, forbid_unknown_fields=True):
    """One of: the `id` of a decision, or `later`, the token of what was put off."""

    id: int | None = None
    later: str | None = None


def make_app(desk: Desk, static: Path) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[errors_as_answers, same_origin])
    app[DESK] = desk
    app.cleanup_ctx.append(tend)
    add_page(app, static, "queue.html")
    app.router.add_get("/picture/{token}", picture)
    app.router.add_get("/api/next", next_pictures)
    app.router.add_get("/api/status", status)
    app.router.add_get("/api/folders", list_folders)
    app.router.add_post("/api/decide", decide)
    app.router.add_post("/api/undo", undo)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", queue_metrics)
    return app


async def tend(app: web.Application) -> AsyncIterator[None]:
    """Finish what a crash broke off before anything is shown, and go on tending."""
    await app[DESK].finish()
    async with beside(app[DESK].tend()):
        yield


async def picture(request: web.Request) -> web.StreamResponse:
    """A picture that waits, named by its row and never by a path."""
    desk = request.app[DESK]
    row = await asyncio.to_thread(desk.row, request.match_info["token"])
    if row is None or not lies_inside(desk.folders.images, row.filename):
        raise NotFound("this picture is not in the queue any more")
    headers = {**SAFE, "Cache-Control": "private, no-cache", "Content-Type": content_type(row.filename)}
    return send(desk.folders.images, row.filename, headers)


async def next_pictures(request: web.Request) -> web.Response:
    raw = request.query.get("k", "2")
    if raw not in COUNTS:
        raise BadRequest(f"`k` must be between 1 and {MAX_CARDS}")
    desk = request.app[DESK]
    return answer(pictures=await desk.next(int(raw)), status=await asyncio.to_thread(desk.status))


async def status(request: web.Request) -> web.Response:
    return web.json_response(await asyncio.to_thread(request.app[DESK].status))


async def list_folders(request: web.Request) -> web.Response:
    desk = request.app[DESK]
    found, tags = await asyncio.gather(
        asyncio.to_thread(folders, desk.folders.library), asyncio.to_thread(known_tags, desk.database)
    )
    return answer(folders=found, tags=tags)


async def decide(request: web.Request) -> web.Response:
    desk, body = request.app[DESK], decode_json(await request.read(), Decide)
    if body.decision == "later":
        outcome = await desk.put_off(body.token)
    elif body.decision == "keep":
        outcome = await desk.keep(body.token, digest_in(body), Wish(body.name, body.folder, body.tags))
    else:
        outcome = await desk.discard(body.token, digest_in(body))
    return answer(**outcome, status=await asyncio.to_thread(desk.status))


def digest_in(body: Decide) -> bytes:
    try:
        return bytes.fromhex(body.hash)
    except ValueError as error:
        raise BadRequest("`hash` must be the card's own") from error


async def undo(request: web.Request) -> web.Response:
    desk, body = request.app[DESK], decode_json(await request.read(), Undo)
    if body.id is not None and body.later is None:
        if not 0 <= body.id < 2**63:
            raise BadRequest("`id` must be a decision's own")
        card = await desk.undo(body.id)
    elif body.later is not None and body.id is None:
        card = await desk.undo_later(body.later)
    else:
        raise BadRequest("give `id` or `later`")
    return answer(picture=card, status=await asyncio.to_thread(desk.status))


def answer(**content: object) -> web.Response:
    return web.json_response(content)


async def health(_request: web.Request) -> web.Response:
    return answer(status="ok")


async def queue_metrics(request: web.Request) -> web.Response:
    now = await asyncio.to_thread(standing, request.app[DESK].database)
    QUEUE_LENGTH.set(now.left)
    DECISIONS.labels("keep").set(now.kept)
    DECISIONS.labels("discard").set(now.discarded)
    UNMOVED.set(now.unmoved)
    if now.precision is not None:
        for bound, value in dataclasses.asdict(now.precision).items():
            if bound != "of":
                PRECISION.labels(bound).set(value)
    return await metrics(request)
