"""Resizing and decoding pictures for a model: our resizing beside Pillow's and PyTorch's, one core, one run.

    python bench/resize.py [--pictures 80] [--rounds 7]

JPEGs of real sizes, made by the script, to the 224 pixels of ViT-B-32: milliseconds a picture (medians), how many
values differ from Pillow's, and what a whole picture costs a decoding worker with either.
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import PROJECT
from pictures import make_jpegs
from PIL import Image

sys.path.insert(0, str(PROJECT))
from memesearch import picture
from memesearch.content_hash import hash_bytes
from memesearch.library.decode_worker import read_picture
from memesearch.picture import Preprocessing
from memesearch.resize import resize

WANT = Preprocessing(224, 224)
BICUBIC = Image.Resampling.BICUBIC


def fitted_size(image: Image.Image) -> tuple[int, int]:
    short = min(image.size)
    width, height = (WANT.width if side == short else int(WANT.width * side / short) for side in image.size)
    return width, height


def by_pillow(image: Image.Image) -> Any:
    return image.resize(fitted_size(image), BICUBIC)


def by_ours(image: Image.Image) -> Any:
    return resize(image, fitted_size(image), BICUBIC)


def by_torch(image: Image.Image) -> Any:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    width, height = fitted_size(image)
    resized = torch.nn.functional.interpolate(pixels, (height, width), mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def milliseconds(work: Callable[[Any], Any], items: list[Any], rounds: int) -> float:
    """Median over the rounds of the mean of an item."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        for item in items:
            work(item)
        taken.append((time.perf_counter() - started) / len(items) * 1000)
    return statistics.median(taken)


def share_unlike_pillow(work: Callable[[Image.Image], Any], images: list[Image.Image]) -> float:
    return float(np.mean([(np.asarray(work(image)) != np.asarray(by_pillow(image))).mean() for image in images]))


def decode(raw: bytes) -> None:
    read_picture(raw, hash_bytes(raw), WANT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        raws = [path.read_bytes() for path in make_jpegs(Path(name), options.pictures)]
    images = [Image.open(io.BytesIO(raw)).convert("RGB") for raw in raws]
    pillow, ours, by_pytorch = (milliseconds(way, images, options.rounds) for way in (by_pillow, by_ours, by_torch))
    decoding = milliseconds(decode, raws, options.rounds)
    picture.resize = lambda image, size, resample, window: image.resize(size, resample).crop(window)  # as without ours
    decoding_with_pillow = milliseconds(decode, raws, options.rounds)
    figures = {
        "pillow_ms": round(pillow, 3),
        "ours_ms": round(ours, 3),
        "torch_ms": round(by_pytorch, 3),
        "ours/pillow": round(ours / pillow, 3),
        "torch/pillow": round(by_pytorch / pillow, 3),
        "ours_unlike_pillow": round(share_unlike_pillow(by_ours, images), 5),
        "torch_unlike_pillow": round(share_unlike_pillow(by_torch, images), 5),
        "decoding_ms": round(decoding, 3),
        "decoding_with_pillow_ms": round(decoding_with_pillow, 3),
        "decoding/with_pillow": round(decoding / decoding_with_pillow, 3),
    }
    print(f"resizing takes {figures['ours/pillow']} of Pillow's time, decoding {figures['decoding/with_pillow']}")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
