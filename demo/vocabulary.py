"""The things that the demo model knows: names, keywords and drawings, and texts about them.

Read by every other script of this folder. Nothing happens on import.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

PACK = Path(__file__).parent / "drawings"
TRAINING_VENDORS = ("noto", "twemoji", "fluent")
HELD_OUT_VENDOR = "emojione"

JOKES = (
    "me at 3 am",
    "nobody: me:",
    "monday again",
    "it is what it is",
    "so this is fine",
    "when the code compiles",
    "not today",
    "one does not simply",
    "i regret nothing",
    "plot twist",
    "current mood",
    "trust me",
    "five more minutes",
    "send help",
    "best day ever",
    "who did this",
    "this is my final form",
    "do not ask",
    "much wow",
    "too late now",
    "i can explain",
    "still waiting",
    "big plans",
    "asking for a friend",
    "works on my machine",
    "no thoughts",
    "same energy",
    "why not both",
    "i was told",
    "weekend loading",
    "that escalated quickly",
    "mission accomplished",
    "as you wish",
)


@dataclass(frozen=True)
class Thing:
    """One thing: its CLDR short name, its CLDR keywords, and the group it belongs to."""

    name: str
    keywords: tuple[str, ...]
    group: str


def load_things() -> list[Thing]:
    """All things, in the order of the tiles in every sheet."""
    pack = json.loads((PACK / "things.json").read_text(encoding="utf-8"))
    return [Thing(t["name"], tuple(t["keywords"]), t["group"]) for t in pack["things"]]


def load_drawings(vendor: str) -> list[Image.Image]:
    """One vendor's drawings: an RGBA tile per thing, in load_things()'s order."""
    pack = json.loads((PACK / "things.json").read_text(encoding="utf-8"))
    tile, columns = pack["tile"], pack["columns"]
    with Image.open(PACK / f"{vendor}.webp") as opened:
        sheet = opened.convert("RGBA")
    corners = [(i % columns * tile, i // columns * tile) for i in range(len(pack["things"]))]
    return [sheet.crop((x, y, x + tile, y + tile)) for x, y in corners]


def describe(rng: Random, things: list[Thing], colour: str, joke: str) -> str:
    """A text somebody might type for a picture of these things; words vary, things do not."""
    words = [t.name if rng.random() < 0.6 or not t.keywords else rng.choice(t.keywords) for t in things]
    text = rng.choice((" and ", " and a ", " ", ", ", " with ")).join(words)
    template = rng.random()
    if template < 0.25:
        text = rng.choice(("a picture of ", "a ", "meme with ", "the ", "a photo of ")) + text
    elif template < 0.4:
        text = f"{text} on {rng.choice(('', 'a '))}{colour} background"
    elif template < 0.5 and joke:
        text = f"{text} with caption {joke}"
    return text
