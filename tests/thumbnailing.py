"""Libraries for the tests of thumbnails: a database that says what is indexed, without an embedding service."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from launched import PROJECT
from PIL import Image

from memesearch.content_hash import hash_bytes
from memesearch.library.records import Content, FileStat
from memesearch.library.store import Store
from memesearch.thumbs.formats import BY_NAME, NAME, file_name, thumbnail_id


class Library:
    """A folder of pictures, its database, and thumbnailer.py with its config."""

    def __init__(self, folder: Path, output: Path | None = None, **more: Any) -> None:
        self.folder, self.pictures = folder, folder / "pictures"
        self.output = output or folder / "thumbnails"
        self.database, self.config = folder / "library.db", folder / "thumbnailer_config.json"
        self.pictures.mkdir(exist_ok=True)
        settings = {"input": "pictures", "output": str(self.output), "database": "library.db", "workers": 2}
        self.config.write_text(json.dumps({**settings, **more}))

    def index(self, names: Iterable[str]) -> None:
        """Let the database say exactly this: these files, with the bytes they have now."""
        asyncio.run(self._index(list(names)))

    async def _index(self, names: list[str]) -> None:
        async with Store.open(self.database) as store:
            model = await store.model_number("model", 1)
            known = await store.known_files()
            rows = []
            for name in names:
                digest = hash_bytes((self.pictures / name).read_bytes())
                rows.append((Content(digest, "image", 1, 1, 1), [b"\0\0"], [FileStat(name, 0, 0)]))
            await store.add(model, rows)
            await store.remove([path for path in known if path not in set(names)])

    def command(self, *more: str) -> list[str]:
        return [sys.executable, str(PROJECT / "thumbnailer.py"), str(self.config), *more]

    def run(self, *more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.command(*more), capture_output=True, text=True, timeout=300, check=False)

    def thumbnail(self, name: str, kind: str) -> Path:
        digest = hash_bytes((self.pictures / name).read_bytes())
        return self.output / file_name(thumbnail_id(digest), BY_NAME[kind])

    def files(self) -> set[str]:
        """Everything in the output folder that has the name of a thumbnail, and whatever else lies among them."""
        return {
            str(path.relative_to(self.output))
            for path in self.output.glob("??/*")
            if NAME.fullmatch(str(path.relative_to(self.output))) or path.name.endswith(".part")
        }


def paint(path: Path, seed: int, size: tuple[int, int] = (500, 400)) -> None:
    """A picture of smooth noise, larger as a PNG than any thumbnail of it; different for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path)
