"""Which scored pictures are shown to the person: all above the threshold, and a small share of the others by chance.

Who has only compared pairs has not said yet what is worth keeping. So while there are few decisions, only the best
pictures are shown, whatever their P(keep), as many as are needed to learn it; the others wait.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from memesearch.rater.database import RaterDatabase
from memesearch.rater.pipeline.scoring import Candidate
from memesearch.taste.threshold import Threshold, choose_threshold

RECENT = 2000  # scored pictures, the last ones stored, that say what comes in at the moment


def threshold_now(database: RaterDatabase, target: float) -> Threshold:
    """The threshold that the decisions so far give. What a picture was scored when it was queued counts."""
    with database.reading() as db:
        decisions = db.execute(
            "SELECT coalesce(scores.keep, decisions.keep) AS before, kept, coalesce(chance, 1.0)"
            " FROM decisions LEFT JOIN scores ON scores.hash = decisions.hash AND outcome IN ('queued', 'explored')"
            " WHERE before IS NOT NULL ORDER BY decisions.id"
        ).fetchall()
        recent = db.execute("SELECT keep FROM scores ORDER BY rowid DESC LIMIT ?", (RECENT,)).fetchall()
    keep, kept, chance = zip(*decisions, strict=True) if decisions else ((), (), ())
    return choose_threshold(
        np.array(keep, np.float64),
        np.array(kept, np.bool_),
        target,
        sampled=np.array(chance, np.float64),
        stream=np.array([row[0] for row in recent], np.float64),
    )


def lot(digest: bytes) -> float:
    """A number in [0, 1) drawn for a picture: always the same, so that a run that is repeated draws the same ones."""
    drawn = hashlib.blake2b(digest, digest_size=8, person=b"exploration").digest()
    return int.from_bytes(drawn, "big") / 2**64


def still_to_learn(database: RaterDatabase, wanted: int) -> int | None:
    """How many pictures are missing until `wanted` are decided upon or in the queue; None once as many are decided."""
    with database.reading() as db:
        decided, queued = db.execute(
            "SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM library_queue)"
        ).fetchone()
    return None if decided >= wanted else max(0, wanted - int(decided) - int(queued))


def choose(
    candidates: Sequence[Candidate], threshold: float, exploration: float, to_learn: int | None = None
) -> tuple[list[Candidate], list[Candidate]]:
    """(to be queued, below), with the chance that each had; `candidates` come best first.

    `exploration`: share of those below the threshold that is queued. `to_learn`: so many of the best are queued, and no
    others because of a threshold that rests on too little: they are in neither list, and wait.
    """
    chosen, below = [], []
    for place, picture in enumerate(candidates):
        if to_learn is not None and place < to_learn:
            chosen.append(replace(picture, explored=True))
        elif picture.keep >= threshold:
            chosen += [picture] if to_learn is None else []
        elif lot(picture.hash) < exploration:
            chosen.append(replace(picture, explored=True, chance=exploration))
        else:
            below.append(replace(picture, chance=exploration))
    return chosen, below
