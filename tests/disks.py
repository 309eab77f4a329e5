"""Small disks, to be filled."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own at `place`, which is made; `size` as mount(8) takes it: "64k", "2m"."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk for this test")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk; the file that takes it, to be deleted for it to have room again."""
    path = disk / "fill"
    with path.open("wb", buffering=0) as filling, pytest.raises(OSError, match="No space"):
        while True:
            filling.write(bytes(4096))
    return path
