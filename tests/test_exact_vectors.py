"""Vectors equal those of OpenCLIP's own transform and float32, on every picture of a corpus that decodes."""

import io
import os
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from launched import PROJECT
from PIL import Image

from memesearch import picture
from memesearch.clip import load
from memesearch.content_hash import hash_bytes
from memesearch.errors import UnreadablePicture
from memesearch.library.decode_worker import Decoded, DecodeRequest
from memesearch.library.scan import scan
from memesearch.picture import Preprocessing
from memesearch.workers import WorkerDied, WorkerPool

CORPUS = Path(os.environ.get("MSE_CORPUS", PROJECT.parent / "shared" / "corpus"))
MODEL = f"local-dir:{PROJECT / 'demo/model'}"
BATCH = 64


async def decoded(paths: list[Path], want: Preprocessing) -> list[tuple[Image.Image, np.ndarray]]:
    """(picture for OpenCLIP, what the backend makes of it for the model), of those that its workers can read."""
    pool = WorkerPool("memesearch.library.decode_worker", 2, 60)
    found = []
    for path in paths:
        raw = path.read_bytes()
        try:
            answer = await pool.call(DecodeRequest(str(path), hash_bytes(raw), want), Decoded)
        except WorkerDied:
            assert "odd" in path.parts, path  # only hostile files may cost a worker
            continue
        if answer.frames:
            pixels = np.frombuffer(answer.frames[0], np.uint8).reshape(want.height, want.width, 3)
            found.append((as_others_read_it(raw), pixels))
    await pool.close()
    return found


def as_others_read_it(raw: bytes) -> Image.Image:
    """Pillow's own picture in RGB, as models are trained on them (left to itself OpenCLIP's transform would resize
    palettes before, by leaving out pixels).

    Ours only where that is something that nobody sees: unturned, with the colours of transparent pixels, or with 16
    bits cut to 8.
    """
    image = Image.open(io.BytesIO(raw))
    seen_by_all = image.mode in ("1", "L", "RGB", "CMYK", "YCbCr") or (
        image.mode == "P" and not image.has_transparency_data
    )
    turned = image.getexif().get(0x0112, 1) != 1
    return image.convert("RGB") if seen_by_all and not turned else picture.to_rgb(picture.open_picture(raw))


@pytest.mark.filterwarnings("ignore")  # odd pictures make Pillow warn
@pytest.mark.skipif(not CORPUS.is_dir(), reason="there is no corpus")
@pytest.mark.parametrize("part", ["memes", "photos", "odd"])
async def test_every_picture_has_the_vector_that_openclip_gives_it(part: str) -> None:
    embedder = load(MODEL, device="cpu")
    want = embedder._model.loaded.preprocessing
    reference, _, transform = open_clip.create_model_and_transforms(MODEL)
    reference.eval()
    pictures = await decoded([CORPUS / part / path for path in scan(CORPUS / part).files], want)
    assert len(pictures) > 100
    worst = 1.0
    for start in range(0, len(pictures), BATCH):
        batch = pictures[start : start + BATCH]
        ours = embedder._model.encode_pixels(np.stack([pixels for _, pixels in batch])).astype(np.float32)
        with torch.inference_mode():
            theirs = reference.encode_image(torch.stack([transform(image) for image, _ in batch]), normalize=True)
        worst = min(worst, float((ours * theirs.numpy()).sum(axis=1).min()))
    assert worst >= 0.999


def test_a_model_can_be_used_from_python_without_a_server(tmp_path: Path) -> None:
    clip = load(MODEL)
    image = Image.new("RGB", (300, 200), "red")
    image.save(tmp_path / "red.png")
    vector = clip.encode_image(tmp_path / "red.png")
    assert (vector.shape, vector.dtype) == ((256,), np.float32)
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-3
    assert float(vector @ clip.encode_image(image)) > 0.9999
    assert float(vector @ clip.encode_image(str(tmp_path / "red.png"))) > 0.9999
    assert clip.encode_text("a red thing").shape == (256,)
    with pytest.raises(UnreadablePicture):
        clip.encode_image(tmp_path / "absent.png")
