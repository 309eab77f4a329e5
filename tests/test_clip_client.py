"""Which answers of an embedding service blame the request, and which mean: wait and ask again."""

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from memesearch.clip.client import ClipClient
from memesearch.errors import BadRequest, Unavailable


async def embed(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> list[bytes]:
    """Ask a server that always answers so for the vector of one picture."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        return await ClipClient(str(server.make_url("/")), session).embed_pictures([b"picture"], "model", bulk=True)


@pytest.mark.parametrize("status", [400, 413])
async def test_a_refused_request_names_the_item(status: int) -> None:
    with pytest.raises(BadRequest, match="refused: it is torn") as caught:
        await embed(status, msgspec.msgpack.encode("it is torn"), {"X-Item-Index": "0"})
    assert caught.value.index == 0


@pytest.mark.parametrize("status", [403, 404, 405, 429, 500, 502, 503, 504])
async def test_any_other_status_means_that_the_service_is_not_there_now(status: int) -> None:
    with pytest.raises(Unavailable, match=f"cannot answer now: status {status}"):
        await embed(status, b"<h1>somebody else</h1>")


@pytest.mark.parametrize("body", [b"<h1>somebody else</h1>", b"", b"\x91\xa1\xff", msgspec.msgpack.encode([])])
async def test_an_answer_that_is_no_list_of_vectors_means_the_same(body: bytes) -> None:
    with pytest.raises(Unavailable):
        await embed(200, body)
