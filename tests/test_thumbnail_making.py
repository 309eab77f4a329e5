"""One picture to its thumbnails: sizes, colours, limits, and what the names are."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from launched import PROJECT
from PIL import Image, ImageCms

from memesearch.errors import ConfigError
from memesearch.thumbs.formats import BY_NAME, FORMATS, GRID, NAME, chosen, file_name, formats_json, thumbnail_id
from memesearch.thumbs.make import LEAST_QUALITY, Source, encode

CASES = json.loads((PROJECT / "tests/thumbnail_names.json").read_text())


@pytest.mark.parametrize("case", CASES["names"], ids=lambda case: str(case["file"]))
def test_names_are_those_of_the_table(case: dict[str, str]) -> None:
    assert thumbnail_id(bytes.fromhex(case["hash"])) == case["id"]
    kind = BY_NAME[case["format"]]
    assert kind.extension == case["extension"]
    assert file_name(case["id"], kind) == case["file"]
    assert NAME.fullmatch(case["file"])


def raw(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def thumbnail(source: bytes, name: str) -> Image.Image:
    encoded = Source(source, [BY_NAME[name]]).thumbnail(BY_NAME[name])
    assert encoded is not None
    return Image.open(io.BytesIO(encoded))


def colour(image: Image.Image, x: float, y: float) -> tuple[int, ...]:
    pixel = image.convert("RGB").getpixel((int(x * (image.width - 1)), int(y * (image.height - 1))))
    assert isinstance(pixel, tuple)
    return pixel


def near(found: tuple[int, ...], wanted: tuple[int, ...], within: int = 12) -> bool:
    return all(abs(a - b) <= within for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("webp-400", (400, 240)),
        ("jpeg-800", (800, 480)),
        ("jpeg-256k", (600, 360)),
        ("jpeg-fullscale", (1000, 600)),
        ("avif-lq", (1000, 600)),
        ("avif-hq", (1000, 600)),
    ],
)
def test_each_format_has_its_kind_and_size(name: str, size: tuple[int, int]) -> None:
    made = thumbnail(raw(noise(1000, 600)), name)
    assert made.size == size
    assert made.format == {"webp": "WEBP", "jpg": "JPEG", "avif": "AVIF"}[BY_NAME[name].extension]


def test_small_pictures_stay_as_they_are_and_long_ones_stay_within_what_formats_hold() -> None:
    assert thumbnail(raw(noise(50, 20)), GRID).size == (50, 20)
    assert thumbnail(raw(noise(20, 9000)), GRID).size == (9, 4000)


def test_pictures_are_turned_as_their_exif_says() -> None:
    image = Image.new("RGB", (300, 200), "red")
    image.paste("blue", (0, 0, 300, 100))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    for name in (GRID, "jpeg-fullscale"):
        made = thumbnail(raw(image, "TIFF", exif=exif), name)
        assert made.size == (200, 300)
        assert near(colour(made, 0.9, 0.5), (0, 0, 255))
        assert near(colour(made, 0.1, 0.5), (255, 0, 0))
        assert not made.getexif().get(0x0112)


def test_transparency_becomes_white_and_animations_their_first_frame() -> None:
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 20, 40))
    for name in (GRID, "jpeg-800"):
        made = thumbnail(raw(clear, "TIFF"), name)
        assert near(colour(made, 0.9, 0.5), (255, 255, 255))
        assert near(colour(made, 0.1, 0.5), (0, 0, 255))
    frames = [Image.new("RGB", (400, 400), shade) for shade in ("lime", "red", "red")]
    moving = raw(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert near(colour(thumbnail(moving, GRID), 0.5, 0.5), (0, 255, 0))


@pytest.mark.parametrize("name", [kind.name for kind in FORMATS])
def test_what_follows_the_first_frame_changes_nothing(name: str) -> None:
    frames = [noise(160, 120, seed) for seed in range(2)]
    alone, moving = raw(frames[0], "TIFF"), raw(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    kind = BY_NAME[name]
    assert Source(moving, [kind]).thumbnail(kind) == Source(alone, [kind]).thumbnail(kind)


def swapped_profile() -> bytes:
    """An ICC profile whose red is sRGB's blue and the other way round."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    entries = {
        plain[start : start + 4]: start + 4 for start in range(132, 132 + 12 * int.from_bytes(plain[128:132]), 12)
    }
    red, blue = (plain[entries[tag] : entries[tag] + 4] for tag in (b"rXYZ", b"bXYZ"))
    changed = bytearray(plain)
    changed[entries[b"rXYZ"] : entries[b"rXYZ"] + 4] = blue
    changed[entries[b"bXYZ"] : entries[b"bXYZ"] + 4] = red
    return bytes(changed).replace("sRGB".encode("utf-16-be"), "Odd!".encode("utf-16-be"))


def test_colours_of_another_profile_become_srgb() -> None:
    image = Image.new("RGB", (300, 300), (250, 10, 10))
    assert near(colour(thumbnail(raw(image, "TIFF"), GRID), 0.5, 0.5), (250, 10, 10))
    made = thumbnail(raw(image, "TIFF", icc_profile=swapped_profile()), GRID)
    assert near(colour(made, 0.5, 0.5), (10, 10, 250))
    assert "icc_profile" not in made.info
    broken = raw(image, "TIFF", icc_profile=b"not a profile")
    assert near(colour(thumbnail(broken, GRID), 0.5, 0.5), (250, 10, 10))


def test_a_profile_that_is_only_called_srgb_is_converted_and_transparency_survives_it() -> None:
    called = swapped_profile().replace("Odd!".encode("utf-16-be"), "sRGB".encode("utf-16-be"))
    image = Image.new("RGB", (300, 300), (250, 10, 10))
    assert near(colour(thumbnail(raw(image, "TIFF", icc_profile=called), GRID), 0.5, 0.5), (10, 10, 250))
    clear = Image.new("RGB", (300, 300), (1, 2, 3))
    encoded = raw(clear, "PNG", transparency=(1, 2, 3), icc_profile=swapped_profile())
    kind = BY_NAME["jpeg-800"]
    source = Source(encoded, [kind])
    source.shown_by_browsers = False
    made = source.thumbnail(kind)
    assert made is not None
    assert near(colour(Image.open(io.BytesIO(made)), 0.5, 0.5), (255, 255, 255))


def test_cmyk_and_sixteen_bit_and_palette_pictures_can_be_made_small() -> None:
    cmyk = Image.new("CMYK", (500, 500), (0, 255, 255, 0))
    assert near(colour(thumbnail(raw(cmyk, "TIFF"), GRID), 0.5, 0.5), (255, 0, 0), 30)
    deep = Image.fromarray(np.full((500, 500), 40_000, np.uint16))
    assert near(colour(thumbnail(raw(deep, "TIFF"), GRID), 0.5, 0.5), (155, 155, 155))
    palette = Image.new("RGB", (500, 500), (10, 200, 30)).convert("P")
    assert near(colour(thumbnail(raw(palette, "TIFF"), GRID), 0.5, 0.5), (10, 200, 30), 30)


def test_a_limit_of_bytes_is_kept_with_the_best_quality_that_keeps_it() -> None:
    kind = BY_NAME["jpeg-256k"]
    source = Source(raw(noise(600, 600)), [kind])
    made = source.thumbnail(kind)
    assert made is not None
    assert kind.most_bytes is not None
    assert 200_000 < len(made) <= kind.most_bytes
    image = noise(600, 600)
    fitting = [quality for quality in range(LEAST_QUALITY, 96) if len(encode(image, kind, quality)) <= kind.most_bytes]
    assert made == encode(image, kind, max(fitting))
    calm = Image.new("RGB", (600, 600), "teal")
    assert Source(raw(calm, "TIFF"), [kind]).thumbnail(kind) == encode(calm, kind, 95)


def test_a_picture_smaller_than_its_thumbnail_stands_for_it_if_browsers_show_it() -> None:
    tiny = Image.new("P", (64, 64))
    assert Source(raw(tiny, "GIF"), FORMATS).thumbnail(BY_NAME["jpeg-fullscale"]) is None
    unknown = Source(raw(tiny.convert("L"), "TIFF", compression="tiff_lzw"), FORMATS)
    assert unknown.thumbnail(BY_NAME["jpeg-fullscale"]) is not None


def test_a_picture_that_a_format_cannot_hold_is_an_error_of_that_format() -> None:
    source = Source(raw(Image.new("RGB", (66_000, 4))), FORMATS)
    with pytest.raises(OSError):
        source.thumbnail(BY_NAME["jpeg-fullscale"])
    assert source.thumbnail(BY_NAME[GRID]) is not None


def test_a_large_jpeg_decoded_at_a_fraction_looks_like_the_whole_made_small() -> None:
    image = noise(40, 30).convert("L").resize((3200, 2400), Image.Resampling.BICUBIC).convert("RGB")
    fraction, whole = (
        thumbnail(raw(image, "JPEG", quality=98, subsampling=0), GRID),
        thumbnail(raw(image, "TIFF"), GRID),
    )
    difference = np.asarray(fraction.convert("RGB"), np.float32) - np.asarray(whole.convert("RGB"), np.float32)
    assert np.abs(difference).mean() < 2


def test_formats_are_chosen_by_name_the_grid_first() -> None:
    assert [kind.name for kind in chosen(["avif-lq", GRID], "formats")] == [GRID, "avif-lq"]
    with pytest.raises(ConfigError, match="no format 'jpg'"):
        chosen(["jpg"], "formats")


def test_formats_json_names_every_format_and_every_kind_of_source(tmp_path: Path) -> None:
    described = json.loads(formats_json())
    assert described["formats"]["avif-lq"] == ["avif", "image/avif"]
    assert list(described["formats"]) == [kind.name for kind in FORMATS]
    assert {".webp", ".heic", ".jpg"} <= set(described["extensions"])
