"""What the library says of a picture equals what a browser shows of it."""

import io
from pathlib import Path

import pytest
from PIL import Image

from memesearch.errors import UnreadablePicture
from memesearch.library.decode_worker import read_picture
from memesearch.picture import Preprocessing, open_picture

WANT = Preprocessing(96, 96)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_the_size_is_that_of_the_upright_picture(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("RGB", (120, 80), "red").save(buffer, kind, exif=exif)
    content = read_picture(buffer.getvalue(), b"", WANT).content
    assert content is not None
    assert (content.width, content.height) == ((80, 120) if 5 <= orientation <= 8 else (120, 80))


def test_animations_are_told_from_pictures_and_have_several_frames() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (50, 50), (shade, 0, 0)) for shade in range(0, 250, 25)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    decoded = read_picture(buffer.getvalue(), b"", WANT)
    assert decoded.content is not None
    assert (decoded.content.kind, decoded.content.frames, len(decoded.frames)) == ("animation", 10, 4)


@pytest.mark.parametrize("start", [b"\xff\x0a\xba\x21", b"\x00\x00\x00\x0cJXL \r\n\x87\n\x00\x00"])
def test_a_format_that_is_known_by_name_only_is_named(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "picture.jxl"
    path.write_bytes(start + bytes(100))
    for source in (path, path.read_bytes()):
        with pytest.raises(UnreadablePicture, match="is JPEG XL, which cannot be read yet"):
            open_picture(source)
