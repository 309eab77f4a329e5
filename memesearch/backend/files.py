"""Serving files: the library's pictures, thumbnails when there are some, and the page's own."""

import mimetypes
import os
from pathlib import Path

from aiohttp import web

from memesearch.backend.parts import CONFIG, LIBRARY, PAGE
from memesearch.errors import NotFound
from memesearch.library.library import Library
from memesearch.thumbs.formats import NAME, thumbnail_id

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",  # a picture opened by itself runs nothing
}
TYPES = {
    ".jxl": "image/jxl",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".webp": "image/webp",
    ".jfif": "image/jpeg",
    ".jpe": "image/jpeg",
    ".mpo": "image/jpeg",
    ".apng": "image/apng",
}


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


async def page_file(request: web.Request) -> web.StreamResponse:
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return send(request.app[PAGE], request.match_info["path"], headers)


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


def content_type(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower()
    return TYPES.get(suffix) or mimetypes.guess_type("x" + suffix)[0] or "application/octet-stream"


def send(root: Path, path: str, headers: dict[str, str]) -> web.FileResponse:
    """A file below `root` with ranges, ETag and Last-Modified. Raises NotFound for anything else."""
    return web.FileResponse(find(root, path, root), headers=headers)


def find(root: Path, path: str, *allowed: Path) -> str:
    """Where `root / path` really is, if that is a file below one of `allowed`. Raises NotFound."""
    try:
        target = os.path.realpath(root / path)
        if (
            os.path.isfile(target)
            and os.access(target, os.R_OK)
            and any(os.path.commonpath([real, target]) == real for real in map(os.path.realpath, allowed))
        ):
            return target
    except ValueError:  # a NUL byte in the name
        pass
    raise NotFound("there is no such file")


def add_routes(app: web.Application) -> None:
    app.router.add_get("/pictures/{path:(?s:.+)}", picture)
    app.router.add_get("/thumbs/{path:.+}", thumbnail)
    app.router.add_get("/static/{path:.+}", page_file)
