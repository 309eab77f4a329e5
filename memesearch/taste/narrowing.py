"""Which answers narrow the scores of all pictures the most: V-optimal design (Cohn, Ghahramani and Jordan 1996).

An answer of information I about a difference d of two scores takes cov(s, d)^2 / (1 / I + var(d)) from the variance of
a score s, as in a regression with normal noise. The best pair takes most from all pictures together: its pictures stand
for many others, while the pair that the model is least sure of may be two odd ones like no other. What an answer will
say does not matter for it, so pairs that are asked in one go are chosen together: each knows those before it.
"""

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.model import Vectors

Rows = NDArray[np.int64]
INFORMATION = 0.3  # of a graded answer; a forced one between pictures that are alike well liked has 0.25


class Narrowing:
    """Pairs in the order in which they are worth asking.

    `factor`: float32 [n, r]; the covariance of the scores of n pictures is factor @ factor.T.
    `first`, `second`: int64 [p], rows of it.
    """

    def __init__(self, factor: Vectors, first: Rows, second: Rows) -> None:
        centred = factor - factor.mean(axis=0)  # what moves all scores alike changes no order
        pictures = centred.T @ centred / np.float32(max(len(factor), 1))
        self._differences = factor[first] - factor[second]
        # both are narrowed by each pair that is asked: [p, r], covariances with r standard normals, and with pictures
        self._narrowed = self._differences.copy()
        self._pictures = self._differences @ pictures
        self._left = np.ones(len(first), np.bool_)

    def best(self) -> tuple[int, float] | None:
        """The place of the best pair left, and how much variance its answer takes from a picture in the mean."""
        if not self._left.any():
            return None
        values = np.einsum("pr,pr->p", self._pictures, self._narrowed) / (1 / INFORMATION + self._variances())
        place = int(np.argmax(np.where(self._left, values, -np.inf)))
        return place, float(values[place])

    def _variances(self) -> Vectors:
        return np.asarray(np.einsum("pr,pr->p", self._differences, self._narrowed))

    def drop(self, place: int) -> None:
        """This pair is not asked."""
        self._left[place] = False

    def ask(self, place: int) -> None:
        """This pair is asked; the others are worth what is left to learn after it."""
        self._left[place] = False
        direction, pictures = self._narrowed[place].copy(), self._pictures[place].copy()
        shared = self._differences @ direction
        shared /= np.float32(1 / INFORMATION) + shared[place]
        self._narrowed -= np.outer(shared, direction)
        self._pictures -= np.outer(shared, pictures)
