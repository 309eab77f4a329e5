"""Write and read the parts of the model folder: config, tokenizer, weights."""

import json
import logging
from pathlib import Path
from random import Random
from typing import Any

import open_clip
from render import COLOURS
from safetensors.torch import save_file
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import nn
from vocabulary import JOKES, Thing, describe

CONTEXT = 24  # tokens; the longest query that the text tower reads
END = "<end>"  # must have the highest number: OpenCLIP takes the text's embedding there


def write_tokenizer(folder: Path, things: list[Thing]) -> int:
    """Train a lower-casing byte-level BPE tokenizer on our texts; return its size.

    Being byte-level, it can write any string, so no typed word breaks it.
    """
    rng = Random(0)
    corpus = [" ".join((t.name, *t.keywords)) for t in things] * 5 + list(JOKES)
    corpus += [describe(rng, rng.sample(things, 2), rng.choice(list(COLOURS)), "") for _ in range(3000)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=3000,
            special_tokens=["<pad>", "<start>"],
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    tokenizer.add_special_tokens([END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"<start> $A {END}", special_tokens=[("<start>", 1), (END, tokenizer.token_to_id(END))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "pad_token": "<pad>",
        "bos_token": "<start>",
        "eos_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    return tokenizer.get_vocab_size()


def write_config(folder: Path, vocabulary_size: int, image_size: int) -> None:
    """Write open_clip_config.json: the towers and the preprocessing."""
    model: dict[str, Any] = {
        "embed_dim": 256,
        "vision_cfg": {
            "timm_model_name": "resnet10t",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "image_size": image_size,
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": vocabulary_size,
            "width": 192,
            "heads": 4,
            "layers": 2,
            "hf_tokenizer_name": "local",
            "tokenizer_kwargs": {"clean": "whitespace"},
        },
    }
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    text = json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}, indent=1)
    (folder / "open_clip_config.json").write_text(text + "\n")


def build_model(folder: Path) -> nn.Module:
    """A model with fresh random weights, by the folder's config."""
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    config["text_cfg"].pop("tokenizer_kwargs", None)
    return open_clip.CLIP(**config)


def load_folder(folder: Path) -> tuple[nn.Module, Any]:
    """The trained model, in evaluation mode, and its preprocessing; no network is used."""
    logging.getLogger().setLevel(logging.WARNING)
    model, _, preprocess = open_clip.create_model_and_transforms(
        f"local-dir:{folder.resolve()}", require_pretrained=True
    )
    return model.eval(), preprocess


def write_weights(model: nn.Module, folder: Path) -> None:
    """Write the weights as float16 safetensors, whole or not at all."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for name, value in model.state_dict().items()
    }
    part = folder / "open_clip_model.safetensors.part"
    save_file(state, part, metadata={"format": "pt"})
    part.chmod(0o644)  # safetensors writes files that only their owner can read
    part.replace(folder / "open_clip_model.safetensors")
