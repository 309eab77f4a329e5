"""The ensemble of small networks: what was learned, and scores from it, without torch.

Each member is the network of the MemeThresher article (dropout, one hidden layer, SiLU, one number out; Bradley-Terry
loss), over principal components. `ensemble.py` trains all of them at once. How far members differ is how unsure
the ensemble is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from memesearch.errors import NotEnoughLabels
from memesearch.taste.components import Components
from memesearch.taste.labels import Labels
from memesearch.taste.model import Groups, Numbers, Vectors

FEWEST_LABELS = 8
ROWS_AT_ONCE = 2048  # bounds the memory of hidden layers: 2048 numbers of each hidden unit
GRADIENT_ROWS = 256


@dataclass(frozen=True)
class Members:
    """Weights of m members; all float32.

    Attributes:
        hidden: [m, k, h]. hidden_bias: [m, h].
        output: [m, h]. output_bias: [m]; makes each member's scores of the pool zero in the mean.
        intercept: [m], of decisions.
    """

    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output: NDArray[np.float32]
    output_bias: NDArray[np.float32]
    intercept: NDArray[np.float32]

    def __post_init__(self) -> None:
        members, _, width = self.hidden.shape
        shapes = (self.hidden_bias.shape, self.output.shape, self.output_bias.shape, self.intercept.shape)
        if shapes != ((members, width), (members, width), (members,), (members,)):
            raise ValueError("the arrays of the ensemble do not belong together")

    def score(self, features: Vectors) -> Numbers:
        """float64 [m, n]. `features`: float32 [n, k]."""
        scores = np.empty((len(self.hidden), len(features)))
        for rows in slices(len(features)):
            for member in range(len(self.hidden)):
                entering = features[rows] @ self.hidden[member] + self.hidden_bias[member]
                scores[member, rows] = (entering * logistic(entering)) @ self.output[member]
        return scores + self.output_bias[:, None]

    def gradient(self, features: Vectors) -> Vectors:
        """float32 [k]: of the mean score of all members, averaged over `features`, float32 [n, k]."""
        total = np.zeros(features.shape[1], np.float32)
        for member in range(len(self.hidden)):
            entering = features @ self.hidden[member] + self.hidden_bias[member]
            gate = logistic(entering)
            slope = (gate * (1 + entering * (1 - gate))).mean(axis=0)
            total += self.hidden[member] @ (slope * self.output[member])
        return total / np.float32(len(self.hidden))


def logistic(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -80, 80))), np.float32)


def slices(count: int) -> Iterator[slice]:
    for start in range(0, count, ROWS_AT_ONCE):
        yield slice(start, start + ROWS_AT_ONCE)


class Network:
    """A `TasteModel`: `fit` needs torch, the rest does not."""

    kind: ClassVar[str] = "ensemble"

    def __init__(self) -> None:
        self._learned: tuple[Components, Members] | None = None

    def fit(self, vectors: Vectors, labels: Labels, groups: Groups) -> dict[str, Any]:
        if len(labels) < FEWEST_LABELS:
            raise NotEnoughLabels(
                f"the ensemble needs at least {FEWEST_LABELS} answers and decisions, and there are {len(labels)};"
                " rate more, or use the model ridge, which learns from any number"
            )
        from memesearch.taste.ensemble import train  # torch takes seconds to load, and scoring does without it

        components, members, report = train(vectors, labels, groups)
        self._learned = components, members
        return report

    def _known(self) -> tuple[Components, Members]:
        if self._learned is None:
            raise ValueError("this model was not fitted yet")
        return self._learned

    def _each(self, vectors: Vectors) -> Numbers:
        components, members = self._known()
        return members.score(components.project(vectors))

    def score(self, vectors: Vectors) -> tuple[Numbers, Numbers]:
        each = self._each(vectors)
        return each.mean(axis=0), each.std(axis=0)

    def mean_score(self, vectors: Vectors) -> Numbers:
        return np.asarray(self._each(vectors).mean(axis=0))

    def keep_probability(self, vectors: Vectors) -> Numbers:
        _, members = self._known()
        return np.asarray((1 / (1 + np.exp(-self._each(vectors) - members.intercept[:, None]))).mean(axis=0))

    def factor(self, vectors: Vectors) -> Vectors:
        each = self._each(vectors)
        return np.asarray((each - each.mean(axis=0)).T / np.sqrt(len(each)), np.float32)

    def draws(self, vectors: Vectors, count: int, random: np.random.Generator) -> Numbers:
        each = self._each(vectors)
        return np.asarray(each[random.choice(len(each), count, replace=count > len(each))])

    def direction(self, vectors: Vectors) -> Vectors:
        """The gradient averaged over some of `vectors`, or at the centre when there are none."""
        components, members = self._known()
        chosen = vectors[:: max(1, len(vectors) // GRADIENT_ROWS)] if len(vectors) else components.centre[None]
        gradient = components.directions @ members.gradient(components.project(chosen))
        length = float(np.linalg.norm(gradient))
        return np.asarray(gradient / length if length > 1e-12 else np.zeros_like(gradient), np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        components, members = self._known()
        return {"centre": components.centre, "directions": components.directions, **vars(members)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        members = Members(
            arrays["hidden"], arrays["hidden_bias"], arrays["output"], arrays["output_bias"], arrays["intercept"]
        )
        components = Components(arrays["centre"], arrays["directions"])
        if components.directions.shape != (len(components.centre), members.hidden.shape[1]):
            raise ValueError("the arrays of the ensemble do not belong together")
        model = cls()
        model._learned = components, members
        return model
