"""Indexing end to end (files on disk to searchable) beside the bare model's forward on the same pictures.

    python bench/indexing.py [--model demo|vit-b-32] [--pictures 1000]

Baselines in the same run, on the same number of threads: (a) the forward alone, over the same pictures
decoded and fitted beforehand, at the service's batch size; (b) a loop that decodes and embeds in one
process, a batch at a time. `vit-b-32` has random weights: speed does not depend on them.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import DEMO_MODEL, PROJECT, backend, embedding_service, get_json, wait_for
from PIL import Image

sys.path.insert(0, str(PROJECT))
from memesearch import picture
from memesearch.clip.loading import load_model
from memesearch.clip.model import ClipModel, pick_device
from memesearch.clip.precision import choose_precision

BATCH = 64
ROUNDS = 3


def random_vit_b_32(folder: Path) -> str:
    """An OpenCLIP folder of a ViT-B-32 with random weights."""
    import open_clip
    from safetensors.torch import save_file

    model = open_clip.create_model("ViT-B-32", pretrained=None, load_weights=False)
    folder.mkdir()
    config = {
        "model_cfg": open_clip.get_model_config("ViT-B-32"),
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(model),
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def make_pictures(folder: Path, count: int) -> list[Path]:
    """The sample library's pictures, repeated with one pixel changed, so that no two have the same bytes."""
    subprocess.run([sys.executable, str(PROJECT / "demo/sample_library.py"), str(folder / "sample")], check=True)
    sources = sorted(path for path in (folder / "sample").rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(count):
        image = Image.open(sources[number % len(sources)]).convert("RGB")
        image.putpixel((0, 0), (number % 256, number // 256, 0))
        image.save(pictures / f"{number:06}.jpg", quality=90)
    return sorted(pictures.iterdir())


def forward_rate(model: ClipModel, files: list[Path]) -> float:
    fitted = [picture.pixels(path.read_bytes(), model.preprocessing) for path in files[: 4 * BATCH]]
    batches = [np.stack(fitted[start : start + BATCH]) for start in range(0, len(fitted), BATCH)]
    model.encode_pixels(batches[0])
    started, done = time.perf_counter(), 0
    while done < len(files):
        batch = batches[done // BATCH % len(batches)]
        model.encode_pixels(batch)
        done += len(batch)
    return done / (time.perf_counter() - started)


def plain_loop_rate(model: ClipModel, files: list[Path]) -> float:
    started = time.perf_counter()
    for start in range(0, len(files), BATCH):
        raws = [path.read_bytes() for path in files[start : start + BATCH]]
        images = [picture.fit(picture.to_rgb(Image.open(io.BytesIO(raw))), model.preprocessing) for raw in raws]
        model.encode_pixels(np.stack([np.asarray(image) for image in images]))
    return len(files) / (time.perf_counter() - started)


def indexing_rate(folder: Path, service: str, count: int) -> float:
    for old in folder.glob("library.db*"):
        old.unlink()
    started = time.perf_counter()
    with backend(folder, service, folder / "pictures") as (url, _):
        wait_for(lambda: get_json(url)["n_total"] == count)
        return count / (time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["demo", "vit-b-32"], default="demo")
    parser.add_argument("--pictures", type=int, default=1000)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"forward": [], "loop": [], "indexing": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = DEMO_MODEL if options.model == "demo" else random_vit_b_32(folder / "vit-b-32")
        files = make_pictures(folder, options.pictures)
        model = choose_precision(load_model(source, None, folder), pick_device("cpu"), options.precision)
        for number in range(ROUNDS):
            rates["forward"].append(forward_rate(model, files))
            rates["loop"].append(plain_loop_rate(model, files))
            with embedding_service(folder, source, BATCH) as service:
                rates["indexing"].append(indexing_rate(folder, service, len(files)))
            latest = {key: round(values[-1], 1) for key, values in rates.items()}
            print(f"round {number + 1} of {ROUNDS}: {latest} pictures/s", file=sys.stderr)
    medians = {key: statistics.median(values) for key, values in rates.items()}
    figures: dict[str, Any] = {"model": options.model, "pictures": options.pictures}
    figures |= {f"{key}_per_s": round(value, 1) for key, value in medians.items()}
    figures["indexing_to_forward"] = round(medians["indexing"] / medians["forward"], 3)
    figures["indexing_to_loop"] = round(medians["indexing"] / medians["loop"], 3)
    print(f"indexing runs at {figures['indexing_to_forward']} of the bare forward")
    print(f"and at {figures['indexing_to_loop']} of the plain loop")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
