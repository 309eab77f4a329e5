"""The loss of all members of the ensemble and its gradient, both written out.

A step is so small that what automatic differentiation does around it takes longer than its arithmetic, so the chain
rule is applied by hand; the tests compare it with torch's own. The likelihood is that of likelihood.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import silu, softplus

from memesearch.taste.labels import Labels
from memesearch.taste.likelihood import INTERCEPT_DEVIATION

Parameters = dict[str, Tensor]
LEAST_BETWEEN = 1e-6  # cut points


@dataclass(frozen=True)
class Said:
    """What labels say, whichever shape of lines `s` they were taken in; all float32 but rows.

    Attributes:
        rows: int64 [*s, 2], of features; for decisions both are the same.
        pair: [*s], 1 for pairs and 0 for decisions.
        mirror: [*s], 1 or -1.
        lower, upper: [*s, 2], how often c1 and c2 - c1 are in the cut points.
        bounded: [*s], 1 where there is an upper cut point.
    """

    rows: Tensor
    pair: Tensor
    mirror: Tensor
    lower: Tensor
    upper: Tensor
    bounded: Tensor

    def __getitem__(self, lines: Tensor) -> "Said":
        return Said(*(getattr(self, field.name)[lines] for field in fields(self)))

    def __iter__(self) -> Iterator["Said"]:
        """The lines of one step after another."""
        for parts in zip(*(getattr(self, field.name).unbind() for field in fields(self)), strict=True):
            yield Said(*parts)


def said_by(labels: Labels, where: torch.device) -> Said:
    """All labels in one form: pairs, then decisions. See likelihood.py for the two rows of a graded answer."""
    decisions, grade = len(labels.item), np.abs(labels.grade)
    much, little, equal = (labels.graded & (grade == value) for value in (2, 1, 0))
    lower = np.stack([much * 1.0 + little - equal, much], axis=1)
    upper = np.stack([little * 1.0 + equal, little], axis=1)
    none = np.zeros(decisions)
    mirror = np.concatenate([np.where(labels.grade < 0, -1.0, 1.0), np.where(labels.kept, 1.0, -1.0)])
    items = [np.concatenate([side, labels.item]) for side in (labels.first, labels.second)]

    def tensor(values: NDArray[np.generic], kind: torch.dtype = torch.float32) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(where, kind)

    return Said(
        tensor(np.stack(items, axis=1), torch.int64),
        tensor(np.concatenate([np.ones(len(grade)), none])),
        tensor(mirror),
        tensor(np.concatenate([lower, np.zeros((decisions, 2))])),
        tensor(np.concatenate([upper, np.zeros((decisions, 2))])),
        tensor(np.concatenate([little | equal, none])),
    )


def scores(parameters: Parameters, inputs: Tensor) -> Tensor:
    """[m, l] of inputs [m, l, k]."""
    entering = torch.baddbmm(parameters["hidden_bias"], inputs, parameters["hidden"])
    return torch.bmm(silu(entering), parameters["output"]).squeeze(2)


def losses(parameters: Parameters, said: Said, inputs: Tensor) -> Tensor:
    """Negative log likelihood of each line, [m, l]. `inputs`: [m, 2 l, k], all first pictures, then all second ones."""
    felt = felt_of(scores(parameters, inputs), said, parameters["intercept"])
    return losses_of(felt, *cut_points(parameters["cuts"].exp(), said), said.bounded)


def felt_of(both: Tensor, said: Said, intercept: Tensor) -> Tensor:
    """How far each line is on the side that was said, [m, l]. `both`: scores, [m, 2 l]."""
    count = said.pair.shape[1]
    return (both[:, :count] - said.pair * both[:, count:] + (1 - said.pair) * intercept) * said.mirror


def cut_points(cuts: Tensor, said: Said) -> tuple[Tensor, Tensor]:
    """The lower and the upper one of each line, [m, l]. `cuts`: c1 and c2 - c1 of each member, [m, 2]."""
    both = cuts.unsqueeze(2)
    return torch.bmm(said.lower, both).squeeze(2), torch.bmm(said.upper, both).squeeze(2)


def between(lower: Tensor, upper: Tensor, bounded: Tensor) -> Tensor:
    """The distance of the cut points; 1 where there is no upper one."""
    return torch.where(bounded > 0, upper - lower, 1.0).clamp_min(LEAST_BETWEEN)


def losses_of(felt: Tensor, lower: Tensor, upper: Tensor, bounded: Tensor) -> Tensor:
    """Negative log likelihood of lines in any one shape."""
    near = torch.log(-torch.expm1(-between(lower, upper, bounded)))
    return softplus(lower - felt) + bounded * (softplus(felt - upper) - near)


def prior(parameters: Parameters) -> Tensor:
    """Negative log prior of intercepts and cut points, as in likelihood.py."""
    logarithms = parameters["cuts"]
    return (parameters["intercept"] / INTERCEPT_DEVIATION).square().sum() / 2 + (logarithms.exp() - logarithms).sum()


@torch.no_grad()
def gradient(parameters: Parameters, said: Said, inputs: Tensor, share: float) -> Tensor:
    """Put into each parameter's `grad`, which must be there, the gradient of the sum over members of their mean
    `losses`, and of `share` times the prior. Returns what `losses_of` takes, [3, m, l]."""
    hidden, output, intercept = (parameters[name] for name in ("hidden", "output", "intercept"))
    entering = torch.baddbmm(parameters["hidden_bias"], inputs, hidden)
    gate = torch.sigmoid(entering)
    left = entering * gate
    felt = felt_of(torch.bmm(left, output).squeeze(2), said, intercept)
    cuts = parameters["cuts"].exp()
    lower, upper = cut_points(cuts, said)

    below, above = torch.sigmoid(lower - felt), said.bounded * torch.sigmoid(felt - upper)
    towards = (above - below) * said.mirror / felt.shape[1]
    each = torch.cat([towards, -said.pair * towards], dim=1).unsqueeze(2)
    torch.bmm(left.transpose(1, 2), each, out=output.grad)
    back = torch.addcmul(gate, left, 1 - gate)  # the slope of x sigmoid(x)
    back *= each
    back *= output.transpose(1, 2)
    torch.bmm(inputs.transpose(1, 2), back, out=hidden.grad)
    torch.sum(back, dim=1, keepdim=True, out=parameters["hidden_bias"].grad)
    decided = ((1 - said.pair) * towards).sum(dim=1, keepdim=True)
    torch.add(decided, intercept, alpha=share / INTERCEPT_DEVIATION**2, out=intercept.grad)
    close = said.bounded / torch.expm1(between(lower, upper, said.bounded))
    moved = torch.bmm((below + close).unsqueeze(1), said.lower) - torch.bmm((above + close).unsqueeze(1), said.upper)
    by_cuts = moved.squeeze(1) / felt.shape[1]
    torch.add(by_cuts * cuts, cuts - 1, alpha=share, out=parameters["cuts"].grad)
    return torch.stack([felt, lower, upper])
