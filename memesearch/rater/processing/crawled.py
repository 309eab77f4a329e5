"""The vectors of the crawled pictures, for a server: each is looked up when it is needed, so none is out of date."""

import logging
from pathlib import Path

from memesearch.errors import ConfigError
from memesearch.library.pool import Pool, read_pool
from memesearch.seldom import Seldom

log = logging.getLogger(__name__)


class Crawled:
    """The index of the crawled pictures, which another program writes."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._seldom = Seldom(log)

    def find(self, digest: bytes) -> Pool | None:
        """A pool of the one picture of this hash; None when it is not indexed, or its index cannot be read."""
        try:
            found = read_pool(self._database, digest)
        except ConfigError as error:
            self._seldom.warning("pool", f"decisions are stored without vectors: {error}")
            return None
        return found if len(found) else None
