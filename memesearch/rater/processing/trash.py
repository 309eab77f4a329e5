"""The trash: discarded pictures lie in a folder of their day, and expire.

Only what the database knows as discarded is ever deleted, and only if it still holds the bytes that were labelled.
"""

import logging
import time
from pathlib import Path

from memesearch.rater.database import RaterDatabase
from memesearch.rater.processing.moving import digest_of
from memesearch.rater.processing.names import lies_inside

log = logging.getLogger(__name__)
DAY = 86_400.0


def expire(database: RaterDatabase, trash: Path, days: float, now: float | None = None) -> int:
    """Delete what was discarded more than `days` days ago; how many files that were.

    A file that cannot be deleted is tried again the next time; one that others have changed or moved is left alone.
    """
    before = (time.time() if now is None else now) - days * DAY
    with database.reading() as db:
        old = db.execute(
            "SELECT id, target, hash FROM decisions WHERE kept = 0 AND moved = 1 AND target IS NOT NULL AND at <= ?",
            (before,),
        ).fetchall()
    deleted = 0
    if not trash.is_dir():
        return 0
    for number, target, digest in old:
        try:
            deleted += expire_one(database, trash, number, target, digest)
        except OSError as error:
            log.warning("%s cannot be deleted: %s", trash / target, error.strerror)
    if deleted:
        log.info("%d discarded pictures have expired", deleted)
    return deleted


def expire_one(database: RaterDatabase, trash: Path, number: int, target: str, digest: bytes) -> bool:
    """Whether the file was there and is deleted; its label stays, and can no longer be undone. Raises OSError."""
    path = trash / target
    with database.transaction() as db:  # holds off an `undo`, which would bring it back at the same time
        still = db.execute("SELECT 1 FROM decisions WHERE id = ? AND moved = 1 AND kept = 0", (number,)).fetchone()
        if still is None:
            return False
        ours = lies_inside(trash, str(Path(target).parent)) and digest_of(path) == digest
        if ours:
            path.unlink()
        db.execute("UPDATE decisions SET target = NULL WHERE id = ?", (number,))
    folder = path.parent
    if folder != trash and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return ours
