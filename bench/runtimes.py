"""Which runtime and which number format embed pictures fastest on this CPU?

    python bench/runtimes.py MODEL [--seconds 6]

Eager PyTorch in float32 is the baseline; beside it bfloat16, torch.compile, ONNX Runtime and OpenVINO (those
that are installed: pip install onnx onnxscript onnxruntime openvino). Random weights, one batch of 16 on all cores; the
cosine is the worst of 16 pictures with the baseline. All run in turn, three rounds; the ratio is the median.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from common import PROJECT
from models import model_for

sys.path.insert(0, str(PROJECT))
from memesearch.clip.loading import load_model
from memesearch.clip.model import unit

BATCH = 16
ROUNDS = 3
Run = Callable[[], Any]


class Vision(torch.nn.Module):
    """The vision tower with normalised output, as the exporters want it."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return unit(self.module.encode_image(pixels))


def runtimes(vision: Vision, pixels: torch.Tensor, folder: Path) -> dict[str, Run]:
    """What there is to compare: each function embeds the batch."""
    half = Vision(load_half(vision))
    found: dict[str, Run] = {
        "eager float32": lambda: vision(pixels).numpy(),
        "eager bfloat16": lambda: half(pixels.bfloat16()).numpy(),
    }
    for name, module, dtype in (("float32", vision, torch.float32), ("bfloat16", half, torch.bfloat16)):
        compiled = torch.compile(module, dynamic=False)
        found[f"compile {name}"] = lambda compiled=compiled, dtype=dtype: compiled(pixels.to(dtype)).numpy()
    path = folder / "vision.onnx"
    if find_spec("onnx") and find_spec("onnxscript"):
        torch.onnx.export(vision, (pixels,), str(path), input_names=["pixels"], dynamo=True, external_data=False)
        if find_spec("onnxruntime"):
            found["onnxruntime float32"] = onnxruntime(path, pixels)
        if find_spec("openvino"):
            for name in ("float32", "bfloat16"):
                found[f"openvino {name}"] = openvino(path, pixels, name)
    return found


def load_half(vision: Vision) -> Any:
    import copy

    return copy.deepcopy(vision.module).to(torch.bfloat16)


def onnxruntime(path: Path, pixels: torch.Tensor) -> Run:
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"pixels": pixels.numpy()})[0]


def openvino(path: Path, pixels: torch.Tensor, precision: str) -> Run:
    import openvino as ov

    hint = {"INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision]}
    compiled = ov.Core().compile_model(str(path), "CPU", hint)
    return lambda: compiled([pixels.numpy()])[0]


def rate(run: Run, seconds: float) -> float:
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        run()
        done += BATCH
    return done / (time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        loaded = load_model(model_for(options.model, Path(name)))
        want = loaded.preprocessing
        pixels = torch.randn(BATCH, 3, want.height, want.width, generator=torch.Generator().manual_seed(0))
        candidates = runtimes(Vision(loaded.module), pixels, Path(name))
        reference = candidates["eager float32"]()
        cosines = {key: float((run() * reference).sum(axis=1).min()) for key, run in candidates.items()}
        rates: dict[str, list[float]] = {key: [] for key in candidates}
        for _ in range(ROUNDS):
            for key, run in candidates.items():
                rates[key].append(rate(run, options.seconds))
    figures: dict[str, Any] = {"model": options.model}
    for key, values in rates.items():
        ratio = statistics.median(v / base for v, base in zip(values, rates["eager float32"], strict=True))
        figures[key] = {"per_s": round(statistics.median(values), 1), "ratio": round(ratio, 2)}
        figures[key]["cosine"] = round(cosines[key], 5)
        print(
            f"{key:20} {figures[key]['per_s']:8} pictures/s, {ratio:5.2f} of eager float32, cosine {cosines[key]:.5f}"
        )
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
