"""The ensemble of the MemeThresher article, for comparison: as it was published (osmarks.net/memethresher).

16 members; each has dropout 0.1 before one hidden layer as wide as the vector, SiLU, one number out; Bradley-Terry with
targets 0.95 and 0.05; AdamW, rate 3e-4, weight decay 0.2, one pair a step, each member in its own order. Nothing
says when to stop; a fifth of the answers is held out for a curve that a person looks at. It is computed for all members
at once here, which changes rounding alone.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray

from memesearch.taste import ensemble
from memesearch.taste.gradient import scores as scores_of
from memesearch.taste.labels import Labels

MEMBERS, DROPOUT, RATE, DECAY, TARGET = 16, 0.1, 3e-4, 0.2, 0.95


def train(
    vectors: NDArray[np.float32], said: Labels, test: NDArray[np.float32], epochs: int, seed: int
) -> list[tuple[NDArray[np.float64], float]]:
    """After each epoch: mean scores of `test`, float64 [n], and the seconds spent on training so far."""
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    random, torch_random = np.random.default_rng([seed, 80]), torch.Generator(where).manual_seed(seed)
    names = ("hidden", "hidden_bias", "output")
    first = ensemble.first_weights(list(range(MEMBERS)), vectors.shape[1], vectors.shape[1], seed, where)
    weights = {name: first[name].requires_grad_() for name in names}
    optimiser = torch.optim.AdamW(list(weights.values()), lr=RATE, weight_decay=DECAY, fused=True)
    better = np.where(said.grade > 0, said.first, said.second)
    worse = np.where(said.grade > 0, said.second, said.first)
    inputs, looked = torch.from_numpy(vectors).to(where), torch.from_numpy(test).to(where)
    found, seconds = [], 0.0
    for _ in range(epochs):
        order = np.stack([random.permutation(len(better)) for _ in range(MEMBERS)])
        started = time.perf_counter()
        for step in range(len(better)):
            rows = torch.from_numpy(np.stack([better[order[:, step]], worse[order[:, step]]], axis=1)).to(where)
            mask = torch.rand(MEMBERS, 2, vectors.shape[1], generator=torch_random, device=where) >= DROPOUT
            scores = scores_of(weights, inputs[rows] * mask / (1 - DROPOUT))
            ahead = scores[:, 0] - scores[:, 1]
            # the mean over members, as there
            loss = (torch.nn.functional.softplus(-ahead) + (1 - TARGET) * ahead).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        seconds += time.perf_counter() - started
        with torch.no_grad():
            each = [
                scores_of({name: weights[name][member : member + 1] for name in names}, looked[None])[0]
                for member in range(MEMBERS)
            ]
        found.append((torch.stack(each).mean(dim=0).double().cpu().numpy(), seconds))
    return found
