"""The folder of thumbnails: what is in it, one at a time may write it, and no scan takes it for pictures."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from memesearch.errors import ConfigError, Unavailable
from memesearch.file_lock import FileLock, Taken
from memesearch.library.scan import CACHE_TAG, CACHE_TAG_NAME, is_cache
from memesearch.thumbs.formats import BY_NAME
from memesearch.thumbs.worker import TEMPORARY, put

LOCK = ".lock"
OURS = {LOCK, CACHE_TAG_NAME, "formats.json"}  # what a run that hardly began may leave
TAG = f"{CACHE_TAG}\n# Thumbnails of a meme library: they can be deleted and are made anew.\n"
SHARDS = 256  # folders, by the first byte of the hash


class Busy(Unavailable):
    """Another run is making these thumbnails."""


class Listing(msgspec.Struct):
    """One shard, by hash: the formats that are there, the files, and the links among them with where they lead."""

    formats: dict[bytes, set[str]] = {}
    files: dict[bytes, list[str]] = {}
    links: dict[bytes, list[tuple[str, str]]] = {}


def check(output: Path, pictures: Path) -> None:
    """Raises ConfigError where thumbnails, and the tag that says that all here can be made anew, must not go."""
    real, originals = Path(os.path.realpath(output)), Path(os.path.realpath(pictures))
    if real == originals or real in originals.parents:
        raise ConfigError(f"{output} holds the pictures themselves; thumbnails need a folder of their own")
    if (
        real.is_dir()
        and not is_cache(real)
        and any(entry.name not in OURS and not entry.name.endswith(TEMPORARY) for entry in os.scandir(real))
    ):
        raise ConfigError(f"{output} holds other files already; thumbnails need a folder of their own")


@contextlib.contextmanager
def locked(output: Path) -> Iterator[None]:
    """Make the folder, and keep others from writing it. Raises Busy, Unavailable."""
    try:
        lock = FileLock(output / LOCK)
    except Taken as error:
        raise Busy(f"another run is making the thumbnails in {output} ({error})") from error
    except OSError as error:
        raise Unavailable(f"{output} cannot be used for thumbnails: {error.strerror}") from error
    with lock:
        if not is_cache(output):
            put(output / CACHE_TAG_NAME, TAG.encode(), "")
        yield


def list_shard(output: Path, shard: int) -> Listing:
    """What is there; what a killed run left half written is deleted."""
    listing = Listing({}, {}, {})
    try:
        entries = list(os.scandir(output / f"{shard:02x}"))
    except FileNotFoundError:
        return listing
    for entry in entries:
        if entry.name.endswith(TEMPORARY) and not entry.is_dir(follow_symlinks=False):
            Path(entry.path).unlink()
            continue
        stem, _, rest = entry.name.partition(".")
        kind = BY_NAME.get(rest.partition(".")[0])
        try:
            digest = bytes.fromhex(f"{shard:02x}{stem}")
        except ValueError:
            continue  # not ours
        if kind is None or rest != f"{kind.name}.{kind.extension}":
            continue
        listing.files.setdefault(digest, []).append(entry.path)
        listing.formats.setdefault(digest, set()).add(kind.name)
        if entry.is_symlink():
            listing.links.setdefault(digest, []).append((entry.path, str(Path(entry.path).readlink())))
    return listing


def remove(listing: Listing, digest: bytes) -> int:
    """Delete all thumbnails of one picture; returns how many."""
    for path in listing.files[digest]:
        Path(path).unlink()
    listing.formats.pop(digest, None)
    return len(listing.files[digest])


def correct_links(listing: Listing, sources: dict[bytes, str]) -> None:
    """Let links to pictures that were renamed lead to where they are now, by hash."""
    for digest, links in listing.links.items():
        source = sources.get(digest)
        for path, target in links:
            if source is not None and source != target:
                put(Path(path), None, source)
