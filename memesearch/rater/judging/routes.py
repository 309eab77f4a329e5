"""The server of the blind pages: pictures by their place in the run, judgements stored at once."""

from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from memesearch.errors import NotFound
from memesearch.inside import PAGE_FILE, SAFE, content_type, find
from memesearch.rater.judging.drawing import Item, Judgements
from memesearch.web import decode_json, errors_as_answers, same_origin

JUDGEMENTS = web.AppKey("judgements", Judgements)
RUN = web.AppKey("run", str)
PICTURES = web.AppKey("pictures", Path)
PAGES = Path(__file__).parent / "pages"
PAGE_FILES = ("judge.css", "judge.js")
POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"


class Judgement(msgspec.Struct, forbid_unknown_fields=True):
    good: bool


def make_app(judgements: Judgements, run: str, pictures: Path) -> web.Application:
    """`pictures`: the folder that names of files are relative to."""
    app = web.Application(client_max_size=4096, middlewares=[errors_as_answers, same_origin])
    app[JUDGEMENTS], app[RUN], app[PICTURES] = judgements, run, pictures
    app.router.add_get("/", page)
    app.router.add_get("/health", health)
    app.router.add_get("/static/{name}", page_file)
    app.router.add_get("/api/run", what_to_judge)
    app.router.add_get("/pictures/{place:\\d{1,9}}", picture)
    app.router.add_put("/api/judgements/{place:\\d{1,9}}", judge)
    app.router.add_delete("/api/judgements/{place:\\d{1,9}}", take_back)
    return app


async def page(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGES / "judge.html", headers={**PAGE_FILE, "Content-Security-Policy": POLICY})


async def page_file(request: web.Request) -> web.FileResponse:
    name = request.match_info["name"]
    if name not in PAGE_FILES:
        raise NotFound("there is no such file")
    return web.FileResponse(PAGES / name, headers=PAGE_FILE)


async def health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def what_to_judge(request: web.Request) -> web.Response:
    """The pages' pictures by place, and what was judged, in the order it was. Nothing of scores or groups."""
    items = request.app[JUDGEMENTS].items(request.app[RUN])
    pages = [told([item for item in items if item.page == page]) for page in sorted({item.page for item in items})]
    return web.json_response({"run": request.app[RUN], "pages": pages}, headers={"Cache-Control": "no-store"})


def told(items: list[Item]) -> dict[str, Any]:
    judged = sorted((item.turn, item.place) for item in items if item.turn is not None)
    return {"places": [item.place for item in items], "judged": [place for _, place in judged]}


async def picture(request: web.Request) -> web.FileResponse:
    """The picture at a place. Its name stays here: names may tell where a picture comes from."""
    place = int(request.match_info["place"])
    names = {item.place: item.filename for item in request.app[JUDGEMENTS].items(request.app[RUN])}
    if place not in names:
        raise NotFound("this run has no such picture")
    root = request.app[PICTURES]
    headers = {**SAFE, "Cache-Control": "private, no-cache", "Content-Type": content_type(names[place])}
    return web.FileResponse(find(root, names[place], root), headers=headers)


async def judge(request: web.Request) -> web.Response:
    good = decode_json(await request.read(), Judgement).good
    request.app[JUDGEMENTS].judge(request.app[RUN], int(request.match_info["place"]), good)
    return web.json_response({"good": good})


async def take_back(request: web.Request) -> web.Response:
    request.app[JUDGEMENTS].take_back(request.app[RUN], int(request.match_info["place"]))
    return web.json_response({"good": None})
