"""Pictures for benchmarks: JPEGs with the sizes and the detail of real ones."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = [(500, 400), (640, 640), (640, 505), (1080, 1080)]  # what people post; the median is about 640x540


def make_jpegs(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """`count` different files with noise of several scales, as photos have it; about 80 KB in the mean."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    canvases = [canvas(rng, 1400) for _ in range(8)]
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        left, top = rng.integers(0, 1400 - width), rng.integers(0, 1400 - height)
        picture = canvases[number % len(canvases)].crop((left, top, left + width, top + height))
        picture.save(folder / f"{number:06}.jpg", quality=85)
    return sorted(folder.iterdir())


def canvas(rng: np.random.Generator, side: int) -> Image.Image:
    """Coloured noise whose power falls with frequency."""
    total = np.zeros((side, side, 3), np.float32)
    for scale in (4, 16, 64, 256, 1024):
        noise = rng.normal(size=(scale, scale, 3)) * 40 / scale**0.25 + 128
        layer = Image.fromarray(noise.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float32) - 128
    return Image.fromarray((total * 1.5 + 128).clip(0, 255).astype(np.uint8))
