"""Worker process: writes the thumbnails of one picture.

Runs as `python -m memesearch.thumbs.worker`, started by workers.py, at the lowest priority.
"""

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec

from memesearch import picture
from memesearch.content_hash import hash_bytes
from memesearch.errors import UnreadablePicture
from memesearch.thumbs.formats import BY_NAME, Format, file_name, thumbnail_id
from memesearch.thumbs.make import Source
from memesearch.workers import answer_requests

MEMORY_BYTES = 6 * 2**30
TEMPORARY = ".part"


class MakeRequest(msgspec.Struct):
    """A picture's file, the hash its bytes must have, and the thumbnails that are missing."""

    path: str
    digest: bytes
    output: str
    formats: list[str]


class Made(msgspec.Struct):
    """What came of it.

    Attributes:
        made: names of the formats whose files are there now.
        problems: why others cannot be made, by format; all of them when the picture cannot be read.
        lasting: the picture is at fault; if not, it is worth trying again.
        changed: the file is gone or holds other bytes; nothing was made.
        trouble: nothing can be written, and why; it is not the picture's fault.
    """

    made: list[str] = []
    problems: dict[str, str] = {}
    lasting: bool = True
    changed: bool = False
    trouble: str | None = None


def make(request: MakeRequest) -> Made:
    kinds = [BY_NAME[name] for name in request.formats]
    try:
        raw = Path(request.path).read_bytes()
    except FileNotFoundError:
        return Made(changed=True)
    except OSError as error:
        return Made(problems=dict.fromkeys(request.formats, f"cannot be read: {error.strerror}"), lasting=False)
    if hash_bytes(raw) != request.digest:
        return Made(changed=True)
    try:
        with picture.one_at_a_time_if_large(picture.open_picture(raw), "thumbnails"):
            return make_of(Source(raw, kinds), request, kinds)
    except UnreadablePicture as error:
        return Made(problems=dict.fromkeys(request.formats, str(error)))


def make_of(source: Source, request: MakeRequest, kinds: Sequence[Format]) -> Made:
    identifier = thumbnail_id(request.digest)
    answer = Made()
    for kind in kinds:
        try:
            encoded = source.thumbnail(kind)
        except Exception as error:  # encoders raise whatever they like on sizes that they cannot hold
            answer.problems[kind.name] = f"cannot be encoded: {error or type(error).__name__}"
            continue
        try:
            put(Path(request.output) / file_name(identifier, kind), encoded, request.path)
        except OSError as error:
            answer.trouble = f"{error.filename2 or error.filename} cannot be written: {error.strerror}"
            return answer
        answer.made.append(kind.name)
    return answer


def put(target: Path, encoded: bytes | None, source: str) -> None:
    """Put a file, or (None) a link to the source, in its place at once: nobody ever sees half of it."""
    target.parent.mkdir(exist_ok=True)
    # the name is this process's own: a killed run's worker may still be writing
    part = target.with_name(f"{target.name}.{os.getpid()}{TEMPORARY}")
    try:
        if encoded is None:
            part.unlink(missing_ok=True)
            part.symlink_to(source)
        else:
            part.write_bytes(encoded)
        part.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_requests(make, MakeRequest, niceness=19, memory_bytes=MEMORY_BYTES)
