"""Serving files: the library's pictures, thumbnails when there are some, and the page's own."""

import os
from pathlib import Path

from aiohttp import web

from memesearch.backend.parts import CONFIG, LIBRARY, PAGE
from memesearch.errors import NotFound
from memesearch.inside import SAFE, add_page_files, content_type, find, send
from memesearch.library.library import Library
from memesearch.thumbs.formats import NAME, thumbnail_id


async def picture(request: web.Request) -> web.StreamResponse:
    """A picture of the library; only files that are indexed are given out."""
    path = request.match_info["path"]
    if await request.app[LIBRARY].store.content_at(path) is None:
        raise NotFound("the library has no such picture")
    # browsers keep it, but ask with its ETag whether it is still the same: files may be edited
    headers = {**SAFE, "Cache-Control": "private, no-cache", "Content-Type": content_type(path)}
    return send(request.app[LIBRARY].root, path, headers)


async def thumbnail(request: web.Request) -> web.StreamResponse:
    folder = request.app[CONFIG].thumbnails
    if folder is None:
        raise NotFound("there are no thumbnails: `thumbnails` is not set in the configuration")
    path = request.match_info["path"]
    if not NAME.fullmatch(path):
        raise NotFound("there is no such thumbnail")
    # where the picture itself is smaller than a thumbnail of it, the thumbnail is a link to it
    library = request.app[LIBRARY]
    target = find(Path(folder), path, Path(folder), library.root)
    if os.path.islink(Path(folder) / path):
        await check_source(library, os.path.relpath(target, os.path.realpath(library.root)), path)
    headers = {**SAFE, "Cache-Control": "public, max-age=31536000, immutable", "Content-Type": content_type(target)}
    return web.FileResponse(target, headers=headers)


async def check_source(library: Library, file: str, thumbnail_path: str) -> None:
    """Raises NotFound unless `file` is indexed as the picture of this thumbnail and has not been touched since."""
    known = await library.store.file_at(file)
    try:
        info = (library.root / file).stat()
    except OSError as error:
        raise NotFound("there is no such thumbnail any more") from error
    if (
        known is None
        or not thumbnail_path.startswith(thumbnail_id(known[0]))
        or (info.st_mtime_ns, info.st_size) != known[1:]
    ):
        raise NotFound("there is no such thumbnail any more")


def add_routes(app: web.Application) -> None:
    app.router.add_get("/pictures/{path:(?s:.+)}", picture)
    app.router.add_get("/thumbs/{path:.+}", thumbnail)
    add_page_files(app, app[PAGE])
