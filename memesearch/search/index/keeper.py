"""The folder of an index: which files make it up, how far they follow the database, and who else uses it.

`manifest.json` is replaced in one moment, after everything it names is on disk; what it no longer names goes
afterwards. The index is derived: deleting the folder costs only the time to build it again.
"""

import contextlib
import shutil
from pathlib import Path

import msgspec

from memesearch.durable import synchronise
from memesearch.errors import ConfigError
from memesearch.file_lock import FileLock, Taken
from memesearch.library.records import Position
from memesearch.search.index.base import Effort, QueryKind, Snapshot, written_for
from memesearch.search.index.build import ROTATION
from memesearch.search.index.files import Unusable

FORMAT = 1
MANIFEST, LOCK = "manifest.json", "lock"


class Manifest(msgspec.Struct):
    """What `manifest.json` says."""

    format: int
    model_id: str
    dimensions: int
    position: Position
    snapshot: Snapshot
    efforts: dict[QueryKind, Effort] = {}


def alone(folder: Path) -> FileLock:
    """Be the only program that changes what lies in a folder, which is made where it is missing.

    It is the folder of one index, or the one for all indexes of a database, wherever they are kept.

    Raises:
        ConfigError: another program does, or the folder cannot be written.
    """
    try:
        return FileLock(folder / LOCK)
    except Taken as error:
        raise ConfigError(f"{folder} is used by {error}: is mse.py running already?") from error
    except OSError as error:
        raise ConfigError(f"{folder}: the index cannot be kept there: {error.strerror}") from error


class Keeper:
    """One index's folder. Only one process has it at a time."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError when another process has it, or it cannot be written."""
        self.folder = folder
        self._lock = alone(folder)

    def close(self) -> None:
        self._lock.close()

    def load(self, model_id: str, dimensions: int) -> Manifest | None:
        """What was kept last for this model; None when nothing was. Raises Unusable."""
        path = self.folder / MANIFEST
        if not path.exists():
            return None
        try:
            raw = path.read_bytes()
            kept = msgspec.json.decode(raw, type=dict)
            if kept.get("format") != FORMAT:
                raise Unusable(f"it was made by another version (format {kept.get('format')}, here {FORMAT})")
            manifest = msgspec.json.decode(raw, type=Manifest)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unusable(f"{MANIFEST}: {error}") from error
        if (manifest.model_id, manifest.dimensions) != (model_id, dimensions):
            raise Unusable(f"it holds vectors of another model ({manifest.model_id}, {manifest.dimensions} numbers)")
        return manifest

    def keep(self, manifest: Manifest) -> None:
        """Make this what `load` finds. Raises OSError."""
        synchronise(self.folder)
        temporary = self.folder / (MANIFEST + ".new")
        try:
            temporary.write_bytes(msgspec.json.encode(manifest))
            synchronise(temporary)
            temporary.rename(self.folder / MANIFEST)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        with contextlib.suppress(OSError):  # it is kept; after a power cut the one before may be
            synchronise(self.folder)

    def forget(self) -> None:
        """Let `load` find nothing."""
        (self.folder / MANIFEST).unlink(missing_ok=True)

    def remove(self, names: set[str]) -> None:
        """Delete files and folders of segments."""
        for name in names:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def remove_all_but(self, snapshot: Snapshot | None) -> None:
        """Delete what a crash or an older snapshot has left. Only before the index is used."""
        kept = {MANIFEST, LOCK, ROTATION} | (names_of(snapshot) if snapshot else set())
        self.remove({path.name for path in self.folder.iterdir()} - kept)


def names_of(snapshot: Snapshot) -> set[str]:
    """Files and folders that a snapshot needs."""
    return written_for(snapshot) | {sealed.name for sealed in snapshot.segments}
