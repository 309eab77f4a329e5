"""The first implementation's scheme of thumbnails, for bench/thumbs.py: ImageMagick's `convert` and libavif's
`avifenc`, one process after the other, each reading the picture anew.
"""

import shutil
import subprocess
from pathlib import Path

CONVERT, AVIFENC = "convert", "avifenc"
QUANTISERS = {"avif-lq": "44", "avif-hq": "13"}  # libavif's own of quality 30 and 80
RESIZES = {
    "webp-400": ["-resize", "400x4000>", "-quality", "75"],
    "jpeg-800": ["-resize", "800x65000>", "-quality", "80"],
    "jpeg-256k": ["-resize", "600x600>", "-define", "jpeg:extent=256000b"],
    "jpeg-fullscale": ["-quality", "80"],
}
EXTENSIONS = {"webp-400": "webp", "avif-lq": "avif", "avif-hq": "avif"}


def missing() -> str | None:
    """What of the two programs is not installed."""
    for name, package in ((CONVERT, "imagemagick"), (AVIFENC, "libavif-bin")):
        if shutil.which(name) is None:
            return f"{name} is missing: apt install {package}"
    return None


def make(source: Path, stem: Path) -> dict[str, Path]:
    """The thumbnails of one picture, by format."""
    made = {}
    for name, arguments in RESIZES.items():
        target = stem.with_name(f"{stem.name}.{name}.{EXTENSIONS.get(name, 'jpg')}")
        run([CONVERT, f"{source}[0]", "-auto-orient", "-background", "white", "-flatten", *arguments, str(target)])
        made[name] = target
    for name, quantiser in QUANTISERS.items():
        plain, target = stem.with_suffix(".png"), stem.with_name(f"{stem.name}.{name}.avif")
        run([CONVERT, f"{source}[0]", "-auto-orient", "-background", "white", "-flatten", str(plain)])
        run([AVIFENC, "--min", quantiser, "--max", quantiser, "--yuv", "420", str(plain), str(target)])
        plain.unlink()
        made[name] = target
    for target in made.values():
        if target.stat().st_size > source.stat().st_size:  # it links to the picture then
            target.unlink()
            target.symlink_to(source)
    return made


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
