"""The embedding service: text and pictures in, float16 unit vectors out.

    python clip_server.py clip_server_config.json

Runs until SIGTERM. Formats are in docs/http-api.md; the model is any that OpenCLIP loads.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from aiohttp import web
from prometheus_client import Counter, Histogram

from memesearch import picture, wire
from memesearch.clip.batcher import Batcher, Modality
from memesearch.clip.model import ClipModel, load_model
from memesearch.config import ClipServerConfig
from memesearch.errors import BadRequest, Unavailable, UnreadablePicture, UnsupportedType
from memesearch.web import decode_json, errors_as_answers, metrics, run_program, serve

log = logging.getLogger("clip_server")

MAX_BODY_BYTES = 256 * 2**20
BATCHES_WAITING = 32  # how many full batches may wait before clients are told to come back
INTERACTIVE_PICTURES = 4  # a request of at most so many pictures comes from a person, not from an indexer

ITEMS = Counter("modelserver_total_items", "Items embedded", ["model", "modality"])
TIME = Histogram("modelserver_inftime", "Seconds a batch took", ["model", "batch_size"])
BATCHES = Counter("modelserver_batchcount", "Batches put through the model", ["model"])

MODEL = web.AppKey("model", ClipModel)
CONFIG = web.AppKey("config", ClipServerConfig)
BATCHER = web.AppKey("batcher", Batcher)
DECODERS = web.AppKey("decoders", ThreadPoolExecutor)


class JsonEmbedRequest(msgspec.Struct):
    """JSON body of `POST /embed`: one of the two."""

    text: str | None = None
    image: str | None = None


async def empty(_request: web.Request) -> web.Response:
    return web.Response(status=204)


async def configuration(request: web.Request) -> web.Response:
    model, config = request.app[MODEL], request.app[CONFIG]
    want = model.preprocessing
    answer = wire.ServiceConfig(
        model=config.model_name or config.model,
        batch=config.max_batch_size,
        image_size=(want.width, want.height),
        embedding_size=model.embedding_size,
        model_id=model.model_id,
        resize_mode=want.resize_mode,
        interpolation=want.interpolation,
        fill_color=want.fill_color,
    )
    return web.Response(body=wire.pack(answer), content_type=wire.MESSAGEPACK)


async def health(request: web.Request) -> web.Response:
    """200 when a forward pass works; it goes through the queue like any other request."""
    try:
        await asyncio.wait_for(request.app[BATCHER].submit("text", ["health"], interactive=True), 30)
    except Exception as error:
        raise Unavailable(f"the model does not answer: {error or type(error).__name__}") from error
    return web.json_response({"status": "ok", "model_id": request.app[MODEL].model_id})


async def embed_many(request: web.Request) -> web.Response:
    """`POST /`: a list of texts or of encoded pictures, as MessagePack."""
    if request.content_type not in (wire.MESSAGEPACK, "application/x-msgpack", "application/octet-stream"):
        raise UnsupportedType(f"the body must be {wire.MESSAGEPACK}, not {request.content_type}")
    try:
        body = msgspec.msgpack.decode(await request.read(), type=wire.EmbedRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not what is expected here: {error}") from error
    if (body.text is None) == (body.images is None):
        raise BadRequest("the body must have exactly one of `text` and `images`")
    bulk = request.headers.get("X-Priority") == "bulk"
    if body.text is not None:
        vectors = await request.app[BATCHER].submit("text", body.text, interactive=not bulk)
    else:
        vectors = await embed_pictures(request.app, body.images or [], bulk)
    named = {"X-Model-Id": request.app[MODEL].model_id}  # so that no client ever mixes two models' vectors
    return web.Response(body=wire.pack(vectors), content_type=wire.MESSAGEPACK, headers=named)


async def embed_pictures(app: web.Application, pictures: list[bytes], bulk: bool) -> list[bytes]:
    decoded = await decode_all(app, pictures)
    interactive = not bulk and len(pictures) <= INTERACTIVE_PICTURES
    return await app[BATCHER].submit("image", decoded, interactive)


async def decode_all(app: web.Application, pictures: list[bytes]) -> list[Any]:
    """uint8 arrays [height, width, 3], one per picture. Raises BadRequest naming the first bad one."""
    loop = asyncio.get_running_loop()
    want = app[MODEL].preprocessing
    tasks = [loop.run_in_executor(app[DECODERS], picture.pixels, raw, want) for raw in pictures]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for i, result in enumerate(results):
        if isinstance(result, UnreadablePicture):
            raise BadRequest(f"picture {i} of the list {result}", index=i)
        if isinstance(result, BaseException):
            raise result
    return results


async def embed_one(request: web.Request) -> web.Response:
    """`POST /embed`: one text or one picture, for people and scripts; JSON comes back."""
    if request.content_type == "application/json":
        vectors = await embed_json(request)
    elif request.content_type == "multipart/form-data":
        form = await request.post()
        image, text = form.get("image"), form.get("text")
        if isinstance(image, web.FileField):
            vectors = await embed_pictures(request.app, [image.file.read()], bulk=False)
        elif isinstance(text, str):
            vectors = await request.app[BATCHER].submit("text", [text], interactive=True)
        else:
            raise BadRequest("the form must have a field `text` or a file `image`")
    else:
        raise UnsupportedType("the body must be application/json or multipart/form-data")
    vector = wire.from_bytes(vectors[0]).astype(float).tolist()
    return web.json_response({"model": request.app[MODEL].model_id, "embedding": vector})


async def embed_json(request: web.Request) -> list[bytes]:
    body = decode_json(await request.read(), JsonEmbedRequest)
    if body.text is not None and body.image is None:
        return await request.app[BATCHER].submit("text", [body.text], interactive=True)
    if body.image is not None and body.text is None:
        return await embed_pictures(request.app, [wire.from_base64(body.image, "`image`")], bulk=False)
    raise BadRequest("the body must be an object with one string: `text`, or `image` in base64")


async def run_batcher(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[BATCHER].run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    app[DECODERS].shutdown(wait=False, cancel_futures=True)


def make_app(config: ClipServerConfig, model: ClipModel) -> web.Application:
    label = config.model_name or config.model

    def observe(modality: Modality, size: int, seconds: float) -> None:
        ITEMS.labels(label, modality).inc(size)
        TIME.labels(label, str(size)).observe(seconds)
        BATCHES.labels(label).inc()

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[errors_as_answers])
    app[MODEL], app[CONFIG] = model, config
    app[BATCHER] = Batcher(
        {"text": model.encode_text, "image": lambda items: model.encode_pixels(np.stack(items))},
        config.max_batch_size,
        config.max_batch_size * BATCHES_WAITING,
        observe,
    )
    app[DECODERS] = ThreadPoolExecutor(2, thread_name_prefix="decode")
    app.cleanup_ctx.append(run_batcher)
    app.router.add_get("/", empty)
    app.router.add_post("/", embed_many)
    app.router.add_get("/config", configuration)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    app.router.add_post("/embed", embed_one)
    return app


async def main(config: ClipServerConfig) -> int:
    base = Path(sys.argv[1]).absolute().parent
    model = await asyncio.to_thread(load_model, config.model, config.pretrained, config.device, base)
    log.info(
        "%s: %d dimensions, pictures %dx%d",
        model.model_id,
        model.embedding_size,
        model.preprocessing.width,
        model.preprocessing.height,
    )
    await serve(make_app(config, model), config.host, config.port)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_program(ClipServerConfig, main, sys.argv))
