"""A source of pictures that speaks Reddit, Lemmy, Mastodon, RSS and Atom, and fails as a file says.

    python tests/source_server.py PORT FOLDER MANNERS

It offers the pictures below FOLDER, or below FOLDER/NAME where the request names a subreddit, community, tag or feed
NAME and there is such a folder; the newest first by name, the last name being the newest. Beside a picture,
PICTURE.json (`a.png.json`) may change its post: {"title", "adult", "deleted", "gallery": [files], "cross", "preview",
"url", "text", "created"}.

    /r/NAME/new.json            /r/NAME/new with a token of /api/v1/access_token (any client, secret "secret")
    /api/v3/post/list?community_name=NAME      /api/v1/timelines/tag/NAME      /rss/NAME      /atom/NAME
    /picture/PATH               /redirect/ANY?to=ADDRESS (without `to`: to itself)
    /log: what was asked, [{"path", "agent", "at", "authorization"}]

MANNERS is JSON, read anew for each request; see below. `source_server(folder)` starts one for a test.
"""

import asyncio
import base64
import email.utils
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import source_formats as formats
from aiohttp import web
from launched import free_port
from services import OddService, wait_for

MANNERS: dict[str, Any] = {
    "page": 10,  # posts on a page
    "listing": "",  # html, half, charset, repeat, endless, malformed, entities, slow, a status or an address to
    # redirect to
    "picture": "",  # cut, slow, large or a status
    "only": "",  # part of a path that the failures are for
    "times": 10**9,  # how often they happen
    "retry_after": "",  # of a status; "date" is a date two seconds away
    "token_seconds": 3600,  # after which a token is refused
    "seconds": 0.0,  # that each request takes
}
LOG: list[dict[str, Any]] = []
FAILED: Counter[str] = Counter()
TOKENS: dict[str, float] = {}
FOLDER = web.AppKey("folder", Path)
FILE = web.AppKey("manners", Path)


def manners(request: web.Request) -> dict[str, Any]:
    return MANNERS | json.loads(request.app[FILE].read_text())


def failure(request: web.Request, kind: str) -> str:
    """What must go wrong with this request, if anything; counted."""
    told = manners(request)
    what = str(told[kind])
    if not what or told["only"] not in request.path_qs:
        return ""
    key = json.dumps(told)
    FAILED[key] += 1
    return what if FAILED[key] <= told["times"] else ""


def failed_status(request: web.Request, status: str) -> web.Response:
    wait = manners(request)["retry_after"]
    if wait == "date":
        wait = email.utils.formatdate(time.time() + 2, usegmt=True)
    return web.Response(status=int(status), headers={"Retry-After": wait} if wait else None)


def page(request: web.Request, name: str | None, after: str) -> tuple[list[dict[str, Any]], str | None]:
    """Posts after the one with this id, and the id after which it goes on."""
    told = manners(request)
    posts = formats.offered(request.app[FOLDER], name, origin(request))
    start = next((index + 1 for index, post in enumerate(posts) if post["id"] == after), 0)
    if told["listing"] == "repeat":
        return posts[: told["page"]], "again"
    shown = posts[start : start + told["page"]]
    if told["listing"] == "endless":
        return shown, f"{time.time()}x"
    return shown, shown[-1]["id"] if start + len(shown) < len(posts) else None


def origin(request: web.Request) -> str:
    return str(request.url.origin())


async def send(request: web.Request, text: str, kind: str, headers: dict[str, str] | None = None) -> web.Response:
    what = failure(request, "listing")
    if what == "slow":
        await asyncio.sleep(30)
    if what.isdigit():
        return failed_status(request, what)
    if "://" in what:
        raise web.HTTPFound(what)
    if what == "html":
        return web.Response(text="<!DOCTYPE html><title>Whoa there!<br></title>", content_type="text/html")
    text = formats.ENTITIES if what == "entities" else text
    raw = text.encode("latin-1") if what == "charset" else text.encode()
    return web.Response(body=raw[: len(raw) // 2] if what == "half" else raw, content_type=kind, headers=headers)


async def send_json(request: web.Request, told: Any, headers: dict[str, str] | None = None) -> web.Response:
    plain = manners(request)["listing"] == "charset"
    return await send(request, json.dumps(told, ensure_ascii=not plain), "application/json", headers)


async def reddit(request: web.Request) -> web.Response:
    if not request.path.endswith(".json"):
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if TOKENS.get(given, 0.0) < time.time():
            return web.json_response({"error": 401}, status=401)
    posts, following = page(request, request.match_info["name"], request.query.get("after", "").removeprefix("t3_"))
    children: list[Any] = [{"kind": "t3", "data": formats.reddit(post, origin(request))} for post in posts]
    if manners(request)["listing"] == "malformed":
        children[0] = {"kind": "t3", "data": {"title": 5}}
    after = f"t3_{following}" if following else None
    return await send_json(request, {"kind": "Listing", "data": {"children": children, "after": after}})


async def token(request: web.Request) -> web.Response:
    form = await request.post()
    given = base64.b64decode(request.headers.get("Authorization", "")[6:])
    if form.get("grant_type") != "client_credentials" or not given.endswith(b":secret"):
        return web.json_response({"error": "unauthorized"}, status=401)
    fresh = f"token{len(TOKENS)}"
    TOKENS[fresh] = time.time() + manners(request)["token_seconds"]
    return web.json_response({"access_token": fresh, "token_type": "bearer", "expires_in": 3600})


async def lemmy(request: web.Request) -> web.Response:
    posts, following = page(request, request.query.get("community_name"), request.query.get("page_cursor", ""))
    entries = [formats.lemmy(post, origin(request)) for post in posts]
    return await send_json(request, {"posts": entries, "next_page": following})


async def mastodon(request: web.Request) -> web.Response:
    posts, following = page(request, request.match_info["name"], request.query.get("max_id", ""))
    link = f'<{request.url.with_query(max_id=following or "")}>; rel="next", <{request.url}>; rel="prev"'
    statuses = [formats.mastodon(post, origin(request)) for post in posts]
    return await send_json(request, statuses, {"Link": link} if following else None)


async def rss(request: web.Request) -> web.Response:
    posts = formats.offered(request.app[FOLDER], request.match_info["name"], origin(request))
    return await send(request, formats.rss(posts), "application/rss+xml")


async def atom(request: web.Request) -> web.Response:
    text = formats.atom(*page(request, request.match_info["name"], request.query.get("after", "")))
    return await send(request, text, "application/atom+xml")


async def picture(request: web.Request) -> web.StreamResponse:
    what = failure(request, "picture")
    if what == "slow":
        await asyncio.sleep(30)
    if what.isdigit():
        return failed_status(request, what)
    path = request.app[FOLDER] / request.match_info["path"]
    if not path.is_file():
        raise web.HTTPNotFound
    answer = web.StreamResponse(headers={"Content-Type": "image/png"})
    if what == "large":  # without a length, and without an end
        await answer.prepare(request)
        while True:
            await answer.write(bytes(2**16))
    raw = path.read_bytes()
    answer.content_length = len(raw)
    await answer.prepare(request)
    await answer.write(raw[: len(raw) // 2] if what == "cut" else raw)
    if what == "cut" and request.transport is not None:
        request.transport.close()
    return answer


async def redirect(request: web.Request) -> web.Response:
    raise web.HTTPFound(request.query.get("to", request.path_qs))


@web.middleware
async def log(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.path not in ("/log", "/health"):
        told, headers = {"path": request.path_qs, "at": time.monotonic()}, request.headers
        LOG.append(told | {"agent": headers.get("User-Agent"), "authorization": headers.get("Authorization")})
        await asyncio.sleep(manners(request)["seconds"])
    answer: web.StreamResponse = await handler(request)
    return answer


async def tell_log(_: web.Request) -> web.Response:
    return web.json_response(LOG)


def make_app(folder: Path, told: Path) -> web.Application:
    app = web.Application(middlewares=[log])
    app[FOLDER], app[FILE] = folder, told
    for path in ("/log", "/health"):
        app.router.add_get(path, tell_log)
    for path in ("/r/{name}/new.json", "/r/{name}/new"):
        app.router.add_get(path, reddit)
    app.router.add_post("/api/v1/access_token", token)
    app.router.add_get("/api/v3/post/list", lemmy)
    app.router.add_get("/api/v1/timelines/tag/{name}", mastodon)
    app.router.add_get("/rss/{name}", rss)
    app.router.add_get("/atom/{name}", atom)
    app.router.add_get("/picture/{path:.*}", picture)
    app.router.add_get("/redirect/{path:.*}", redirect)
    return app


class SourceServer(OddService):
    """The server as a process; `url` ends with a slash, `asked` is the log."""

    def __init__(self, folder: Path) -> None:
        super().__init__("tests/source_server.py", folder.with_suffix(".manners.json"), free_port())
        self.folder = folder

    def start(self) -> "SourceServer":
        command = [sys.executable, __file__, str(self.port), str(self.folder), str(self.config)]
        self.process = subprocess.Popen(command)
        wait_for(lambda: self.get("health") == [])
        return self

    def asked(self, part: str = "") -> list[dict[str, Any]]:
        """The requests whose path has this part, in order."""
        return [request for request in self.get("log") if part in request["path"]]


@contextmanager
def source_server(folder: Path) -> Iterator[SourceServer]:
    """A server of the pictures in a folder, that behaves well until it is told otherwise."""
    server = SourceServer(folder)
    server.behave()
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait()


if __name__ == "__main__":
    port, folder, told = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    web.run_app(make_app(folder, told), host="127.0.0.1", port=port, print=None, access_log=None)
