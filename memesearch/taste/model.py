"""The one interface of taste models."""

from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.labels import Labels

Vectors = NDArray[np.float32]
Numbers = NDArray[np.float64]
Groups = NDArray[np.int64]


class TasteModel(Protocol):
    """Learns how much one person likes a picture from its vector.

    Scores have an arbitrary zero and scale, which change at each fit; only `keep_probability` may be compared
    between two fits.
    """

    kind: ClassVar[str]

    def fit(self, vectors: Vectors, labels: Labels, groups: Groups) -> dict[str, Any]:
        """Learn from labels of items whose vectors are rows of `vectors`, float32 [n, d], unit norm.

        `groups`: int64 [n], near-duplicates share a number. Any number of labels of any kind will do, also none:
        the model then knows nothing and says so by its uncertainty.

        Returns:
            What is worth knowing of the fit, fit for JSON (seconds, steps, held-out loss…).

        Raises:
            NotEnoughLabels: this kind of model needs more to learn anything.
        """

    def score(self, vectors: Vectors) -> tuple[Numbers, Numbers]:
        """Mean and standard deviation of the score of each row, float64 [n]."""

    def mean_score(self, vectors: Vectors) -> Numbers:
        """The first of `score`, without the work that the second takes."""

    def keep_probability(self, vectors: Vectors) -> Numbers:
        """P(this person keeps it) for each row, float64 [n], with the uncertainty of the score in it."""

    def draws(self, vectors: Vectors, count: int, random: np.random.Generator) -> Numbers:
        """Scores under `count` functions drawn from the posterior (or members of an ensemble), float64 [count, n]."""

    def factor(self, vectors: Vectors) -> Vectors:
        """float32 [n, r]: the covariance of the scores of all rows is factor @ factor.T."""

    def direction(self, vectors: Vectors) -> Vectors:
        """float32 [d], unit norm: the direction of a query vector along which scores of `vectors` rise most."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was learned."""

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """The model that `arrays` came from. Raises KeyError or ValueError when they are no such model's."""
