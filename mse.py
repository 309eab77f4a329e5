"""The search backend: keeps an index of a folder of pictures and answers queries over HTTP.

    python mse.py mse_config.json [--rebuild-index]

Runs until SIGTERM; with `no_run_server` it indexes once, prints a summary and ends. `--rebuild-index` fills the
index of vectors from the database and ends.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from memesearch.machine import one_thread_each, usable_cores

if __name__ == "__main__":
    one_thread_each()  # before the rest loads NumPy and FAISS

import aiohttp
import msgspec
from aiohttp import web

from memesearch.admission import Limit
from memesearch.backend import api, files, protocol, proxy, status
from memesearch.backend.parts import (
    BODIES,
    CONFIG,
    LIBRARY,
    MAX_BODIES_BYTES,
    MAX_BODY_BYTES,
    PAGE,
    SEARCHER,
    STAGE,
)
from memesearch.backend.taste import ME, TASTE, Taste
from memesearch.clip.client import ClipClient
from memesearch.config import MseConfig
from memesearch.errors import ConfigError, Unavailable
from memesearch.file_lock import FileLock
from memesearch.library.in_step import keep_in_step
from memesearch.library.ingest import Limits
from memesearch.library.library import Library, Summary
from memesearch.library.store import Store
from memesearch.library.watching import FolderWatch
from memesearch.search.index.keeper import alone
from memesearch.search.index.milvus_address import usable
from memesearch.search.index.settings import IndexSettings
from memesearch.search.live import LiveIndex
from memesearch.search.query import Searcher
from memesearch.search.rebuild import rebuild
from memesearch.thumbs.folder import check
from memesearch.thumbs.formats import chosen
from memesearch.thumbs.stage import ThumbnailStage
from memesearch.thumbs.thumbnailer import Thumbnailer
from memesearch.web import beside, errors_as_answers, run_program, same_origin, serve

log = logging.getLogger("mse")
SERVICE_SECONDS = 60  # how long `no_run_server` waits for an embedding service that is still starting
ATTEMPTS = 5  # after which a service that comes and goes is given up
HERE = Path(__file__).resolve().parent


@asynccontextmanager
async def open_library(config: MseConfig) -> AsyncIterator[Library]:
    """The library with its database and client, closed again at the end."""
    limits = Limits(config.decode_workers or usable_cores(), config.requests_in_flight)
    settings = index_settings(config, config.no_run_server)
    async with AsyncExitStack() as stack:
        if settings.folder is not None:
            stack.enter_context(own_index(settings.folder, settings.uri))
        store = await stack.enter_async_context(Store.open(Path(config.db_path)))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        library = Library(Path(config.files), store, ClipClient(config.clip_server, session), limits, settings)
        stack.push_async_callback(library.close)
        await library.open()
        yield library


def index_folder(config: MseConfig) -> Path:
    """Where the indexes of a database are kept, and what is known of one that Milvus keeps."""
    return Path(config.db_path + ".index")


def own_index(folder: Path, uri: str) -> FileLock:
    """Be the only program that changes the index. Raises ConfigError, also when Milvus could never be asked."""
    if uri:
        usable(uri)
    return alone(folder)


def index_settings(config: MseConfig, once: bool = False) -> IndexSettings:
    """What the configuration says of the index; who only indexes once keeps none."""
    return IndexSettings(
        folder=None if once else index_folder(config),
        type=config.index.type,
        uri=config.index.uri,
        token=config.index.token,
        memory_mb=config.index_memory_mb,
        recall_target=config.index_recall_target,
    )


async def rebuild_index(config: MseConfig) -> int:
    """`--rebuild-index`: fill the index from the database; broken off, the next call goes on."""
    if not os.path.isfile(config.db_path):
        raise ConfigError(f"`db_path`: there is no database {config.db_path} to build an index of")
    with own_index(index_folder(config), config.index.uri):
        task = asyncio.create_task(fill_index(config))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            print("stopped before the index was complete; the next --rebuild-index goes on from here", file=sys.stderr)
            return 1
    return 0


async def fill_index(config: MseConfig) -> None:
    async with Store.open(Path(config.db_path)) as store:
        active = await store.active_model()
        if active is None:
            print("nothing is indexed yet, so there is nothing to build an index of")
            return
        index = LiveIndex(store, *active, index_settings(config))
        try:
            await rebuild(index, index_folder(config))
            stats = index.vectors.stats()
            print(f"{stats.contents} pictures ({stats.vectors} vectors) are in the {stats.kind} index")
        finally:
            await index.close()


def read_predefined(path: str | None) -> dict[str, list[float]]:
    """Named directions: a JSON object of name to list of numbers."""
    if path is None:
        return {}
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=dict[str, list[float]])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"`predefined_embeddings`: {path} cannot be used: {error}") from error


def make_app(config: MseConfig, library: Library, page: Path) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[errors_as_answers, same_origin])
    app[BODIES] = Limit("bytes of requests", MAX_BODIES_BYTES)
    app[CONFIG], app[LIBRARY], app[PAGE] = config, library, page
    app[SEARCHER] = Searcher(library.store, library.client, read_predefined(config.predefined_embeddings))
    if config.taste is not None:
        if ME in app[SEARCHER].predefined:
            raise ConfigError(f"`predefined_embeddings` has a direction named {ME!r}, which `taste` brings; rename it")
        app[TASTE] = Taste(Path(config.taste))
    folder = Path(config.thumbnails) if config.thumbnails else None
    kinds = chosen(config.thumbnail_formats, "thumbnail_formats")
    if folder is not None and kinds:
        check(folder, library.root)
        thumbnailer = Thumbnailer(library.store, library.root, folder, kinds, config.decode_workers or usable_cores())
        app[STAGE] = ThumbnailStage(thumbnailer, library.indexing)
        library.news.append(app[STAGE].news)
    app.cleanup_ctx.append(background_work)
    for routes in (protocol, api, status, files, proxy):
        routes.add_routes(app)
    return app


async def background_work(app: web.Application) -> AsyncIterator[None]:
    """Index at start and after changes of the folder; make thumbnails and read texts whenever there is time."""
    library = app[LIBRARY]
    work = [keep_in_step(library), library.tend_index()]
    if app[CONFIG].watch:
        work.append(FolderWatch(library.root, partial(library.reload, asked=False)).run())
    if app[CONFIG].ocr:
        work.append(library.texts.run())
    if STAGE in app:
        work.append(app[STAGE].run())
    async with beside(*work):
        yield
    if STAGE in app:
        await app[STAGE].close()


async def index_once(library: Library) -> int:
    """`no_run_server`: index, print a summary and the files that could not be read."""
    summary = await reload_steadily(library)
    print(
        f"{summary.looked_at} files looked at, {summary.added_or_changed} new or changed, "
        f"{summary.gone} gone, {summary.failures} could not be read"
    )
    for path, reason, _ in await library.store.failures(summary.failures, 0):
        print(f"{path!r}: {reason}")
    return 0


async def reload_steadily(library: Library) -> Summary:
    """One reload, however often the embedding service starts anew meanwhile. Raises Unavailable."""
    for _ in range(ATTEMPTS):
        try:
            async with asyncio.timeout(SERVICE_SECONDS):
                await library.client.wait_until_ready(lambda reason: log.warning("waiting: %s", reason))
        except TimeoutError as error:
            raise Unavailable(f"{library.client.problem}; start it, then index again") from error
        try:
            return await library.reload()
        except Unavailable as error:
            if library.client.problem is None:  # something else is wrong
                raise
            log.warning("%s", error)
    raise Unavailable(f"the embedding service failed {ATTEMPTS} times; what was indexed before stays")


async def main(config: MseConfig) -> int:
    if not os.path.isdir(config.files):
        raise ConfigError(f"`files`: {config.files} is not a folder")
    async with open_library(config) as library:
        if config.no_run_server:
            task = asyncio.create_task(index_once(library))
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            try:
                return await task
            except asyncio.CancelledError:
                return 0
        await serve(make_app(config, library, HERE / "clipfront2" / "static"), config.host, config.port)
    return 0


if __name__ == "__main__":
    if sys.argv[2:] == ["--rebuild-index"]:
        raise SystemExit(run_program(MseConfig, rebuild_index, sys.argv[:2]))
    raise SystemExit(run_program(MseConfig, main, sys.argv, " [--rebuild-index]"))
