"""How fast thumbnails are made, and how good they are.

    python bench/thumbs.py [--pictures 60] [--unchanged 100000] [--formats NAME,...]

On the same pictures (of the corpus, $MSE_CORPUS, or made by the script) and for the same outputs, in one run:
thumbnailer.py as a timer runs it, beside (a) the first implementation's scheme, `convert` and `avifenc` one at a
time, and (b) the bare library, the same calls in as many processes and nothing else. Quality is the mean
structural similarity (SSIM, Wang et al. 2004, of the luma) with the picture reduced by Lanczos in float. Then a
run over a library in which nothing changed, beside a bare walk over its pictures.
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import first_thumbnailer
import numpy as np
from common import PROJECT
from numpy.typing import NDArray
from pictures import make_jpegs
from PIL import Image

sys.path.insert(0, str(PROJECT))
from memesearch import picture
from memesearch.content_hash import hash_bytes
from memesearch.library.migrations import upgrade
from memesearch.library.scan import CACHE_TAG, CACHE_TAG_NAME
from memesearch.machine import usable_cores
from memesearch.thumbs import make
from memesearch.thumbs.formats import BY_NAME, FORMATS, GRID, chosen, file_name, thumbnail_id

CORPUS = Path(os.environ.get("MSE_CORPUS", PROJECT.parent / "shared" / "corpus"))
ROUNDS = 3
Grey = NDArray[np.float32]


def sample(count: int, folder: Path) -> list[Path]:
    """Pictures of the corpus, drawn with a fixed seed; without a corpus, made ones."""
    found = sorted(
        path
        for name in ("memes", "photos")
        for path in (CORPUS / name).rglob("*")
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".gif")
    )
    if not found:
        return make_jpegs(folder / "made", count)
    return sorted(random.Random(0).sample(found, min(count, len(found))))


def library(folder: Path, files: list[Path]) -> Path:
    """A database that says that these files are indexed; their folder is `folder / "pictures"`."""
    pictures, database = folder / "pictures", folder / "library.db"
    pictures.mkdir()
    upgrade(database)
    with sqlite3.connect(database) as db:
        for number, source in enumerate(files):
            target = pictures / f"{number:05}{source.suffix}"
            target.write_bytes(source.read_bytes())
            enter(db, number + 1, target.name, hash_bytes(source.read_bytes()))
    db.close()
    return database


def enter(db: sqlite3.Connection, number: int, name: str, digest: bytes) -> None:
    db.execute(
        "INSERT INTO contents(id, hash, kind, width, height, frames) VALUES (?, ?, 'image', 1, 1, 1)", (number, digest)
    )
    db.execute("INSERT INTO files(path, mtime_ns, size, content_id) VALUES (?, 0, 0, ?)", (name, number))


def ours(folder: Path, database: Path, output: Path, kinds: list[str]) -> float:
    """Seconds of thumbnailer.py."""
    config = folder / "thumbnailer_config.json"
    settings = {"input": str(folder / "pictures"), "output": str(output), "database": str(database), "formats": kinds}
    config.write_text(json.dumps(settings))
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, str(PROJECT / "thumbnailer.py"), str(config)], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def bare_one(job: tuple[Path, Path, list[str]]) -> None:
    source, stem, names = job
    kinds = chosen(names, "--formats")
    read = make.Source(source.read_bytes(), kinds)
    for kind in kinds:
        encoded = read.thumbnail(kind)
        if encoded is not None:
            stem.with_name(f"{stem.name}.{kind.name}.{kind.extension}").write_bytes(encoded)


def bare(files: list[Path], output: Path, kinds: list[str]) -> float:
    """(b): seconds of the same calls in a pool of processes."""
    output.mkdir()
    jobs = [(path, output / f"{number}", kinds) for number, path in enumerate(files)]
    started = time.perf_counter()
    with ProcessPoolExecutor(usable_cores()) as pool:
        for _ in pool.map(bare_one, jobs):
            pass
    return time.perf_counter() - started


def first(files: list[Path], output: Path) -> tuple[float, list[dict[str, Path]]]:
    """(a): seconds and files, by format, of the first implementation's scheme."""
    output.mkdir()
    started = time.perf_counter()
    made = [first_thumbnailer.make(path, output / f"{number}") for number, path in enumerate(files)]
    return time.perf_counter() - started, made


def similarity(reference: Grey, other: Grey) -> float:
    """Mean SSIM of two luma planes of 0 to 255, with the usual Gaussian window of 1.5 pixels."""

    def blur(values: Any) -> Any:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    first_mean, second_mean = blur(reference), blur(other)
    first_variance = blur(reference * reference) - first_mean**2
    second_variance = blur(other * other) - second_mean**2
    covariance = blur(reference * other) - first_mean * second_mean
    small, large = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * first_mean * second_mean + small) * (2 * covariance + large)
    return float(np.mean(top / ((first_mean**2 + second_mean**2 + small) * (first_variance + second_variance + large))))


def luma(image: Image.Image) -> Grey:
    return np.asarray(image.convert("L"), np.float32)


def quality(source: Path, thumbnail: Path) -> float:
    """SSIM of a thumbnail with its picture at the thumbnail's size."""
    with Image.open(thumbnail) as opened:
        shown = picture.to_rgb(opened)
    whole = picture.to_rgb(picture.open_picture(source))
    return similarity(luma(whole.resize(shown.size, Image.Resampling.LANCZOS)), luma(shown))


def judge(files: list[Path], made: list[dict[str, Path]], kinds: list[str]) -> dict[str, dict[str, float]]:
    """Mean SSIM and total bytes by format."""
    return {
        kind: {
            "ssim": statistics.fmean(quality(path, found[kind]) for path, found in zip(files, made, strict=True)),
            "bytes": sum(found[kind].stat().st_size for found in made),
        }
        for kind in kinds
    }


def unchanged(folder: Path, count: int) -> dict[str, float]:
    """Seconds of a run with nothing to do over `count` pictures with a thumbnail each, and of a bare walk."""
    folder.mkdir()
    database, output = library(folder, []), folder / "thumbnails"
    output.mkdir()
    (output / CACHE_TAG_NAME).write_text(CACHE_TAG)
    with sqlite3.connect(database) as db:
        for number in range(count):
            (folder / "pictures" / f"{number}.jpg").touch()
            digest = hash_bytes(number.to_bytes(8, "little"))
            enter(db, number + 1, f"{number}.jpg", digest)
            target = output / file_name(thumbnail_id(digest), BY_NAME[GRID])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    db.close()
    ours(folder, database, output, [GRID])  # enters them
    seconds = [ours(folder, database, output, [GRID]) for _ in range(ROUNDS)]
    walks = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        code = f"import os\nfor e in os.scandir({str(folder / 'pictures')!r}): e.stat()"
        subprocess.run([sys.executable, "-c", code], check=True)
        walks.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds), "walk_seconds": statistics.median(walks)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--unchanged", type=int, default=100_000)
    parser.add_argument("--formats", default=",".join(kind.name for kind in FORMATS))
    options = parser.parse_args()
    if problem := first_thumbnailer.missing():
        print(problem, file=sys.stderr)
        return 2
    kinds = options.formats.split(",")
    rates: dict[str, list[float]] = {"ours": [], "a": [], "b": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = library(folder, sample(options.pictures, folder))
        files = sorted((folder / "pictures").iterdir())
        for number in range(ROUNDS):
            output = folder / f"ours-{number}"
            rates["ours"].append(len(files) / ours(folder, database, output, kinds))
            rates["b"].append(len(files) / bare(files, folder / f"bare-{number}", kinds))
            if number == 0:  # it is slow, and steady
                seconds, theirs = first(files, folder / "first")
            rates["a"].append(len(files) / seconds)
            print(
                f"round {number + 1} of {ROUNDS}: { ({k: round(v[-1], 2) for k, v in rates.items()}) }", file=sys.stderr
            )
        mine = [
            {kind: output / file_name(thumbnail_id(hash_bytes(path.read_bytes())), BY_NAME[kind]) for kind in kinds}
            for path in files
        ]
        judged, before = judge(files, mine, kinds), judge(files, theirs, kinds)
        second = unchanged(folder / "unchanged", options.unchanged)
    median = {key: statistics.median(values) for key, values in rates.items()}
    for kind in kinds:
        a, b = judged[kind], before[kind]
        print(
            f"{kind:15} SSIM {a['ssim']:.4f} ({b['ssim']:.4f} in the first scheme), "
            f"{a['bytes'] / len(files) / 1000:.1f} kB ({b['bytes'] / len(files) / 1000:.1f})"
        )
    print(
        f"{median['ours'] / median['a']:.2f} times the first scheme, "
        f"{median['ours'] / median['b']:.2f} of the bare library"
    )
    figures: dict[str, Any] = {f"{key}_per_s": round(value, 2) for key, value in median.items()}
    figures |= {"ours/a": round(median["ours"] / median["a"], 2), "ours/b": round(median["ours"] / median["b"], 2)}
    figures |= {"pictures": len(files), "formats": judged, "first_formats": before}
    figures["unchanged"] = {"pictures": options.unchanged, **{k: round(v, 2) for k, v in second.items()}}
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
