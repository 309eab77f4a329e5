"""Write a sample library of about 500 meme-like pictures, the same bytes every time.

    python demo/sample_library.py OUT_FOLDER [--labels FILE]

Needs no network. The pictures are new compositions of the drawings in demo/drawings/, one vendor
of which the demo model was not trained on. A complete library is left as it is.
"""

import argparse
import json
import logging
import shutil
import sys
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image
from render import Composition, compose
from vocabulary import HELD_OUT_VENDOR, TRAINING_VENDORS, load_drawings, load_things

COUNT = 500
ANIMATED_EVERY = 70  # one picture in so many is an animated GIF
SEED = 2024
MARKER = ".sample-library-complete"
SHAPES = (
    (400, 400),
    (500, 500),
    (640, 480),
    (480, 640),
    (800, 600),
    (600, 800),
    (720, 405),
    (405, 720),
    (1000, 750),
    (1200, 800),
)  # width, height in pixels
WEIGHTS = (20, 20, 18, 16, 8, 8, 6, 6, 2, 1)
log = logging.getLogger(__name__)


def save(composition: Composition, path: Path) -> None:
    """Save in the format that the file name asks for."""
    options: dict[str, Any] = {
        ".jpg": {"quality": 86},
        ".png": {"compress_level": 3},
        ".webp": {"quality": 80, "method": 0},
    }[path.suffix]
    picture = composition.picture
    if path.suffix == ".png":  # a palette keeps flat drawings small
        picture = picture.quantize(128, dither=Image.Dither.NONE)
    picture.save(path, **options)


def save_animated(rng: Random, tiles: list[Image.Image], path: Path) -> Composition:
    """Save six frames in which the drawings swing; return the first frame."""
    seed = rng.randrange(2**32)
    swings = (0, 8, 12, 0, -8, -12)
    made = [compose(Random(seed), [tile.rotate(swing) for tile in tiles], (400, 400)) for swing in swings]
    frames = [one.picture.quantize(64, dither=Image.Dither.NONE) for one in made]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0)
    return made[0]


def write_library(folder: Path) -> dict[str, dict[str, Any]]:
    """Write every picture below folder; return what is true of each, by relative path."""
    rng, things = Random(SEED), load_things()
    drawings = {v: load_drawings(v) for v in (*TRAINING_VENDORS, HELD_OUT_VENDOR)}
    labels: dict[str, dict[str, Any]] = {}
    for number in range(1, COUNT + 1):
        # The first thing goes through the whole vocabulary, so that none is missing.
        first = (number - 1) % len(things)
        others = [i for i in range(len(things)) if i != first]
        chosen = [first, *rng.sample(others, rng.choice((0, 0, 1, 1, 2)))]
        tiles = [drawings[rng.choice(list(drawings))][i] for i in chosen]
        animated = number % ANIMATED_EVERY == 0
        ending = ".gif" if animated else rng.choice((".jpg", ".jpg", ".jpg", ".png", ".webp"))
        group = things[first].group
        name = f"{group}/meme-{number:04d}{ending}"
        (folder / group).mkdir(exist_ok=True)
        if animated:
            made = save_animated(rng, tiles, folder / name)
        else:
            made = compose(rng, tiles, rng.choices(SHAPES, WEIGHTS)[0], caption_chance=0.7)
            save(made, folder / name)
        labels[name] = {"things": [things[i].name for i in chosen], "caption": made.caption, "colour": made.colour}
    return labels


def make_library(folder: Path) -> None:
    """Write the library in a folder beside and rename it, unless it is already complete.

    Raises FileExistsError where the folder holds something else.
    """
    if (folder / MARKER).exists():
        log.info("%s is complete already", folder)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not a sample library; name a new folder")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    labels = write_library(part)
    (part / MARKER).write_text(json.dumps(labels, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if folder.exists():
        folder.rmdir()
    part.rename(folder)


def main() -> int:
    """Make the library, and the labels file where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("--labels", type=Path, help="JSON file: what is in each picture")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = arguments.folder.resolve()
    try:
        make_library(folder)
        if arguments.labels:
            shutil.copyfile(folder / MARKER, arguments.labels)
    except OSError as error:
        log.error("cannot write the sample library: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
