"""Which library makes thumbnails fastest: Pillow or libvips, alone and in as many processes as cores.

    pip install pyvips-binary pyvips
    python bench/thumb_libraries.py [--pictures 100]

The same pictures (of the corpus, $MSE_CORPUS, or made), formats and qualities, all in one run, three rounds in turn;
the baseline is Pillow in one process. SSIM as in bench/thumbs.py. libvips is no dependency of the project, hence
the first line.
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from common import PROJECT
from PIL import Image
from thumbs import luma, sample, similarity

sys.path.insert(0, str(PROJECT))
from memesearch import picture
from memesearch.machine import usable_cores
from memesearch.thumbs import make
from memesearch.thumbs.formats import BY_NAME, Format

ROUNDS = 3


def with_pillow(job: tuple[str, str]) -> bytes | None:
    path, name = job
    source = make.Source(Path(path).read_bytes(), [BY_NAME[name]])
    source.shown_by_browsers = False  # libvips' side makes no links either
    return source.thumbnail(BY_NAME[name])


def with_vips(job: tuple[str, str]) -> bytes | None:
    import pyvips

    path, name = job
    kind: Format = BY_NAME[name]
    width, height = kind.box or (10_000_000, 10_000_000)
    image = pyvips.Image.thumbnail(path, width, height=height, size="down", export_profile="srgb")
    if image.hasalpha():
        image = image.flatten(background=255)
    if kind.extension == "jpg":
        return bytes(image.jpegsave_buffer(Q=kind.quality, optimize_coding=True, interlace=True, strip=True))
    if kind.extension == "webp":
        return bytes(image.webpsave_buffer(Q=kind.quality, effort=4, strip=True))
    effort = 9 - make.AVIF_SPEED
    return bytes(
        image.heifsave_buffer(Q=kind.quality, compression="av1", effort=effort, subsample_mode="on", strip=True)
    )


def quality(path: Path, encoded: bytes) -> float:
    shown = picture.to_rgb(Image.open(io.BytesIO(encoded)))
    whole = picture.to_rgb(picture.open_picture(path))
    return similarity(luma(whole.resize(shown.size, Image.Resampling.LANCZOS)), luma(shown))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100)
    options = parser.parse_args()
    import pyvips

    pyvips.cache_set_max(0)
    makers: dict[str, Callable[[tuple[str, str]], bytes | None]] = {"Pillow": with_pillow, "libvips": with_vips}
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = sample(options.pictures, Path(folder))
        for name in ("webp-400", "jpeg-800", "jpeg-fullscale", "avif-lq", "avif-hq"):
            few = files if BY_NAME[name].extension != "avif" else files[:: max(1, len(files) // 25)]
            jobs = [(str(path), name) for path in few]
            rates: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                for maker, function in makers.items():
                    started = time.perf_counter()
                    encoded = [function(job) for job in jobs]
                    rates.setdefault(maker, []).append(len(jobs) / (time.perf_counter() - started))
                    with ProcessPoolExecutor(usable_cores(), get_context("spawn")) as pool:  # libvips cannot be forked
                        list(pool.map(function, jobs[: 2 * usable_cores()]))  # start the processes
                        started = time.perf_counter()
                        list(pool.map(function, jobs))
                        rates.setdefault(f"{maker} pool", []).append(len(jobs) / (time.perf_counter() - started))
                    if len(rates[maker]) == 1:
                        done = [raw for raw in encoded if raw is not None]
                        ssim = statistics.fmean(quality(path, raw) for path, raw in zip(few, done, strict=True))
                        figures[f"{name} {maker}"] = {
                            "ssim": round(ssim, 4),
                            "bytes": float(np.mean(list(map(len, done)))),
                        }
            for maker, values in rates.items():
                ratio = statistics.median(v / b for v, b in zip(values, rates["Pillow"], strict=True))
                figures.setdefault(f"{name} {maker}", {}).update(
                    per_s=round(statistics.median(values), 2), ratio=round(ratio, 2)
                )
                print(f"{name:15} {maker:13} {figures[f'{name} {maker}']}")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
