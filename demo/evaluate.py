"""Measure the demo model on what it has not seen; print the figures, then one JSON line.

    python demo/evaluate.py [MODEL_FOLDER]

Known drawings in new compositions: text to picture among 500. Drawings of the vendor kept out of
training: the thing's name to its picture, among the vocabulary. Takes about ten seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import open_clip
import torch
from data import IMAGE_SIZE, measured_compositions, measured_vendor, normalise
from model_folder import load_folder
from torch import nn
from vocabulary import HELD_OUT_VENDOR


def embed_texts(model: nn.Module, folder: Path, texts: list[str]) -> torch.Tensor:
    """Unit embeddings of the texts, float32 [texts, width]."""
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder.resolve()}")
    with torch.inference_mode():
        return model.encode_text(tokenizer(texts), normalize=True)


def recall(texts: torch.Tensor, pictures: torch.Tensor, first: int) -> float:
    """How often text i finds picture i among its first results, 0..1; rows are unit vectors."""
    scores = texts @ pictures.T
    rank = (scores > scores.diagonal()[:, None]).sum(1)
    return round((rank < first).float().mean().item(), 4)


def speed(model: nn.Module, batch: int = 32, rounds: int = 10) -> float:
    """Pictures per second of the picture tower on two threads."""
    torch.set_num_threads(2)
    pictures = torch.zeros(batch, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.inference_mode():
        model.encode_image(pictures)
        start = time.perf_counter()
        for _ in range(rounds):
            model.encode_image(pictures)
    return round(batch * rounds / (time.perf_counter() - start), 1)


def measure(folder: Path) -> dict[str, Any]:
    """Both recalls with chance, and the speed, of the model in the folder."""
    model, _ = load_folder(folder)
    result: dict[str, Any] = {}
    sets = {
        "new_compositions": measured_compositions(seed=4242, count=500),
        "held_out_vendor": measured_vendor(seed=4242, vendor=HELD_OUT_VENDOR),
    }
    for name, (pictures, texts) in sets.items():
        with torch.inference_mode():
            found = model.encode_image(normalise(pictures), normalize=True)
        words = embed_texts(model, folder, texts)
        result[name] = {
            "among": len(texts),
            "recall@1": recall(words, found, 1),
            "recall@10": recall(words, found, 10),
            "chance@1": round(1 / len(texts), 4),
            "chance@10": round(10 / len(texts), 4),
        }
    result["pictures_per_second"] = speed(model)
    return result


def main() -> None:
    """Print the table and the JSON line."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "model"
    result = measure(folder)
    for name in ("new_compositions", "held_out_vendor"):
        row = result[name]
        print(
            f"{name}: among {row['among']}: "
            f"recall@1 {row['recall@1']:.3f} (chance {row['chance@1']:.3f}), "
            f"recall@10 {row['recall@10']:.3f} (chance {row['chance@10']:.3f})"
        )
    print(f"picture tower: {result['pictures_per_second']} pictures/s on two threads")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
