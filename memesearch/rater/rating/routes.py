"""HTTP of the rater: the page, its pictures, and `api/`. All addresses work behind a proxy that strips a prefix."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from aiohttp import web
from prometheus_client import Counter, Gauge, Histogram

from memesearch.errors import MemeSearchError
from memesearch.inside import SAFE, add_page, content_type
from memesearch.rater.rating.desk import SHOWN, Desk
from memesearch.web import beside, decode_json, errors_as_answers, metrics, same_origin

log = logging.getLogger(__name__)
DESK = web.AppKey("desk", Desk)
NEWS = web.AppKey("news", asyncio.Event)
MAX_BODY_BYTES = 64 * 2**10
WATCH_SECONDS = 3  # between two looks at the library while nobody answers

ANSWERS = Counter("rater_answers", "Answers stored", ["grade"])
UNDONE = Counter("rater_undone", "Answers and skips taken back")
SKIPPED = Counter("rater_skipped", "Pairs skipped")
REFIT = Histogram("rater_refit_seconds", "Seconds to fit the model to all answers")
QUEUE = Gauge("rater_queue_left", "Pairs in the queue")
Grade = Annotated[int, msgspec.Meta(ge=-2, le=2)]


class Token(msgspec.Struct, forbid_unknown_fields=True):
    token: str


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """`grade`: 2 the first picture is much better, 1 better, 0 equal, and back; so for each dimension."""

    token: str
    grade: Grade
    dimensions: dict[str, Grade] = {}


def make_app(desk: Desk, static: Path) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[errors_as_answers, same_origin])
    app[DESK], app[NEWS] = desk, asyncio.Event()
    app.cleanup_ctx.append(background_work)
    add_page(app, static, "rate.html")
    app.router.add_get("/pictures/{path:(?s:.+)}", picture)
    app.router.add_get("/api/pair", pair)
    app.router.add_post("/api/answer", answer)
    app.router.add_post("/api/skip", skip)
    app.router.add_post("/api/undo", undo)
    app.router.add_get("/api/status", status)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    return app


async def background_work(app: web.Application) -> AsyncIterator[None]:
    """Refits, one at a time, each to the newest labels."""
    async with beside(follow(app[DESK], app[NEWS])):
        yield


async def follow(desk: Desk, news: asyncio.Event) -> None:
    while True:
        # Not wait_for: in Python 3.11 it swallows a cancellation that comes with the news, and the program never ends.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                await news.wait()
        if not news.is_set() and not desk.library_changed():
            continue
        news.clear()
        try:
            REFIT.observe(await asyncio.to_thread(desk.catch_up))
        except (MemeSearchError, sqlite3.Error) as error:
            log.warning("the model is not refitted: %s", error)
        except Exception:  # a mistake of ours, which must not end refitting for good; the next answer tries again
            log.exception("the model is not refitted")


async def changed(app: web.Application, **more: Any) -> web.Response:
    """What follows an answer: the next pairs at once, the model when it is ready."""
    app[NEWS].set()
    return web.json_response({**more, **await deck_of(app[DESK])})


async def deck_of(desk: Desk) -> dict[str, Any]:
    """The next pairs; more are laid out first when the person was faster than the model."""
    deck = await asyncio.to_thread(desk.deck)
    if len(deck["pairs"]) < SHOWN:
        await asyncio.to_thread(desk.fill)
        deck = await asyncio.to_thread(desk.deck)
    return deck


async def picture(request: web.Request) -> web.StreamResponse:
    """A picture of the pool."""
    path = request.match_info["path"]
    headers = {**SAFE, "Cache-Control": "private, no-cache", "Content-Type": content_type(path)}
    return web.FileResponse(request.app[DESK].picture(path), headers=headers)


async def pair(request: web.Request) -> web.Response:
    """The next pairs, the same ones until they are answered. Pictures that vanished are noticed here."""
    await asyncio.to_thread(request.app[DESK].fill)
    return web.json_response(await deck_of(request.app[DESK]))


async def answer(request: web.Request) -> web.Response:
    told = decode_json(await request.read(), Answer)
    stored = await asyncio.to_thread(request.app[DESK].answer, told.token, told.grade, told.dimensions)
    if stored:
        ANSWERS.labels(str(told.grade)).inc()
    return await changed(request.app, stored=stored)


async def skip(request: web.Request) -> web.Response:
    body = decode_json(await request.read(), Token)
    skipped = await asyncio.to_thread(request.app[DESK].skip, body.token)
    SKIPPED.inc(int(skipped))
    return await changed(request.app, skipped=skipped)


async def undo(request: web.Request) -> web.Response:
    """Takes back the answer or skip that the token names, if it is the last one."""
    body = decode_json(await request.read(), Token)
    undone = await asyncio.to_thread(request.app[DESK].undo, body.token)
    UNDONE.inc(int(undone))
    return await changed(request.app, undone=undone)


async def status(request: web.Request) -> web.Response:
    now = await asyncio.to_thread(request.app[DESK].status)
    QUEUE.set(now["queue"])
    return web.json_response(now)


async def health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok", "pictures": len(request.app[DESK].known.pool)})
