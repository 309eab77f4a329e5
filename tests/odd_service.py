"""An embedding service that misbehaves as a file says: a process of its own, for test_library_trouble.py.

    python tests/odd_service.py PORT FILE

FILE is JSON and read anew for each request, so that a test can change it at any time. A vector is the mean
colour of its picture, repeated, so that equal pictures have equal ones.
"""

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

SIDE = 8
MANNERS: dict[str, Any] = {
    "model_id": "first",
    "says": 64,  # numbers of a vector
    "sends": 64,
    "status": 200,  # of POST
    "seconds": 0.0,  # that a POST takes
    "pixels": True,
    "batch": 8,
    "interpolation": "bicubic",
    "refuses_black": False,
    "names_culprit": True,
    "alternates": False,  # is another model at each request
}
COUNT = itertools.count()


async def answer(request: web.Request) -> web.Response:
    path: Path = request.app["file"]
    manners = MANNERS | json.loads(path.read_text())
    if manners["alternates"]:
        manners["model_id"] = f"{next(COUNT) % 2}"
    if request.method == "GET":
        told = {"model": "odd", "image_size": [SIDE, SIDE], "embedding_size": manners["says"]}
        return packed({**told, **{key: manners[key] for key in ("model_id", "pixels", "batch", "interpolation")}})
    raw = await request.read()
    await asyncio.sleep(manners["seconds"])
    if manners["status"] != 200:
        return web.json_response({"error": "not today"}, status=manners["status"])
    means = [np.frombuffer(picture, np.uint8).mean() for picture in pictures(request.path, raw)]
    if manners["refuses_black"] and 0 in means:
        headers = {"X-Item-Index": str(means.index(0))} if manners["names_culprit"] else None
        return web.json_response({"error": "too dark"}, status=400, headers=headers)
    vectors = [np.full(manners["sends"], mean / 2000 + 0.001, "<f2").tobytes() for mean in means]
    headers = {"X-Model-Id": manners["model_id"]}
    if request.path == "/pixels":
        return web.Response(body=b"".join(vectors), headers=headers)
    return packed(vectors, headers)


def pictures(path: str, raw: bytes) -> list[bytes]:
    """The pixels of each picture in a body; texts are white."""
    size = SIDE * SIDE * 3
    if path == "/pixels":
        return [raw[start : start + size] for start in range(16, len(raw), size)]
    body = msgspec.msgpack.decode(raw)
    return [bitmap[-size:] for bitmap in body.get("images", [])] + [b"\xff" for _ in body.get("text", [])]


def packed(value: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.msgpack.encode(value), content_type="application/msgpack", headers=headers)


async def health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


if __name__ == "__main__":
    app = web.Application(client_max_size=2**30)
    app["file"] = Path(sys.argv[2])
    app.router.add_get("/health", health)
    app.router.add_route("*", "/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
