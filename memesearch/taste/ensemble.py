"""Training of the ensemble: all members at once, as one batched computation.

Members differ in their start, the order of labels, and the labels that they are stopped by: each holds out one fold of
pictures of its own and keeps the weights that explain those best. A member's run does not depend on the
others: trained alone, with the same seed, it comes out the same but for rounding.
"""

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memesearch.taste.components import Components, principal_components
from memesearch.taste.gradient import Parameters, Said, gradient, losses, losses_of, said_by
from memesearch.taste.held_out import folds
from memesearch.taste.labels import Labels
from memesearch.taste.model import Groups, Vectors
from memesearch.taste.network import Members

SEED = 0  # the same labels give the same model
COMPONENTS = 256
DECAYING = ("hidden", "output")
STEPS_AT_ONCE = 64  # whose inputs are laid out together: 17 MB for 16 members with batches of 8


@dataclass(frozen=True)
class Settings:
    """How members are made and trained. `width`: of the hidden layer. `patience`: epochs without a better one."""

    members: int = 16
    width: int = 64
    dropout: float = 0.1
    rate: float = 3e-4
    decay: float = 0.2
    batch: int = 8
    epochs: int = 60
    patience: int = 6
    held_out: int = 6  # one fold in so many; 0 holds nothing out and runs all epochs


@dataclass(frozen=True)
class Plan:
    """What each member learns from and is stopped by: lines of a task, per member."""

    numbers: list[int]
    learn: list[NDArray[np.int64]]
    test: list[NDArray[np.int64]]
    shortest: int  # labels that an epoch shows each member

    def alone(self, member: int) -> "Plan":
        """One member of it, which sees just what it would see beside the others."""
        return Plan([self.numbers[member]], [self.learn[member]], [self.test[member]], self.shortest)


def train(vectors: Vectors, labels: Labels, groups: Groups) -> tuple[Components, Members, dict[str, Any]]:
    """Components, the trained members, and a report. See `TasteModel.fit` for the arguments."""
    started = time.perf_counter()
    settings, where = Settings(), device()
    components = principal_components(vectors, COMPONENTS)
    scale = np.float32(np.sqrt(components.directions.shape[1]))  # inputs of about 1 each in the mean square
    components = replace(components, directions=components.directions * scale)
    features = components.project(vectors)
    plan = make_plan(labels, groups, settings, SEED)
    members, report = run(features, labels, plan, settings, SEED, where)
    middle = members.score(features).mean(axis=1).astype(np.float32)
    members = replace(members, output_bias=members.output_bias - middle, intercept=members.intercept + middle)
    about = {"seconds": time.perf_counter() - started, "device": where.type, "members": settings.members}
    counts = {"pairs": len(labels.first), "decisions": len(labels.item), "components": features.shape[1]}
    return components, members, {**about, **counts, **report}


def device() -> torch.device:
    """The best that there is."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_plan(labels: Labels, groups: Groups, settings: Settings, seed: int) -> Plan:
    """Each member holds out one fold of a dealing of its own; where no split can be made, it learns from all."""
    everything = np.arange(len(labels))
    learn, test = [], []
    for member in range(settings.members):
        splits = folds(labels, groups, settings.held_out, seed * 1000 + member) if settings.held_out else []
        learn.append(np.flatnonzero(np.concatenate(splits[0].learn)) if splits else everything)
        test.append(np.flatnonzero(np.concatenate(splits[0].test)) if splits else everything[:0])
    return Plan(list(range(settings.members)), learn, test, min(len(lines) for lines in learn))


def first_weights(members: list[int], inputs: int, width: int, seed: int, where: torch.device) -> Parameters:
    """As `torch.nn.Linear` starts, uniform; from the seed and the member's number."""
    made: dict[str, list[NDArray[np.float32]]] = {"hidden": [], "hidden_bias": [], "output": []}
    for member in members:
        random = np.random.default_rng([seed, member, 1])
        for name, shape, fan in (
            ("hidden", (inputs, width), inputs),
            ("hidden_bias", (1, width), inputs),
            ("output", (width, 1), width),
        ):
            made[name].append(random.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(max(fan, 1))))
    start = {name: torch.from_numpy(np.stack(parts)).to(where) for name, parts in made.items()}
    start["intercept"] = torch.zeros(len(members), 1, device=where)
    start["cuts"] = torch.zeros(len(members), 2, device=where)  # logarithms of c1 and c2 - c1
    return start


def side_by_side(parameters: Parameters) -> tuple[Tensor, Tensor]:
    """Lay all parameters and their gradients into one tensor each, for an optimiser takes time for each tensor. Returns
    the one of the parameters, float32 [all], whose parts `parameters` then are, and the part of it that decays."""
    names = [*DECAYING, *(name for name in parameters if name not in DECAYING)]
    together = torch.cat([parameters[name].flatten() for name in names])
    together.grad = torch.zeros_like(together)
    at = 0
    for name in names:
        shape, end = parameters[name].shape, at + parameters[name].numel()
        parameters[name] = together[at:end].view(shape)
        parameters[name].grad = together.grad[at:end].view(shape)
        at = end
    return together, together[: sum(parameters[name].numel() for name in DECAYING)]


def run(
    features: Vectors, labels: Labels, plan: Plan, settings: Settings, seed: int, where: torch.device
) -> tuple[Members, dict[str, Any]]:
    """Train the members of `plan`; all steps are one computation over [member, line, number]."""
    items = labels.items()  # few of all; what is asked for often is then near together
    rows = {name: np.searchsorted(items, getattr(labels, name)) for name in ("first", "second", "item")}
    said, inputs = said_by(replace(labels, **rows), where), torch.from_numpy(features[items]).to(where)
    parameters = first_weights(plan.numbers, features.shape[1], settings.width, seed, where)
    together, decaying = side_by_side(parameters)
    # decay has no part in it: a second group of parameters costs as much time as the step itself
    optimiser = torch.optim.AdamW([together], lr=settings.rate, weight_decay=0.0, fused=True)
    orders = [np.random.default_rng([seed, member, 2]) for member in plan.numbers]
    stop = Stopping(parameters, said, inputs, plan, settings.patience)
    history: list[dict[str, float]] = []
    for epoch in range(settings.epochs):
        loss = one_epoch(parameters, decaying, optimiser, said, inputs, plan, orders, settings)
        held_out = stop.look(parameters, epoch)
        history.append({"epoch": epoch + 1, "loss": loss, "held_out_loss": held_out})
        if stop.over():
            break
    best = {name: value.detach().cpu().numpy() for name, value in stop.kept(parameters).items()}
    members = Members(
        best["hidden"], best["hidden_bias"][:, 0], best["output"][:, :, 0],
        np.zeros(len(plan.numbers), np.float32), best["intercept"][:, 0],
    )  # fmt: skip
    return members, {"epochs": len(history), "best_epochs": stop.epochs(), "history": history}


def one_epoch(
    parameters: Parameters, decaying: Tensor, optimiser: torch.optim.Optimizer, said: Said, inputs: Tensor,
    plan: Plan, orders: list[np.random.Generator], settings: Settings,
) -> float:  # fmt: skip
    """Each member sees as many labels as the one with the fewest has, in its own order; the mean loss of a label."""
    total = torch.zeros((), device=inputs.device)
    for steps, shown in batches(said, inputs, plan, orders, settings):
        seen = []  # from which the losses come for many steps together
        for lines, pictures in zip(steps, shown, strict=True):
            seen.append(gradient(parameters, lines, pictures, 1 / plan.shortest))
            decaying.mul_(1 - settings.rate * settings.decay)  # as AdamW does, between gradient and step
            optimiser.step()
        felt, lower, upper = torch.stack(seen, dim=1)
        total += losses_of(felt, lower, upper, steps.bounded).sum()
    return float(total) / (plan.shortest * len(orders))


def batches(
    said: Said, inputs: Tensor, plan: Plan, orders: list[np.random.Generator], settings: Settings
) -> Iterator[tuple[Said, Tensor]]:
    """An epoch's labels and what is shown of their pictures, many steps at once: [steps, m, l], [steps, m, 2 l, k].

    All first pictures of a step come before all second ones; a share of the numbers is dropped.
    """
    where, length, width = inputs.device, plan.shortest, inputs.shape[1]
    order = np.stack([random.permutation(mine)[:length] for random, mine in zip(orders, plan.learn, strict=True)])
    dropped = round(settings.dropout * 256)  # of 256: bytes are cheaper to draw than fractions
    inputs = inputs * (256 / (256 - dropped))
    whole = length - length % settings.batch
    ends = [*range(0, whole, settings.batch * STEPS_AT_ONCE), whole, length]
    for start, end in itertools.pairwise(ends):
        if start == end:
            continue
        each = min(settings.batch, end - start)
        lines = torch.from_numpy(order[:, start:end]).to(where).view(len(orders), -1, each)
        steps = said[lines.transpose(0, 1).contiguous()]
        rows = steps.rows.transpose(2, 3).flatten()
        drawn = [random_bytes(random, (len(steps.rows), 2, each, width)) for random in orders]
        shown = inputs.index_select(0, rows).view(-1, len(orders), 2, each, width)
        shown *= torch.from_numpy(np.stack(drawn, axis=1) >= dropped).to(where)
        yield steps, shown.flatten(2, 3)


def random_bytes(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """By words, which takes a third of the time."""
    count = math.prod(shape)
    return random.integers(0, 2**64, -(-count // 8), np.uint64).view(np.uint8)[:count].reshape(shape)


class Stopping:
    """Keeps each member's best weights; a member is over when `patience` epochs brought it nothing better."""

    def __init__(self, parameters: Parameters, said: Said, inputs: Tensor, plan: Plan, patience: int) -> None:
        self._inputs, self._patience = inputs, patience
        longest = max(len(lines) for lines in plan.test)
        self._any = longest > 0
        padded = np.zeros((len(plan.test), longest), np.int64)
        weight = np.zeros((len(plan.test), longest), np.float32)
        for row, lines in enumerate(plan.test):
            padded[row, : len(lines)], weight[row, : len(lines)] = lines, 1 / max(len(lines), 1)
        self._said = said[torch.from_numpy(padded).to(inputs.device)]
        self._weight = torch.from_numpy(weight).to(inputs.device)
        self._tested = np.array([len(lines) > 0 for lines in plan.test])
        self._best = np.full(len(plan.test), np.inf)
        self._epoch = np.zeros(len(plan.test), np.int64)
        self._over = np.zeros(len(plan.test), np.bool_)
        self._kept = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def look(self, parameters: Parameters, epoch: int) -> float:
        """The mean loss of held-out labels; NaN-free: 0 where nothing is held out."""
        if not self._any:
            return 0.0
        shown = self._inputs[self._said.rows.transpose(1, 2).flatten(1)]
        each = losses(parameters, self._said, shown)
        found = (each * self._weight).sum(dim=1).double().cpu().numpy()
        better = (found < self._best) & ~self._over & self._tested
        self._best = np.where(better, found, self._best)
        self._epoch = np.where(better, epoch + 1, self._epoch)
        self._over |= self._tested & (epoch + 1 - self._epoch >= self._patience)
        chosen = torch.from_numpy(better).to(self._inputs.device)
        for name, value in parameters.items():
            self._kept[name] = torch.where(chosen.view(-1, *[1] * (value.ndim - 1)), value.detach(), self._kept[name])
        return float(found[self._tested].mean())

    def over(self) -> bool:
        return bool(self._over.all())

    def kept(self, parameters: Parameters) -> Parameters:
        """The best weights; the last ones of members that hold nothing out."""
        tested = torch.from_numpy(self._tested).to(self._inputs.device)
        return {
            name: torch.where(tested.view(-1, *[1] * (value.ndim - 1)), self._kept[name], value.detach())
            for name, value in parameters.items()
        }

    def epochs(self) -> list[int]:
        return [int(epoch) for epoch in self._epoch]
