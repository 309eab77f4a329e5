"""Which segments to merge next: few enough to search quickly, without writing every vector again and again."""

from memesearch.search.index.plan import SEGMENT_ROWS, Plan
from memesearch.search.index.segment import Segment

FANOUT = 8  # segments of about one size that become one
MOST_DEAD = 0.25  # of a segment's rows, before it is written anew without them
TIDY_SHARE = 0.25  # of the largest segment: when the smaller ones together reach it, all become one


def next_merge(segments: list[Segment], plan: Plan, growing: bool = False) -> list[Segment]:
    """Segments that should become one; nothing when all is well.

    While an index is `growing` fast it is not tidied, which it would have to be again and again.
    """
    by_size = sorted(segments, key=lambda segment: segment.rows_alive)
    for segment in by_size:
        if segment.rows_alive < segment.info.rows * (1 - MOST_DEAD) or segment.info.bits != plan.bits:
            return [segment]
    levels: dict[int, list[Segment]] = {}
    for segment in by_size:
        levels.setdefault(level(segment.rows_alive, plan), []).append(segment)
    for group in levels.values():
        if len(fitting := that_fit(group)) >= FANOUT:
            return fitting
    return [] if growing else tidy([segment for segment in by_size if segment.rows_alive < SEGMENT_ROWS // 2])


def tidy(by_size: list[Segment]) -> list[Segment]:
    """All of the segments that are not large, once that is worth while."""
    by_size = that_fit(by_size)
    smaller = by_size[:-1]
    if smaller and rows_of(smaller) >= TIDY_SHARE * by_size[-1].rows_alive:
        return by_size
    return []


def that_fit(by_size: list[Segment]) -> list[Segment]:
    """The smallest, as many as may be one."""
    while rows_of(by_size) > SEGMENT_ROWS:
        by_size = by_size[:-1]
    return by_size


def level(rows: int, plan: Plan) -> int:
    """0 for what was just sealed, one more for each merge of FANOUT."""
    reached, size = 0, plan.mutable_rows * 2
    while rows >= size:
        reached, size = reached + 1, size * FANOUT
    return reached


def rows_of(segments: list[Segment]) -> int:
    return sum(segment.rows_alive for segment in segments)
