"""Pictures of the demo model's things, which it tells apart, for tests that need unlike pictures."""

import sys
from functools import cache
from pathlib import Path
from random import Random

from launched import PROJECT
from PIL import Image

sys.path.insert(0, str(PROJECT / "demo"))

from render import compose
from vocabulary import load_drawings, load_things


@cache
def drawings() -> list[Image.Image]:
    return list(load_drawings("noto"))


@cache
def things_of(group: str) -> list[int]:
    """Numbers of the things of a group: "animals", "food"…"""
    return [number for number, thing in enumerate(load_things()) if thing.group == group]


def meme(path: Path, thing: int, seed: int = 0) -> None:
    """A picture of one thing, on a ground that follows from `seed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compose(Random(1000 * seed + thing), [drawings()[thing]], (160, 160), caption_chance=0.0).picture.save(path)
