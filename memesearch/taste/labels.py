"""What a person has said, in the form that models are fitted to."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Labels:
    """Answers about items, which are rows of a matrix of vectors.

    Attributes:
        first, second: int64 [p]; the two items of each answer.
        grade: int8 [p]; 2 first is much better, 1 better, 0 equal, -1 and -2 the other way round.
        graded: bool [p]; False where only the side could be told (grade is then 1 or -1).
        item: int64 [d]; items judged alone.
        kept: bool [d]; whether each was kept.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    grade: NDArray[np.int8]
    graded: NDArray[np.bool_]
    item: NDArray[np.int64]
    kept: NDArray[np.bool_]

    def __post_init__(self) -> None:
        lengths = {len(self.first), len(self.second), len(self.grade), len(self.graded)}
        if len(lengths) != 1 or len(self.item) != len(self.kept):
            raise ValueError("the arrays of labels have different lengths")
        if np.any(self.first == self.second):
            raise ValueError("an item cannot be compared with itself")
        if np.any(np.abs(self.grade) > 2) or np.any(np.abs(self.grade[~self.graded]) != 1):
            raise ValueError("a grade lies between -2 and 2, and is 1 or -1 where only the side was told")

    def __len__(self) -> int:
        return len(self.first) + len(self.item)

    def items(self) -> NDArray[np.int64]:
        """The items that some label speaks of, in rising order."""
        return np.unique(np.concatenate([self.first, self.second, self.item]))

    def joined(self, other: "Labels") -> "Labels":
        """These, then the others."""
        parts = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return Labels(*(np.concatenate(part) for part in parts))

    def only(self, pairs: NDArray[np.bool_], decisions: NDArray[np.bool_]) -> "Labels":
        """The chosen ones. `pairs`: bool [p]; `decisions`: bool [d]."""
        return Labels(
            self.first[pairs],
            self.second[pairs],
            self.grade[pairs],
            self.graded[pairs],
            self.item[decisions],
            self.kept[decisions],
        )


def labels(pairs: list[tuple[int, int, int, bool]], decisions: list[tuple[int, bool]]) -> Labels:
    """Labels of (first, second, grade, graded) and (item, kept)."""
    first, second, grade, graded = zip(*pairs, strict=True) if pairs else ((), (), (), ())
    item, kept = zip(*decisions, strict=True) if decisions else ((), ())
    return Labels(
        np.array(first, np.int64),
        np.array(second, np.int64),
        np.array(grade, np.int8),
        np.array(graded, np.bool_),
        np.array(item, np.int64),
        np.array(kept, np.bool_),
    )
