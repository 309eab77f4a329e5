"""A model used from Python, without a server. See `memesearch.clip.load`."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from memesearch import picture
from memesearch.clip.loading import load_model
from memesearch.clip.model import ClipModel, pick_device
from memesearch.clip.precision import choose_precision


class Embedder:
    """Text and pictures to vectors whose dot product is their similarity."""

    def __init__(self, model: ClipModel) -> None:
        self._model = model
        self.model_id = model.loaded.model_id

    def encode_image(self, source: str | Path | Image.Image) -> NDArray[np.float32]:
        """A picture file or a Pillow image to a float32 unit vector [d].

        Raises:
            UnreadablePicture: it cannot be decoded; the text says why.
        """
        image = source if isinstance(source, Image.Image) else picture.open_picture(Path(source))
        fitted = picture.fit(picture.to_rgb(image), self._model.loaded.preprocessing)
        vectors = self._model.encode_pixels(np.asarray(fitted)[None])
        return np.asarray(vectors[0], np.float32)

    def encode_text(self, text: str) -> NDArray[np.float32]:
        """A text to a float32 unit vector [d]."""
        return np.asarray(self._model.encode_text([text])[0], np.float32)


def open_embedder(model: str, pretrained: str | None, device: str) -> Embedder:
    loaded = load_model(model, pretrained, Path.cwd())
    return Embedder(choose_precision(loaded, pick_device(device), "auto"))
