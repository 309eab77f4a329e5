"""What every HTTP program shares: error bodies, start, clean stop, and the metrics route."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from memesearch import wire
from memesearch.config import Config, load_config
from memesearch.errors import BadRequest, ConfigError, MemeSearchError, system_reason
from memesearch.machine import allow_many_connections
from memesearch.mistyped import with_way_out

log = logging.getLogger(__name__)
READ_AHEAD_BYTES = 2**20  # of a request's body; more than aiohttp's 64 KiB, for large bodies cost fewer turns
MOST_ARRIVING = 4096  # connections that may wait to be accepted; of more, Linux resets some after a minute
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
B = TypeVar("B")
C = TypeVar("C", bound=Config)


def error_response(request: web.Request, status: int, message: str, **extra: Any) -> web.Response:
    """The one error shape: JSON `{"error": sentence}`, or a MessagePack string to who spoke MessagePack."""
    if request.content_type in (wire.MESSAGEPACK, "application/x-msgpack"):
        return web.Response(body=wire.pack(message), status=status, content_type=wire.MESSAGEPACK)
    return web.json_response({"error": message, **extra}, status=status)


@web.middleware
async def errors_as_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn any exception into an answer; unexpected ones are logged and told as status 500."""
    try:
        return await handler(request)
    except MemeSearchError as error:
        index = getattr(error, "index", None)
        extra = {} if index is None else {"index": index}
        response = error_response(request, error.status, str(error), **extra)
        if index is not None:
            response.headers["X-Item-Index"] = str(index)
        retry_after = getattr(error, "retry_after", None)
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response
    except web.HTTPRequestEntityTooLarge as error:
        limit = getattr(error, "max_size", None) or request.client_max_size
        return error_response(request, 413, f"the request is larger than {int(limit)} bytes")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        reason = {404: "there is nothing at this address", 405: "this address does not take this method"}
        answer = error_response(request, error.status, reason.get(error.status, error.reason))
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except (ConnectionError, web.RequestPayloadError):  # the client left in the middle; nobody reads an answer
        return web.Response(status=400)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return error_response(request, 500, "an internal error happened; the program's log has the details")


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that change something or cost work when another site's page makes them."""
    origin = request.headers.get("Origin")
    if request.method != "GET" and origin and origin.partition("://")[2] != request.headers.get("Host"):
        return error_response(
            request,
            403,
            f"requests from pages of {origin} are not taken here; a proxy in front must pass the header Host on",
        )
    return await handler(request)


async def metrics(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def decode_json(raw: bytes, kind: type[B]) -> B:
    """A JSON body as `kind`. Raises BadRequest saying what is wrong with it."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the body is not what is expected here: {with_way_out(str(error), kind)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from error


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Background tasks until the end, when they are cancelled; one that fails before is told of at once."""
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(tell_of_crash)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def tell_of_crash(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("background work ended by an unexpected error", exc_info=error)


class Drain:
    """Lets what was accepted before a stop end, also requests whose body is still on its way.

    (aiohttp's own shutdown reads nothing more from its connections.)
    """

    def __init__(self) -> None:
        self._in_flight = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts requests; those that come after the stop are refused."""
        if self._stopping:
            response = error_response(request, 503, "this program is stopping; try again in a moment")
            response.headers["Retry-After"] = "5"
            response.force_close()
            return response
        self._in_flight += 1
        self._idle.clear()
        try:
            return await handler(request)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def finish(self, deadline: float) -> None:
        """Wait for what is in flight, at most `deadline` seconds."""
        self._stopping = True
        try:
            await asyncio.wait_for(self._idle.wait(), deadline)
        except TimeoutError:
            log.warning("%d requests did not end within %.0f seconds and are cut off", self._in_flight, deadline)


async def serve(app: web.Application, host: str, port: int, deadline: float = 5.0) -> None:
    """Serve until SIGTERM or SIGINT; what was accepted then has `deadline` seconds to end.

    Raises:
        ConfigError: the port cannot be had.
    """
    allow_many_connections()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    drain = Drain()
    app.middlewares.insert(0, drain.middleware)
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=1, read_bufsize=READ_AHEAD_BYTES
    )
    await runner.setup()
    try:
        site = await listen(runner, host, port)
        log.info("listening on http://%s:%d/", host, port)
        await stop.wait()
        log.info("stopping")
        await site.stop()
        await drain.finish(deadline)
    finally:
        await runner.cleanup()


async def listen(runner: web.AppRunner, host: str, port: int) -> web.TCPSite:
    site = web.TCPSite(runner, host, port, backlog=MOST_ARRIVING)
    try:
        await site.start()
        return site
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        way_out = "choose another `port` or stop what uses it" if in_use else "choose another `host` or `port`"
        raise ConfigError(f"cannot listen on {host}:{port}: {system_reason(error)}; {way_out}") from error


def end_at_once(*_: Any) -> None:
    """SIGTERM before a program has anything to finish, for example while a model is loaded: a clean stop."""
    logging.shutdown()
    os._exit(0)


def run_program(
    kind: type[C], main: Callable[[C], Coroutine[Any, Any, int]], argv: list[str], options: str = ""
) -> int:
    """Load the config named on the command line and run `main`; returns the exit status.

    `options` is what else the usage line offers.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asked = argv[1:] in (["-h"], ["--help"])
    if asked or len(argv) != 2:
        usage = f"usage: python {argv[0]} CONFIG.json{options}"
        print(usage, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    signal.signal(signal.SIGTERM, end_at_once)
    try:
        config = load_config(argv[1], kind)
        with contextlib.suppress(KeyboardInterrupt):
            return asyncio.run(main(config))
        return 0
    except ConfigError as error:
        text = str(error) if str(error).startswith(argv[1]) else f"{argv[1]}: {error}"
        print(f"{argv[0]}: {text}", file=sys.stderr)
        return 2
    except MemeSearchError as error:
        print(f"{argv[0]}: {error}", file=sys.stderr)
        return 1
