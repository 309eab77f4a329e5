"""Indexing end to end (files on disk to searchable) beside the bare model's forward on the same pictures.

    python bench/indexing.py [MODEL] [--precision auto] [--pictures 1000]

MODEL is `demo` or an OpenCLIP architecture (random weights: speed does not depend on them). Baselines in the
same run, on the same cores and in the same precision: (a) the forward alone, over the same pictures
decoded and fitted beforehand; (b) what the cores can do at best when they also have to decode: the forward,
and decoding alone in the backend's workers, one after the other; (c) a loop that decodes and embeds in one
process, a batch at a time.
"""

import argparse
import asyncio
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import PROJECT, backend, embedding_service, get_json, wait_for
from models import model_for
from PIL import Image

sys.path.insert(0, str(PROJECT))
from memesearch import picture
from memesearch.clip.loading import load_model
from memesearch.clip.model import ClipModel, pick_device
from memesearch.clip.precision import choose_precision, name_of
from memesearch.content_hash import hash_bytes
from memesearch.library.decode_worker import Decoded, DecodeRequest
from memesearch.machine import usable_cores
from memesearch.workers import WorkerPool

BATCH = 64
ROUNDS = 3


def make_pictures(folder: Path, count: int) -> list[Path]:
    """The sample library's pictures, repeated with one pixel changed, so that no two have the same bytes."""
    subprocess.run([sys.executable, str(PROJECT / "demo/sample_library.py"), str(folder / "sample")], check=True)
    sources = sorted(path for path in (folder / "sample").rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(count):
        image = Image.open(sources[number % len(sources)]).convert("RGB")
        image.putpixel((0, 0), (number % 256, number // 256, 0))
        image.save(pictures / f"{number:06}.jpg", quality=90)
    return sorted(pictures.iterdir())


def forward_rate(model: ClipModel, files: list[Path]) -> float:
    fitted = [picture.pixels(path.read_bytes(), model.loaded.preprocessing) for path in files[: 4 * BATCH]]
    batches = [np.stack(fitted[start : start + BATCH]) for start in range(0, len(fitted), BATCH)]
    model.encode_pixels(batches[0])
    started, done = time.perf_counter(), 0
    while done < len(files):
        batch = batches[done // BATCH % len(batches)]
        model.encode_pixels(batch)
        done += len(batch)
    return done / (time.perf_counter() - started)


async def decoding_rate(model: ClipModel, files: list[Path]) -> float:
    """The backend's workers alone."""
    pool = WorkerPool("memesearch.library.decode_worker", usable_cores(), 60)
    todo = iter(files)

    async def decode(files: Iterator[Path]) -> None:
        for path in files:
            raw = path.read_bytes()
            await pool.call(DecodeRequest(str(path), hash_bytes(raw), model.loaded.preprocessing), Decoded)

    await asyncio.gather(*(decode(iter(files[:8])) for _ in range(usable_cores())))  # starts the workers
    started = time.perf_counter()
    await asyncio.gather(*(decode(todo) for _ in range(usable_cores() + 1)))
    rate = len(files) / (time.perf_counter() - started)
    await pool.close()
    return rate


def plain_loop_rate(model: ClipModel, files: list[Path]) -> float:
    started = time.perf_counter()
    for start in range(0, len(files), BATCH):
        raws = [path.read_bytes() for path in files[start : start + BATCH]]
        images = [picture.fit(picture.to_rgb(Image.open(io.BytesIO(raw))), model.loaded.preprocessing) for raw in raws]
        model.encode_pixels(np.stack([np.asarray(image) for image in images]))
    return len(files) / (time.perf_counter() - started)


def indexing_rate(folder: Path, service: str, count: int) -> float:
    for old in folder.glob("library.db*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    started = time.perf_counter()
    with backend(folder, service, folder / "pictures") as (url, _):
        wait_for(lambda: get_json(url)["n_total"] == count)
        return count / (time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--pictures", type=int, default=1000)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"forward": [], "possible": [], "loop": [], "indexing": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = model_for(options.model, folder)
        files = make_pictures(folder, options.pictures)
        model = choose_precision(load_model(source, None, folder), pick_device("cpu"), options.precision)
        for number in range(ROUNDS):
            rates["forward"].append(forward_rate(model, files))
            decoding = asyncio.run(decoding_rate(model, files))
            rates["possible"].append(1 / (1 / rates["forward"][-1] + 1 / decoding))
            rates["loop"].append(plain_loop_rate(model, files))
            with embedding_service(folder, source, BATCH, precision=options.precision) as service:
                rates["indexing"].append(indexing_rate(folder, service, len(files)))
            latest = {key: round(values[-1], 1) for key, values in rates.items()}
            print(f"round {number + 1} of {ROUNDS}: {latest} pictures/s", file=sys.stderr)
    figures: dict[str, Any] = {
        "model": options.model,
        "precision": name_of(model.dtypes.vision),
        "pictures": options.pictures,
    }
    figures |= {f"{key}_per_s": round(statistics.median(values), 1) for key, values in rates.items()}
    for key in ("forward", "possible", "loop"):
        ratios = [ours / other for ours, other in zip(rates["indexing"], rates[key], strict=True)]
        figures[f"indexing_to_{key}"] = round(statistics.median(ratios), 3)
    print(f"indexing runs at {figures['indexing_to_forward']} of the bare forward,")
    print(f"at {figures['indexing_to_possible']} of what the cores can do when they also decode,")
    print(f"and at {figures['indexing_to_loop']} of the plain loop")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
