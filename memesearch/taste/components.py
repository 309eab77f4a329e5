"""Vectors without what nearly all of them share: centred, and seen along their strongest directions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
SAMPLE = 4096  # rows are enough to find the directions
OVERSAMPLE, TURNS = 32, 2


@dataclass(frozen=True)
class Components:
    """`centre`: float32 [d]; `directions`: float32 [d, k], orthogonal, all of one length."""

    centre: Vectors
    directions: Vectors

    def project(self, vectors: Vectors) -> Vectors:
        """float32 [n, k]; the mean square norm over what the components were made of is about 1."""
        return np.asarray((vectors - self.centre) @ self.directions, np.float32)


def principal_components(vectors: Vectors, most: int) -> Components:
    """At most `most` directions of most variance, not whitened: what varies little stays small.

    `vectors`: float32 [n, d]. Fewer where d or n is smaller; one row or none gives the first axes. Randomised
    range finder with power iterations (Halko, Martinsson, Tropp 2011), on at most 4,096 rows, always the same ones.
    """
    count, dimensions = vectors.shape
    random = np.random.default_rng(0)
    rows = vectors if count <= SAMPLE else vectors[np.sort(random.choice(count, SAMPLE, replace=False))]
    centre = rows.mean(axis=0, dtype=np.float64).astype(np.float32) if count else np.zeros(dimensions, np.float32)
    centred = rows - centre
    variance = float((centred.astype(np.float64) ** 2).sum()) / max(count if count <= SAMPLE else SAMPLE, 1)
    if count < 2 or variance < 1e-9:
        return Components(centre, np.eye(dimensions, min(most, dimensions), dtype=np.float32))
    wanted = min(most, dimensions, len(rows) - 1)
    if min(centred.shape) <= wanted + OVERSAMPLE:
        found = np.linalg.svd(centred, full_matrices=False)[2]
    else:
        found = strongest_directions(centred, wanted + OVERSAMPLE, random)
    return Components(centre, np.ascontiguousarray(found[:wanted].T / np.float32(np.sqrt(variance))))


def strongest_directions(centred: Vectors, count: int, random: np.random.Generator) -> Vectors:
    """About the first `count` right singular vectors, float32 [count, d]."""
    covariance = centred.T @ centred
    basis = random.standard_normal((centred.shape[1], count)).astype(np.float32)
    for _ in range(TURNS):
        basis = np.linalg.qr(covariance @ basis)[0]
    values, turn = np.linalg.eigh(basis.T @ (covariance @ basis))
    return np.asarray((basis @ turn[:, np.argsort(-values)]).T, np.float32)
