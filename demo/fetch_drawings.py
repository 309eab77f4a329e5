"""Rebuild the pack of drawings in demo/drawings/ from icon sets in the npm registry.

Run once by whoever changes the pack; nobody else needs it, since the pack is committed:

    pip install resvg-py==0.5.0 fonttools==4.68.0
    python demo/fetch_drawings.py

Needs the npm client and a network. Writes one WebP sheet per vendor, things.json and the font.
"""

import io
import json
import re
import subprocess
import tarfile
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

from PIL import Image

PACK = Path(__file__).parent / "drawings"
TILE = 96  # pixels, each way
COLUMNS = 20
VENDORS = {  # name of the sheet: (npm package, version)
    "noto": ("@iconify-json/noto", "1.2.9"),
    "twemoji": ("@iconify-json/twemoji", "1.2.5"),
    "fluent": ("@iconify-json/fluent-emoji-flat", "1.2.6"),
    "emojione": ("@iconify-json/emojione", "1.2.3"),
}
CLDR = ("cldr-annotations-full", "48.2.0")
EMOJIBASE = ("emojibase-data", "17.0.0")
FONT = ("@fontsource/anton", "5.3.0")
# Emojibase's group number: (folder of the sample library, how many things to take).
GROUPS = {
    0: ("faces", 40),
    3: ("animals", 80),
    4: ("food", 60),
    5: ("places", 40),
    6: ("activities", 25),
    7: ("objects", 45),
}
LOOK_ALIKE = re.compile(r"clock|moon|keycap|globe|face with|calendar|envelope|mailbox|chart|hand")


def slug(name: str) -> str:
    """The icon sets' spelling of a CLDR short name: 'hot dog' becomes 'hot-dog'."""
    plain = unicodedata.normalize("NFD", name.lower())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def unpack(package: tuple[str, str], folder: Path) -> Path:
    """Download one npm package at its pinned version; return the folder of its files."""
    packed = subprocess.run(
        ["npm", "pack", "--silent", "@".join(package)],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    target = folder / packed.removesuffix(".tgz")
    with tarfile.open(folder / packed) as archive:
        archive.extractall(target, filter="data")
    return target / "package"


def svg_of(icons: dict[str, Any], name: str) -> str:
    """A whole SVG document for one icon of an Iconify set, following its alias."""
    name = icons.get("aliases", {}).get(name, {}).get("parent", name)
    icon = icons["icons"][name]
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    )


def draw(svg: str) -> Image.Image:
    """Rasterise an SVG to an RGBA tile of TILE x TILE pixels."""
    import resvg_py  # only whoever rebuilds the pack has it

    data = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=TILE, height=TILE))
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGBA").resize((TILE, TILE))


def choose(cldr: Path, emojibase: Path, sets: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The things that every vendor draws, the plainest names of each group first."""
    path = cldr / "annotations" / "en" / "annotations.json"
    notes = json.loads(path.read_text())["annotations"]["annotations"]
    found: dict[int, list[dict[str, Any]]] = {group: [] for group in GROUPS}
    for entry in json.loads((emojibase / "en" / "data.json").read_text()):
        group = entry.get("group")
        note = notes.get(entry["emoji"]) or notes.get(entry["emoji"].replace("\ufe0f", ""))
        if group not in GROUPS or note is None:
            continue
        name = note["tts"][0].lower()
        drawn = all(slug(name) in icons["icons"] or slug(name) in icons.get("aliases", {}) for icons in sets.values())
        if drawn and not LOOK_ALIKE.search(name):
            words = [word.lower() for word in note["default"] if word.lower() != name]
            found[group].append({"name": name, "keywords": words, "group": GROUPS[group][0]})
    for things in found.values():
        things.sort(key=lambda thing: thing["name"].removesuffix(" face").count(" "))
    return [thing for group, things in found.items() for thing in things[: GROUPS[group][1]]]


def write_font(folder: Path) -> None:
    """Convert the caption font, which npm ships as WOFF, to TTF, with its licence."""
    from fontTools.ttLib import TTFont

    font = TTFont(folder / "files" / "anton-latin-400-normal.woff")
    font.flavor = None
    font.save(PACK / "Anton-Regular.ttf")
    (PACK / "licences" / "Anton-OFL.txt").write_bytes((folder / "LICENSE").read_bytes())


def main() -> None:
    """Download, choose, draw and write the pack."""
    PACK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        sets = {
            vendor: json.loads((unpack(package, work) / "icons.json").read_text())
            for vendor, package in VENDORS.items()
        }
        things = choose(unpack(CLDR, work), unpack(EMOJIBASE, work), sets)
        for vendor, icons in sets.items():
            rows = -(-len(things) // COLUMNS)
            sheet = Image.new("RGBA", (COLUMNS * TILE, rows * TILE))
            for i, thing in enumerate(things):
                tile = draw(svg_of(icons, slug(thing["name"])))
                sheet.paste(tile, (i % COLUMNS * TILE, i // COLUMNS * TILE))
            sheet.save(PACK / f"{vendor}.webp", quality=85, method=4)
        write_font(unpack(FONT, work))
    pack = {"tile": TILE, "columns": COLUMNS, "vendors": list(VENDORS), "things": things}
    (PACK / "things.json").write_text(json.dumps(pack, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
