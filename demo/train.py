"""Train the demo model and write it as an OpenCLIP local-dir folder.

    python demo/train.py --out demo/model

Takes some minutes on two CPU cores. Stage 1 trains the picture tower as a classifier of what is
drawn; stage 2 fits the text tower to the classes' directions; stage 3 trains both briefly with
the contrastive loss and is kept only where it helps on a validation set. The log is JSON lines
in OUT/train.jsonl, headed by the settings. A stage 1 that was cut off goes on from its last
checkpoint with the same --checkpoint FILE.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from data import COLOUR_NAMES, IMAGE_SIZE, Compositions, measured_compositions, normalise
from evaluate import embed_texts, measure, recall
from model_folder import build_model, write_config, write_tokenizer, write_weights
from torch import nn
from torch.utils.data import DataLoader
from vocabulary import Thing, describe, load_things


@dataclass(frozen=True)
class Settings:
    """Every number that training depends on."""

    seed: int = 7
    batch_size: int = 64
    classifier_steps: int = 2400
    classifier_rate: float = 2e-3
    text_steps: int = 500
    text_batch: int = 192
    text_rate: float = 1e-3
    joint_steps: int = 240
    joint_rate: float = 1e-4
    class_scale: float = 20.0  # multiplies cosine similarities before the softmax
    colour_weight: float = 0.2  # of the ground's colour beside the things
    workers: int = 1


class Log:
    """JSON lines, one per event, flushed at once."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.file = path.open("w", encoding="utf-8")
        self.start = time.monotonic()
        self.write(settings=asdict(settings))

    def write(self, **event: Any) -> None:
        """Add one line with the seconds since the start."""
        event["seconds"] = round(time.monotonic() - self.start, 1)
        self.file.write(json.dumps(event) + "\n")
        self.file.flush()


def batches(settings: Settings, stage: int, steps: int) -> DataLoader[Any]:
    """The stage's rendered batches; each stage has pictures of its own."""
    data = Compositions(settings.seed * 10 + stage, steps, settings.batch_size)
    return DataLoader(data, batch_size=settings.batch_size, num_workers=settings.workers)


def train_classifier(
    model: nn.Module, classes: nn.Parameter, settings: Settings, log: Log, checkpoint: Path | None
) -> None:
    """Stage 1: fit the picture tower and classes, float32 [things + colours, width]."""
    parameters = [*model.visual.parameters(), classes]
    optimizer = torch.optim.AdamW(parameters, lr=settings.classifier_rate, weight_decay=0.05)
    first = 0
    if checkpoint and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.visual.load_state_dict(saved["visual"])
        optimizer.load_state_dict(saved["optimizer"])
        classes.data.copy_(saved["classes"])
        first = saved["step"]
    steps = settings.classifier_steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.classifier_rate, total_steps=steps + 1, pct_start=0.15
    )
    for _ in range(first):
        schedule.step()
    model.train()
    # A resumed run draws other pictures than the ones that it has already seen.
    loader = batches(settings, 1 + first, steps - first)
    for step, (pictures, target, colour, _) in enumerate(loader, first + 1):
        with torch.autocast("cpu", torch.bfloat16):
            features = model.visual(normalise(pictures))
        logits = settings.class_scale * F.normalize(features.float()) @ F.normalize(classes).T
        things = target.shape[1]
        loss = F.cross_entropy(logits[:, :things], target)
        loss = loss + settings.colour_weight * F.cross_entropy(logits[:, things:], colour)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 25 == 0:
            top = logits[:, :things].argmax(1)
            hit = (target.gather(1, top[:, None]) > 0).float().mean().item()
            log.write(stage="classifier", step=step, loss=round(loss.item(), 4), top1=hit)
        if checkpoint and step % 100 == 0:
            torch.save(
                {
                    "visual": model.visual.state_dict(),
                    "classes": classes.data,
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                },
                checkpoint,
            )


def text_batch(rng: Random, things: list[Thing], size: int) -> tuple[list[str], torch.Tensor]:
    """Texts, and float32 [size, things + colours] of how much of each class a text names."""
    texts, weights = [], torch.zeros(size, len(things) + len(COLOUR_NAMES))
    for row in range(size):
        chosen = rng.sample(range(len(things)), rng.choice((1, 1, 2, 3)))
        colour = rng.randrange(len(COLOUR_NAMES))
        text = describe(rng, [things[i] for i in chosen], COLOUR_NAMES[colour], "")
        weights[row, chosen] = 1 / len(chosen)
        if text.endswith("background"):
            weights[row, len(things) + colour] = 0.3
        texts.append(text)
    return texts, weights


def fit_text(model: nn.Module, classes: torch.Tensor, folder: Path, settings: Settings, log: Log) -> None:
    """Stage 2: make a text's embedding the mean of the directions of what it names."""
    rng, things = Random(settings.seed), load_things()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder.resolve()}")
    picture_side = {id(p) for p in model.visual.parameters()}
    parameters = [p for p in model.parameters() if id(p) not in picture_side]
    optimizer = torch.optim.AdamW(parameters, lr=settings.text_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.text_rate, total_steps=settings.text_steps + 1)
    directions = F.normalize(classes)
    for step in range(1, settings.text_steps + 1):
        texts, weights = text_batch(rng, things, settings.text_batch)
        features = model.encode_text(tokenizer(texts), normalize=True)
        goal = F.normalize(weights @ directions)
        logits = settings.class_scale * features @ directions.T
        named = weights[:, : len(things)]
        loss = F.cross_entropy(logits[:, : len(things)], named)
        loss = loss + 3 * (1 - (features * goal).sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            log.write(stage="text", step=step, loss=round(loss.item(), 4))


def train_joint(model: nn.Module, folder: Path, settings: Settings, log: Log) -> None:
    """Stage 3: both towers with CLIP's symmetric contrastive loss (arXiv 2103.00020)."""
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder.resolve()}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.joint_rate, weight_decay=0.01)
    model.train()
    for step, (pictures, _, _, texts) in enumerate(batches(settings, 3, settings.joint_steps), 1):
        with torch.autocast("cpu", torch.bfloat16):
            left = model.encode_image(normalise(pictures))
        left = F.normalize(left.float())
        right = model.encode_text(tokenizer(list(texts)), normalize=True)
        logits = settings.class_scale * left @ right.T
        pairs = torch.arange(len(texts))
        loss = (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            log.write(stage="joint", step=step, loss=round(loss.item(), 4))


def validation_recall(model: nn.Module, folder: Path) -> float:
    """Recall@10 on compositions that are neither trained on nor reported."""
    pictures, texts = measured_compositions(seed=555, count=500)
    model.eval()
    with torch.inference_mode():
        left = model.encode_image(normalise(pictures), normalize=True)
        return recall(embed_texts(model, folder, texts), left, 10)


def main() -> None:
    """Run the stages and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--checkpoint", type=Path, help="file that stage 1 saves and resumes")
    arguments = parser.parse_args()
    folder, settings = arguments.out, Settings()
    torch.manual_seed(settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary_size = write_tokenizer(folder, load_things())
    write_config(folder, vocabulary_size, IMAGE_SIZE)
    model = build_model(folder).to(memory_format=torch.channels_last)
    log = Log(folder / "train.jsonl", settings)
    width = model.text_projection.shape[1]
    classes = nn.Parameter(torch.randn(len(load_things()) + len(COLOUR_NAMES), width) * 0.06)
    train_classifier(model, classes, settings, log, arguments.checkpoint)
    fit_text(model, classes.detach(), folder, settings, log)
    before = validation_recall(model, folder)
    write_weights(model, folder)
    train_joint(model, folder, settings, log)
    after = validation_recall(model, folder)
    log.write(validation_recall_at_10={"before_joint": before, "after_joint": after})
    if after > before:
        write_weights(model, folder)
    metrics = measure(folder) | {"joint_stage_kept": after > before}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    log.write(metrics=metrics)


if __name__ == "__main__":
    main()
