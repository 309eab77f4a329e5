"""Splits of labels in which no picture, nor a near-duplicate of one, is on both sides."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.labels import Labels
from memesearch.taste.model import Groups

Chosen = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """`learn` and `test`: which pairs, bool [p], and which decisions, bool [d]; for `Labels.only`."""

    learn: tuple[Chosen, Chosen]
    test: tuple[Chosen, Chosen]


def folds(labels: Labels, groups: Groups, count: int, seed: int) -> list[Split]:
    """At most `count` splits into labels to learn from and labels to test on.

    Labelled groups are dealt to folds; each is tested on labels all of whose groups are in it and learned from those
    none of whose are. Splits that test nothing or teach nothing are left out.
    """
    fold_of = dealt(labels, groups, count, seed)
    first, second, item = (fold_of[groups[rows]] for rows in (labels.first, labels.second, labels.item))
    splits = []
    for fold in range(count):
        test = ((first == fold) & (second == fold), item == fold)
        learn = ((first != fold) & (second != fold), item != fold)
        if any(part.any() for part in test) and any(part.any() for part in learn):
            splits.append(Split(learn, test))
    return splits


def dealt(labels: Labels, groups: Groups, count: int, seed: int) -> NDArray[np.int64]:
    """A fold for each group number, int64; -1 where nothing is labelled.

    Groups that answers join are dealt together as far as a fold has room, so that few labels lie between folds.
    """
    ends = groups[np.stack([labels.first, labels.second])]
    joined: dict[int, list[int]] = {int(group): [] for group in np.unique(groups[labels.items()])}
    for one, other in ends.T.tolist():
        joined[one].append(other)
        joined[other].append(one)
    order = np.random.default_rng([seed, 3]).permutation(np.array(list(joined), np.int64)).tolist()
    fold_of = np.full(int(groups.max(initial=0)) + 1, -1, np.int64)
    room = -(-len(order) // count)
    placed, waiting = 0, []
    for start in order:
        waiting.append(start)
        while waiting:
            group = waiting.pop()
            if fold_of[group] < 0:
                fold_of[group] = min(placed // room, count - 1)
                placed += 1
                waiting += joined[group]
    return fold_of
