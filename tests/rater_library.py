"""A library of made pictures whose vectors carry a made taste, for tests of the rater's programs."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from launched import free_port
from numpy.typing import NDArray
from services import Program, configure_pictures, digest, draw

from memesearch.library.records import Content
from memesearch.library.scan import scan
from memesearch.library.store import Store

DIMENSIONS = 24
MODEL_ID = "made-1"


def unit_vectors(count: int, seed: int = 0, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    """float32 [count, dimensions]; the taste that tests suppose is the first number, the higher the better."""
    rows = np.random.default_rng(seed).standard_normal((count, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def name_of(number: int) -> str:
    return f"{number % 7:02x}/meme {number:04}.png"


def add_to_library(folder: Path, vectors: NDArray[np.float32], first: int = 0) -> None:
    """Draw pictures `first`… below `folder`/images and store them with their vectors, as indexing would."""
    with ThreadPoolExecutor(1) as pool:  # Playwright keeps a loop running in the tests' own thread
        pool.submit(asyncio.run, store_pictures(folder, vectors, first)).result()


async def store_pictures(folder: Path, vectors: NDArray[np.float32], first: int) -> None:
    pictures = folder / "images"
    for number in range(first, first + len(vectors)):
        draw(pictures / name_of(number), number, (160 + number % 5 * 40, 120 + number % 3 * 60))
    async with Store.open(folder / "images.db") as store:
        model = await store.model_number(MODEL_ID, vectors.shape[1])
        await store.activate_model(model)
        files = {file.path: file for file in scan(pictures).files.values()}
        items = []
        for number, vector in enumerate(vectors, first):
            file = files[name_of(number)]
            content = Content(digest(pictures / file.path), "image", 160, 120, 1)
            items.append((content, [vector.astype("<f2").tobytes()], [file]))
        await store.add(model, items)


def rater_config(folder: Path, **more: Any) -> Path:
    """rater_config.json beside the library."""
    configure_pictures(folder)
    config = folder / "rater_config.json"
    config.write_text(json.dumps({"rater_port": free_port(), **more}))
    return config


def rater(folder: Path, vectors: NDArray[np.float32], **more: Any) -> Program:
    """A configured rater over a made library, not started."""
    (folder / "images").mkdir(exist_ok=True)
    add_to_library(folder, vectors)
    config = rater_config(folder, **more)
    return Program("meme-rater/rater_server.py", config, json.loads(config.read_text())["rater_port"])
