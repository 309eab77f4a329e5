"""Files of an index: names that are never used twice, checksums, and waiting until the disk has them."""

import hashlib
import uuid
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from memesearch.durable import synchronise


class Unusable(Exception):
    """Files of an index that are damaged, incomplete or not of this version; the text says which and how."""


class Rows(msgspec.Struct):
    """Ids and vectors written down: `count` of them, with the BLAKE2b sum of the ids."""

    name: str
    count: int
    sum: str

    @property
    def ids(self) -> str:
        return self.name + ".i64"

    @property
    def vectors(self) -> str:
        return self.name + ".f16"

    def check(self, folder: Path, dimensions: int) -> None:
        """Raises Unusable when the files are not what was written."""
        expected = self.count * dimensions * 2
        try:
            size = (folder / self.vectors).stat().st_size
            if size != expected:
                raise Unusable(f"{self.vectors} has {size:,} bytes, not {expected:,}")
            if checksum(folder / self.ids) != self.sum:
                raise Unusable(f"{self.ids} is damaged")
        except OSError as error:
            raise Unusable(f"{self.name}: {error}") from error


class Sealed(msgspec.Struct):
    """A segment's folder, the file with a bit for each of its rows that is alive, and that file's BLAKE2b sum."""

    name: str
    alive: str
    sum: str


def new_name(kind: str) -> str:
    """A name that no file has had or will have."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Until the disk has it; no file is left when it cannot. numpy's `tofile` does not tell when a disk is full.

    Raises:
        OSError: it cannot be written.
    """
    try:
        path.write_bytes(array.tobytes())
        synchronise(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise
