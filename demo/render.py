"""Compose meme-like pictures: one to three drawings on a ground, with captions.

Used by training, evaluation and the sample library. Everything random comes from the Random
passed in, so the same seed gives the same picture.
"""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from PIL import Image, ImageDraw, ImageFont
from vocabulary import JOKES, PACK

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 60, 60),
    "orange": (240, 148, 52),
    "yellow": (246, 214, 84),
    "green": (86, 172, 96),
    "blue": (70, 126, 214),
    "purple": (140, 92, 190),
    "pink": (244, 158, 190),
    "brown": (140, 100, 72),
    "grey": (150, 154, 160),
    "black": (34, 36, 42),
    "white": (246, 246, 244),
}


@dataclass(frozen=True)
class Composition:
    """A finished RGB picture and what is true of it."""

    picture: Image.Image
    colour: str
    caption: str


@lru_cache(maxsize=64)
def caption_font(size: int) -> ImageFont.FreeTypeFont:
    """The caption font at a size in pixels."""
    return ImageFont.truetype(str(PACK / "Anton-Regular.ttf"), size)


def shade(colour: tuple[int, int, int], amount: int) -> tuple[int, int, int]:
    """The colour made lighter (amount above 0) or darker (below), kept within 0..255."""
    red, green, blue = (max(0, min(255, part + amount)) for part in colour)
    return red, green, blue


def ground(rng: Random, size: tuple[int, int], colour: tuple[int, int, int]) -> Image.Image:
    """A plain, striped, dotted, rayed or graded ground of about one colour, RGB."""
    width, height = size
    base = shade(colour, rng.randint(-14, 14))
    other = shade(base, rng.choice((-28, -18, 18, 28)))
    picture = Image.new("RGB", size, base)
    draw = ImageDraw.Draw(picture)
    step = max(6, min(size) // rng.randint(5, 10))
    kind = rng.choice(("plain", "stripes", "dots", "rays", "gradient"))
    if kind == "stripes":
        for x in range(-height, width, 2 * step):
            draw.polygon([(x, height), (x + step, height), (x + step + height, 0), (x + height, 0)], fill=other)
    elif kind == "dots":
        for y in range(0, height + step, step):
            for x in range(y // step % 2 * step, width + step, 2 * step):
                draw.ellipse((x - step // 3, y - step // 3, x + step // 3, y + step // 3), other)
    elif kind == "rays":
        reach = max(size)
        for angle in range(0, 360, 30):
            box = (width // 2 - reach, height // 2 - reach, width // 2 + reach, height // 2 + reach)
            draw.pieslice(box, angle, angle + 15, fill=other)
    elif kind == "gradient":
        mask = Image.linear_gradient("L").resize(size)
        picture.paste(other, mask=mask)
    return picture


def place(rng: Random, picture: Image.Image, drawings: list[Image.Image], captioned: bool) -> None:
    """Paste the drawings side by side or stacked, each turned, sized and shifted a little."""
    width, height = picture.size
    top, bottom = (int(height * 0.1), int(height * 0.9)) if captioned else (0, height)
    across = width >= bottom - top or len(drawings) == 1
    count = len(drawings)
    cell = (width // count, bottom - top) if across else (width, (bottom - top) // count)
    for i, drawing in enumerate(drawings):
        side = max(8, int(min(min(cell) * 1.1, min(picture.size)) * rng.uniform(0.62, 0.95)))
        tile = drawing.resize((side, side), Image.Resampling.BICUBIC)
        if rng.random() < 0.5:
            tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tile = tile.rotate(rng.uniform(-18, 18), Image.Resampling.BILINEAR)
        free = (cell[0] - side, cell[1] - side)
        x = (cell[0] * i if across else 0) + free[0] // 2 + int(rng.uniform(-0.5, 0.5) * free[0])
        y = top + (0 if across else cell[1] * i) + free[1] // 2
        y += int(rng.uniform(-0.5, 0.5) * free[1])
        picture.paste(tile, (x, y), tile)


def write_line(rng: Random, picture: Image.Image, text: str, at_top: bool) -> None:
    """Write one caption line, white with a black edge or in a bar, no wider than the picture."""
    width, height = picture.size
    size = max(7, int(height * rng.uniform(0.09, 0.13)))
    while size > 7 and caption_font(size).getlength(text) > width * 0.94:
        size -= max(1, size // 12)
    draw = ImageDraw.Draw(picture)
    y = int(height * 0.02) if at_top else height - int(height * 0.03)
    anchor = "ma" if at_top else "md"
    style = rng.random()
    edge = max(1, size // 12)
    if style < 0.75:
        draw.text(
            (width // 2, y), text, (255, 255, 255), caption_font(size), anchor, stroke_width=edge, stroke_fill=(0, 0, 0)
        )
        return
    ink, paper = ((0, 0, 0), (255, 255, 255)) if style < 0.9 else ((255, 255, 255), (20, 20, 20))
    box = draw.textbbox((width // 2, y), text, caption_font(size), anchor)
    draw.rectangle((0, box[1] - 2 * edge, width, box[3] + 2 * edge), fill=paper)
    draw.text((width // 2, y), text, ink, caption_font(size), anchor)


def compose(
    rng: Random, drawings: list[Image.Image], size: tuple[int, int], caption_chance: float = 0.5
) -> Composition:
    """One picture of the drawings (RGBA tiles), of size (width, height) pixels."""
    colour = rng.choice(list(COLOURS))
    picture = ground(rng, size, COLOURS[colour])
    lines = rng.sample(JOKES, 2) if rng.random() < caption_chance else []
    if lines and rng.random() < 0.5:
        lines = lines[:1]
    place(rng, picture, drawings, bool(lines))
    first_at_top = rng.random() < 0.6 or len(lines) == 2
    for i, line in enumerate(lines):
        write_line(rng, picture, line.upper(), first_at_top if i == 0 else False)
    return Composition(picture, colour, " / ".join(lines))
