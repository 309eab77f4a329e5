"""Embedding pictures and text: the OpenCLIP model, the service around it, and the service's client.

Without a server:

    from memesearch.clip import load

    clip = load("local-dir:demo/model")
    print(clip.encode_image("cat.jpg") @ clip.encode_text("a cat"))
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memesearch.clip.local import Embedder


def load(model: str, pretrained: str | None = None, device: str = "auto") -> "Embedder":
    """A model in this process.

    Args:
        model: what OpenCLIP loads: an architecture name, `hf-hub:ORG/NAME`, or `local-dir:PATH`.
        pretrained: a tag of the architecture; the first one listed when absent.
        device: `cuda`, `cpu`, `mps`, or `auto`, the best present.
    Raises:
        ConfigError: the model or the device cannot be used; the text says why.
    """
    from memesearch.clip.local import open_embedder  # torch takes seconds to import: only who needs it pays

    return open_embedder(model, pretrained, device)
