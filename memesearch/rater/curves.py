"""Curves of a training, from its log in JSON lines."""

import json
import math
from pathlib import Path
from typing import Annotated

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memesearch.errors import ConfigError

MOST = 2**53  # beyond, no plot tells two numbers apart
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


class Share(msgspec.Struct):
    """With its 95 % interval."""

    value: float
    low: float
    high: float


class Line(msgspec.Struct):
    """What is drawn of one line: an epoch, or what `labels` answers and decisions brought."""

    epoch: Count | None = None
    loss: float = math.nan
    held_out_loss: float = math.nan
    labels: Count = 0
    pair_accuracy: Share | None = None
    auroc: Share | None = None


Lines = list[Line]


def read_log(path: Path) -> Lines:
    """The lines after the heading. Raises ConfigError when there is no log or it is damaged."""
    try:
        return [msgspec.convert(json.loads(line), Line) for line in path.read_text("utf-8").splitlines()[1:]]
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; only train.py's checkpoints have a log"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is damaged: {error}; train again (train.py)") from error


def draw(folder: Path) -> list[Path]:
    """curves.png and curves.svg beside the log of a checkpoint. Raises ConfigError."""
    lines = read_log(folder / "log.jsonl")
    epochs = [line for line in lines if line.epoch is not None]
    figure = Figure(figsize=(12, 4.5) if epochs else (6.5, 4.5), layout="constrained")
    axes = figure.subplots(1, 2 if epochs else 1, squeeze=False)[0]
    draw_learning(axes[0], [line for line in lines if line.epoch is None])
    if epochs:
        draw_epochs(axes[1], epochs)
    figure.suptitle(folder.name)
    drawn = [folder / "curves.png", folder / "curves.svg"]
    try:
        for path in drawn:
            figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"{folder}: the curves cannot be written: {error.strerror}") from error
    return drawn


def draw_learning(axes: Axes, lines: Lines) -> None:
    """What more labels brought, with 95 % intervals."""
    for name, points in (
        ("pairs in the right order", [(line.labels, line.pair_accuracy) for line in lines]),
        ("AUROC of keep", [(line.labels, line.auroc) for line in lines]),
    ):
        known = [(labels, share) for labels, share in points if share is not None]
        if known:
            below = [max(share.value - share.low, 0.0) for _, share in known]
            above = [max(share.high - share.value, 0.0) for _, share in known]
            values = [share.value for _, share in known]
            axes.errorbar([labels for labels, _ in known], values, [below, above], marker="o", capsize=3, label=name)
    axes.axhline(0.5, color="grey", linestyle=":", label="chance")
    axes.set(xlabel="answers and decisions", ylabel="on pictures never seen", ylim=(0.3, 1))
    axes.legend()


def draw_epochs(axes: Axes, epochs: Lines) -> None:
    """Loss of what members learn from and of what they are stopped by."""
    numbers = [line.epoch for line in epochs if line.epoch is not None]
    axes.plot(numbers, [line.loss for line in epochs], label="learnt from")
    axes.plot(numbers, [line.held_out_loss for line in epochs], label="held out")
    axes.set(xlabel="epoch", ylabel="loss of an answer (nats)")
    axes.legend()
