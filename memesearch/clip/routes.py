"""The embedding service's HTTP routes. Formats are in docs/http-api.md."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from memesearch import wire
from memesearch.bodies import check_length, read_all, read_form
from memesearch.clip import metrics
from memesearch.clip.body import BodyReader
from memesearch.clip.engine import Engine
from memesearch.clip.precision import name_of
from memesearch.clip.service import Service
from memesearch.config import ClipServerConfig
from memesearch.errors import BadRequest, TooLarge, Unavailable, UnsupportedType
from memesearch.web import beside, decode_json, errors_as_answers
from memesearch.web import metrics as metrics_page
from memesearch.wire import PixelHeader, Vectors

MAX_BODY_BYTES = 256 * 2**20
MAX_ITEM_BYTES = 64 * 2**20  # of a request for one item
HEALTH_SECONDS = 30
SERVICE = web.AppKey("service", Service)


class JsonEmbedRequest(msgspec.Struct):
    """JSON body of `POST /embed`: one of the two."""

    text: str | None = None
    image: str | None = None


async def empty(_request: web.Request) -> web.Response:
    return web.Response(status=204)


async def configuration(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    engine, config, want = service.engine, service.config, service.want
    answer = wire.ServiceConfig(
        model=config.model_name or config.model,
        batch=engine.batch,
        image_size=(want.width, want.height),
        embedding_size=engine.embedding_size,
        model_id=engine.model.loaded.model_id,
        resize_mode=want.resize_mode,
        interpolation=want.interpolation,
        fill_color=want.fill_color,
        pixels=True,
        parallel=engine.parallel,
        precision=name_of(engine.model.dtypes.vision),
    )
    return web.Response(body=wire.pack(answer), content_type=wire.MESSAGEPACK)


async def health(request: web.Request) -> web.Response:
    """200 when a forward pass works; it waits for its turn, but is never told that too much waits."""
    service = request.app[SERVICE]
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            await service.is_well()
    except Unavailable:
        raise
    except Exception as error:
        raise Unavailable(f"the model does not answer: {error or type(error).__name__}") from error
    return web.json_response({"status": "ok", "model_id": service.engine.model.loaded.model_id})


async def embed_many(request: web.Request) -> web.Response:
    """`POST /`: a list of texts or of encoded pictures, as MessagePack."""
    service = request.app[SERVICE]
    if request.content_type not in (wire.MESSAGEPACK, "application/x-msgpack", "application/octet-stream"):
        raise UnsupportedType(f"the body must be {wire.MESSAGEPACK}, not {request.content_type}")
    with service.bytes.hold() as held:
        try:
            body = msgspec.msgpack.decode(await read_all(request, MAX_BODY_BYTES, held), type=wire.EmbedRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"the body is not what is expected here: {error}") from error
        if (body.text is None) == (body.images is None):
            raise BadRequest("the body must have exactly one of `text` and `images`")
        if body.text is not None:
            vectors = await service.embed_texts(body.text, is_bulk(request))
        else:
            vectors = await service.embed_pictures(body.images or [], is_bulk(request))
    rows = [wire.to_bytes(vector) for vector in vectors]
    return web.Response(body=wire.pack(rows), content_type=wire.MESSAGEPACK, headers=named(service))


async def embed_pixels(request: web.Request) -> web.Response:
    """`POST /pixels`: fitted pixels behind a small header; the vectors come back one after the other."""
    service = request.app[SERVICE]
    check_length(request, MAX_BODY_BYTES + wire.PIXEL_HEADER.size)
    body = BodyReader(request, request.content_length or MAX_BODY_BYTES)
    raw = bytearray(wire.PIXEL_HEADER.size)
    await body.into(memoryview(raw))
    header = PixelHeader.unpack(bytes(raw))
    want = service.want
    if (header.width, header.height) != (want.width, want.height):
        raise BadRequest(
            f"the model takes pictures of {want.width}x{want.height} pixels, not {header.width}x{header.height}"
        )
    if header.body_bytes > MAX_BODY_BYTES:
        raise TooLarge(f"the request is larger than {MAX_BODY_BYTES} bytes")
    if request.content_length not in (None, wire.PIXEL_HEADER.size + header.body_bytes):
        raise BadRequest(f"the header announces {header.count} pictures, which is not the length of the body")
    vectors = await service.embed_pixels(header, body, is_bulk(request))
    return web.Response(body=wire.to_bytes(vectors), content_type=wire.PIXELS, headers=named(service))


def is_bulk(request: web.Request) -> bool:
    return request.headers.get("X-Priority") == "bulk"


def named(service: Service) -> dict[str, str]:
    """The header that keeps clients from ever mixing two models' vectors."""
    return {"X-Model-Id": service.engine.model.loaded.model_id}


async def embed_one(request: web.Request) -> web.Response:
    """`POST /embed`: one text or one picture, for people and scripts; JSON comes back."""
    service = request.app[SERVICE]
    if request.content_type == "application/json":
        with service.bytes.hold() as held:
            raw = await read_all(request, MAX_ITEM_BYTES, held)
            vectors = await embed_json(service, decode_json(raw, JsonEmbedRequest))
    elif request.content_type == "multipart/form-data":
        with service.form_bytes.hold() as held:
            vectors = await embed_form(service, await read_form(request, MAX_ITEM_BYTES, held))
    else:
        raise UnsupportedType("the body must be application/json or multipart/form-data")
    return web.json_response({"model": service.engine.model.loaded.model_id, "embedding": vectors[0].tolist()})


async def embed_json(service: Service, body: JsonEmbedRequest) -> Vectors:
    if body.text is not None and body.image is None:
        return await service.embed_texts([body.text], bulk=False)
    if body.image is not None and body.text is None:
        return await service.embed_pictures([wire.from_base64(body.image, "`image`")], bulk=False)
    raise BadRequest("the body must be an object with one string: `text`, or `image` in base64")


async def embed_form(service: Service, form: dict[str, bytes]) -> Vectors:
    if "image" in form:
        return await service.embed_pictures([form["image"]], bulk=False)
    if "text" in form:
        return await service.embed_texts([form["text"].decode("utf-8", "replace")], bulk=False)
    raise BadRequest("the form must have a field `text` or a file `image`")


async def metrics_route(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    metrics.refresh(service.batcher, service.engine, service.items)
    return await metrics_page(request)


async def run(app: web.Application) -> AsyncIterator[None]:
    service = app[SERVICE]
    async with beside(service.warm_up(), metrics.watch_busy(service.batcher)):
        yield
    service.batcher.close()
    for pool in service.decoders.values():
        await pool.close()


def make_app(config: ClipServerConfig, engine: Engine) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[errors_as_answers])
    app[SERVICE] = Service(config, engine)
    app.cleanup_ctx.append(run)
    app.router.add_get("/", empty)
    app.router.add_post("/", embed_many)
    app.router.add_post("/pixels", embed_pixels)
    app.router.add_get("/config", configuration)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics_route)
    app.router.add_post("/embed", embed_one)
    return app
