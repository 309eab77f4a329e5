"""Files given out over HTTP: only those that really lie inside a folder, and in a way that they run nothing."""

import mimetypes
import os
from pathlib import Path

from aiohttp import web

from memesearch.errors import NotFound

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
PAGE_FILE = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}


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


def add_page(app: web.Application, folder: Path, name: str) -> None:
    """Serve a built page of `folder` at the root, and what belongs to it."""

    async def root(_request: web.Request) -> web.StreamResponse:
        return page(folder, name)

    app.router.add_get("/", root)
    add_page_files(app, folder)


def add_page_files(app: web.Application, folder: Path) -> None:
    """Serve scripts, styles and icons of the built pages."""

    async def page_file(request: web.Request) -> web.StreamResponse:
        return send(folder, request.match_info["path"], PAGE_FILE)

    app.router.add_get("/static/{path:.+}", page_file)


def page(folder: Path, name: str) -> web.FileResponse:
    """A built page. Raises NotFound when it was not built."""
    if not (folder / name).is_file():
        raise NotFound("the page has not been built: run `make page`")
    return web.FileResponse(folder / name, headers={"Cache-Control": "no-cache"})
