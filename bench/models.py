"""Models for benchmarks: the bundled one, or any architecture with random weights (speed does not depend on them)."""

import json
import shutil
from pathlib import Path

from common import DEMO_MODEL, PROJECT


def model_for(name: str, folder: Path) -> str:
    """`demo`, or an OpenCLIP architecture written to `folder` with random weights; what goes into `model`."""
    if name == "demo":
        return DEMO_MODEL
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None, load_weights=False)
    config = open_clip.get_model_config(name)
    target = folder / name
    target.mkdir()
    preprocessing = open_clip.get_model_preprocess_cfg(model)
    if "hf_tokenizer_name" in config["text_cfg"]:  # would be fetched from a hub; any tokenizer is as fast
        config["text_cfg"]["hf_tokenizer_name"] = "local"
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(PROJECT / "demo/model" / file, target)
    if "SigLIP" in name:  # as the published weights have it
        preprocessing |= {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    described = {"model_cfg": config, "preprocess_cfg": preprocessing}
    (target / "open_clip_config.json").write_text(json.dumps(described))
    weights = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
    save_file(weights, target / "open_clip_model.safetensors")
    return f"local-dir:{target}"
