"""A library of random vectors and an embedding service without a model, for bench/memory.py and bench/search.py.

The service only says which model it has; nothing in those benchmarks asks it to embed.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import numpy as np
from common import PROJECT, free_port

sys.path.insert(0, str(PROJECT))
from memesearch.library.records import Content
from memesearch.library.scan import scan
from memesearch.library.store import Store

BATCH = 500
LINKS = 50_000  # to one file; ext4 allows 65,000


@contextmanager
def embedding_stub(dimensions: int) -> Iterator[tuple[str, str]]:
    """Address and model_id of a service that answers `GET /config`."""
    config = {"model": "stub", "batch": 64, "image_size": [8, 8], "embedding_size": dimensions, "model_id": "stub-1"}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(msgspec.msgpack.encode(config))

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", free_port()), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", "stub-1"
    server.shutdown()


def vectors(count: int, dimensions: int, seed: int = 0) -> "np.ndarray[tuple[int, ...], np.dtype[np.float16]]":
    """float16 unit vectors [count, dimensions]."""
    rows = np.random.default_rng(seed).standard_normal((count, dimensions), dtype=np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def fill_library(folder: Path, count: int, dimensions: int, model_id: str, rows: "np.ndarray | None" = None) -> Path:
    """`folder`/library.db and `folder`/pictures with `count` files that agree; returns the pictures' folder.

    `rows`: float16 [count, dimensions]; random ones when absent.
    """
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(count):
        first = pictures / f"{number // LINKS * LINKS:08}.jpg"
        if number % LINKS:
            os.link(first, pictures / f"{number:08}.jpg")
        else:
            first.write_bytes(b"x")
    rows = vectors(count, dimensions) if rows is None else rows
    asyncio.run(store_all(folder / "library.db", pictures, rows, model_id))
    return pictures


async def store_all(database: Path, pictures: Path, rows: "np.ndarray", model_id: str) -> None:
    async with Store.open(database) as store:
        model = await store.model_number(model_id, rows.shape[1])
        await store.activate_model(model)
        files = sorted(scan(pictures).files.values(), key=lambda file: file.path)
        for start in range(0, len(files), BATCH):
            items = [
                (Content(number.to_bytes(16), "image", 640, 480, 1), [rows[number].tobytes()], [files[number]])
                for number in range(start, min(start + BATCH, len(files)))
            ]
            await store.add(model, items)
