"""`/rate/...` and `/queue/...`: the rater's two servers behind the address of the page.

Requests go to the configured address only: what a browser names is appended to its path, and a name that could
lead out of it is refused. Answers are passed on as they come, so that a live panel stays live.
"""

import html
import logging
import re
from collections.abc import AsyncIterator
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from memesearch.backend.parts import BODIES, CONFIG
from memesearch.bodies import read_all
from memesearch.errors import BadGateway, NotFound, Unavailable

log = logging.getLogger(__name__)
SESSION = web.AppKey("proxy_session", aiohttp.ClientSession)
MAX_BODY_BYTES = 2**20  # an answer or a decision is a few hundred bytes
CHUNK = 2**16
# A fit may hold an answer up for a moment; a stream of news may be silent for longer than a request takes.
PATIENCE = aiohttp.ClientTimeout(total=None, connect=5, sock_connect=5, sock_read=60)
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
}  # RFC 9110, 7.6.1: they belong to one connection
KEPT_HERE = HOP_BY_HOP | {"content-length", "authorization"}  # the password of a proxy in front is nobody else's
SERVERS = {"rate": "rater_server.py", "queue": "library_processing_server.py"}


AWAY_PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <meta http-equiv="refresh" content="5">
    <title>Not there now</title>
    <style>body {{ max-width: 34rem; margin: 15vh auto; padding: 0 20px; font: 16px/1.5 system-ui, sans-serif }}</style>
  </head>
  <body>
    <main>
      <h1>Not there now</h1>
      <p>{sentence}.</p>
      <p>This page looks again every few seconds. <a href="{home}">Back to the search</a></p>
    </main>
  </body>
</html>
"""


async def rate(request: web.Request) -> web.StreamResponse:
    return await forward_or_tell(request, "rate", request.app[CONFIG].rater)


async def queue(request: web.Request) -> web.StreamResponse:
    return await forward_or_tell(request, "queue", request.app[CONFIG].queue)


async def forward_or_tell(request: web.Request, view: str, base: str | None) -> web.StreamResponse:
    """As `forward`; who opens the view in a browser while its server is away is told by a page."""
    try:
        return await forward(request, view, base)
    except (NotFound, Unavailable, BadGateway) as error:
        if request.method != "GET" or "text/html" not in request.headers.get("Accept", ""):
            raise
        home = "../" * (request.path.count("/") - 1)
        text = AWAY_PAGE.format(sentence=html.escape(str(error)), home=home)
        return web.Response(text=text, content_type="text/html", status=error.status)


async def enter(request: web.Request) -> web.StreamResponse:
    """`/rate` without its slash, from which relative addresses would lead astray."""
    raise web.HTTPFound(URL(request.path.lstrip("/") + "/").with_query(request.query))


async def forward(request: web.Request, view: str, base: str | None) -> web.StreamResponse:
    """Pass a request on and its answer back. Raises NotFound, Unavailable, BadGateway, and what `read_all` raises."""
    if base is None:
        key = "rater" if view == "rate" else "queue"
        raise NotFound(f"there is no such view here: `{key}` is not set in the configuration")
    target = address(base, request.rel_url.raw_path.removeprefix(f"/{view}/"), request.rel_url.raw_query_string)
    with request.app[BODIES].hold() as held:
        body = await read_all(request, MAX_BODY_BYTES, held) if request.can_read_body else None
        asked = request.app[SESSION].request(
            request.method,
            target,
            data=body,
            headers=passed_on(request.headers, KEPT_HERE),
            allow_redirects=False,
            timeout=PATIENCE,
        )
        try:
            answer = await asked
        except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, TimeoutError) as error:
            raise Unavailable(f"{SERVERS[view]} does not answer at {base}; start it, or wait a moment") from error
        except (aiohttp.ClientError, OSError) as error:
            raise BadGateway(f"what answers at {base} does not speak like {SERVERS[view]}: {error}") from error
    async with answer:
        return await pass_back(request, answer, view, base)


def address(base: str, path: str, query: str) -> URL:
    """`path` below `base`. Raises NotFound for a path that could mean something outside of it."""
    plain = unquote(path)
    if re.search(r"[\\\x00-\x1f\x7f]", plain) or any(part in (".", "..") for part in plain.split("/")):
        raise NotFound("there is nothing at this address")
    return URL(base.rstrip("/") + "/" + path + (f"?{query}" if query else ""), encoded=True)


def passed_on(headers: "aiohttp.typedefs.LooseHeaders", kept: set[str]) -> "CIMultiDict[str]":
    """All headers that are meant for whoever is behind."""
    given = CIMultiDict(headers)
    named = {name.strip().lower() for value in given.getall("Connection", []) for name in value.split(",")}
    return CIMultiDict((name, value) for name, value in given.items() if name.lower() not in kept | named)


async def pass_back(request: web.Request, answer: aiohttp.ClientResponse, view: str, base: str) -> web.StreamResponse:
    """The answer as it comes; a connection that breaks in the middle breaks the browser's too, so that it notices."""
    headers = passed_on(answer.headers, HOP_BY_HOP)
    if "Location" in headers:
        headers["Location"] = seen_from_here(headers["Location"], view, base)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_chunked(CHUNK):
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("%s broke off in the middle of an answer: %s", SERVERS[view], error or "it fell silent")
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def seen_from_here(location: str, view: str, base: str) -> str:
    """Where a redirection of the server behind leads for a browser; only ever below the view itself."""
    inside = location.removeprefix(base.rstrip("/"))
    inside = inside.removeprefix(URL(base).raw_path.rstrip("/"))
    if inside.startswith("/") and not inside.startswith("//"):
        return f"/{view}{inside}"
    return f"/{view}/" if "//" in location else location


async def keep_session(app: web.Application) -> AsyncIterator[None]:
    """One client for all; it keeps no cookies, for they are different people's."""
    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        app[SESSION] = session
        yield


def add_routes(app: web.Application) -> None:
    app.cleanup_ctx.append(keep_session)
    app.router.add_get("/rate", enter)
    app.router.add_get("/queue", enter)
    app.router.add_get("/rate/{path:.*}", rate)
    app.router.add_post("/rate/{path:.*}", rate)
    app.router.add_get("/queue/{path:.*}", queue)
    app.router.add_post("/queue/{path:.*}", queue)
