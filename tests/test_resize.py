"""Resizing against Pillow's own, from pictures of many kinds and sizes."""

import subprocess
import sys

import numpy as np
import pytest
from launched import PROJECT
from PIL import Image, ImageDraw

from memesearch.picture import Preprocessing, fit
from memesearch.resize import resize

BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
LANCZOS, NEAREST = Image.Resampling.LANCZOS, Image.Resampling.NEAREST


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8))


def sharp(width: int, height: int) -> Image.Image:
    """Only extreme values, with edges everywhere: what overshoots, and is cut, most."""
    return noise(width, height).point(lambda value: 255 * (value > 127))


def meme(width: int, height: int) -> Image.Image:
    image = noise(7, 5).resize((width, height), BICUBIC)
    ImageDraw.Draw(image).text((width / 8, height / 8), "ONE DOES NOT\nSIMPLY", "white", font_size=max(4, height / 6))
    return image


@pytest.mark.parametrize("kind", [noise, sharp, meme])
@pytest.mark.parametrize("resample", [BICUBIC, BILINEAR, LANCZOS])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((640, 480), (298, 224)),
        ((1080, 1080), (224, 224)),
        ((300, 2000), (224, 1493)),
        ((2000, 300), (384, 384)),
        ((50, 400), (224, 224)),
        ((223, 225), (224, 224)),
        ((224, 500), (224, 224)),
        ((1, 1), (224, 224)),
        ((3000, 3), (7, 224)),
        ((31, 20), (1, 1)),
    ],
)
def test_values_are_pillows_but_for_the_last_rounding(
    kind: type, resample: Image.Resampling, before: tuple[int, int], after: tuple[int, int]
) -> None:
    image = kind(*before)
    ours = np.asarray(resize(image, after, resample), dtype=int)
    theirs = np.asarray(image.resize(after, resample), dtype=int)
    difference = ours - theirs
    assert np.abs(difference).max() <= 2
    assert (np.abs(difference) > 1).mean() <= 1e-3
    assert (difference != 0).mean() <= 0.03


def test_a_picture_of_the_wanted_size_and_the_original_stay_as_they_are() -> None:
    image = noise(224, 224)
    before = image.tobytes()
    assert resize(image, (224, 224), BICUBIC).tobytes() == before
    resize(image, (100, 50), BICUBIC)
    assert image.tobytes() == before


def test_choosing_the_nearest_pixel_is_pillows_own() -> None:
    image = noise(300, 200)
    assert resize(image, (96, 64), NEAREST) == image.resize((96, 64), NEAREST)


def test_a_side_of_no_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        resize(noise(300, 200), (224, 0), BICUBIC)


@pytest.mark.parametrize("resample", [BICUBIC, BILINEAR, LANCZOS])
@pytest.mark.parametrize(
    ("before", "after", "window"),
    [
        ((640, 480), (298, 224), (37, 0, 261, 224)),
        ((300, 2000), (224, 1493), (0, 634, 224, 858)),
        ((1000, 97), (989, 96), (446, 0, 542, 96)),
        ((50, 60), (224, 268), (0, 22, 224, 246)),
        ((224, 500), (224, 500), (0, 138, 224, 362)),
        ((31, 20), (7, 5), (6, 4, 7, 5)),
    ],
)
def test_what_is_cut_out_is_as_if_cut_afterwards(
    resample: Image.Resampling, before: tuple[int, int], after: tuple[int, int], window: tuple[int, int, int, int]
) -> None:
    image = noise(*before)
    ours = np.asarray(resize(image, after, resample, window), dtype=int)
    difference = ours - np.asarray(resize(image, after, resample).crop(window), dtype=int)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() <= 1e-3


@pytest.mark.parametrize("length", [16_000, 1_000_000, 1_000_002])
@pytest.mark.parametrize("upright", [False, True])
def test_of_a_line_only_the_middle_is_enlarged(length: int, upright: bool) -> None:
    """All of it, 224 pixels high, would have up to 50,000,000,000 pixels."""

    def turned(image: Image.Image) -> Image.Image:
        return image.transpose(Image.Transpose.TRANSPOSE) if upright else image

    line, middle = noise(length, 1), length // 2
    around = turned(line.crop((middle - 50, 0, middle + 50, 1)))
    expected = np.asarray(fit(around, Preprocessing(224, 224)), dtype=int)
    ours = np.asarray(fit(turned(line), Preprocessing(224, 224)), dtype=int)
    assert ours.shape == (224, 224, 3)
    assert np.abs(ours - expected).max() <= 1


def test_where_there_is_no_package_for_the_machine_pillow_resizes() -> None:
    program = """
import sys
sys.modules["cykooz_resizer"] = None  # as if it were not installed
import numpy as np
from PIL import Image
from memesearch.picture import Preprocessing, fit
image = Image.effect_noise((640, 481), 80).convert("RGB")
ours = np.asarray(fit(image, Preprocessing(224, 224)), dtype=int)
theirs = np.asarray(image.resize((298, 224), Image.Resampling.BICUBIC).crop((37, 0, 261, 224)), dtype=int)
assert np.abs(ours - theirs).max() <= 1
"""
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
