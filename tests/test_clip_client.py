"""Which answers of an embedding service blame the request, and which mean: wait and ask again."""

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from memesearch.clip.client import ClipClient, ModelChanged
from memesearch.errors import BadRequest, Overloaded, Unavailable
from memesearch.wire import ServiceConfig


async def embed(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> list[bytes]:
    """Ask a server that always answers so for the vector of one picture."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        return await ClipClient(str(server.make_url("/")), session).embed_pictures([b"picture"], "model")


@pytest.mark.parametrize("status", [400, 422])
async def test_a_refused_request_names_the_item(status: int) -> None:
    with pytest.raises(BadRequest, match="refused: it is torn") as caught:
        await embed(status, msgspec.msgpack.encode("it is torn"), {"X-Item-Index": "0"})
    assert caught.value.index == 0


@pytest.mark.parametrize("status", [403, 404, 405, 413, 500, 502, 503, 504])
async def test_any_other_status_means_that_the_service_is_not_there_now(status: int) -> None:
    with pytest.raises(Unavailable, match=f"cannot answer now: status {status}"):
        await embed(status, b"<h1>somebody else</h1>")


async def test_too_much_to_do_is_told_from_not_being_there() -> None:
    with pytest.raises(Overloaded, match="too much to do: come back"):
        await embed(429, msgspec.msgpack.encode("come back"))


@pytest.mark.parametrize("body", [b"<h1>somebody else</h1>", b"", b"\x91\xa1\xff", msgspec.msgpack.encode([])])
async def test_an_answer_that_is_no_list_of_vectors_means_the_same(body: bytes) -> None:
    with pytest.raises(Unavailable):
        await embed(200, body)


class Switching:
    """A service that serves another model, of another size, than it said at first."""

    def __init__(self, index: str | None) -> None:
        self.model = "first"
        self._index = index

    def app(self) -> web.Application:
        async def config(_request: web.Request) -> web.Response:
            answer = ServiceConfig("m", 4, (2, 2), 1, self.model, pixels=True)
            return web.Response(body=msgspec.msgpack.encode(answer))

        async def pixels(_request: web.Request) -> web.Response:
            return web.json_response(
                {"error": "no"}, status=400, headers={"X-Item-Index": self._index} if self._index else None
            )

        app = web.Application()
        app.router.add_get("/config", config)
        app.router.add_post("/pixels", pixels)
        return app


@pytest.mark.parametrize(
    ("model", "index", "expected"),
    [("second", None, ModelChanged), ("first", None, Unavailable), ("first", "0", BadRequest)],
)
async def test_pictures_of_the_wrong_size_are_blamed_on_a_change_of_model_not_on_them(
    model: str, index: str | None, expected: type[Exception]
) -> None:
    service = Switching(index)
    async with TestServer(service.app()) as server, aiohttp.ClientSession() as session:
        client = ClipClient(str(server.make_url("/")), session)
        await client.refresh()
        service.model = model
        with pytest.raises(expected):
            await client.embed_pixels([bytes(12)], "first")
