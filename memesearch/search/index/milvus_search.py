"""One search of the milvus tier: which requests it takes, and what is made of their answers.

A server's index is approximate (its AUTOINDEX is an HNSW graph) and answers narrow filters badly, the rows that it has
not sealed yet worst of all: of 50,000 fresh vectors it found one in ten of those that a filter had alone. So few
contents are read and ranked here. milvus-lite looks at everything.
"""

import time
from typing import Any

import numpy as np

from memesearch.search.index.base import PARTS, Among, Found, best_parts, nothing
from memesearch.search.index.milvus_connection import expression

SEARCH_SECONDS = 10.0  # for one search, however many requests it takes
LIMIT = 16_384  # rows of one answer, Milvus' own limit
READ = 1024  # contents whose vectors are read from a server: 5 MB of 1152 numbers, 0.2 s
FEW = 4096  # contents that are named at once; of more, strangers are dropped if that promises enough
NAMED = 65_536  # contents that one expression names: half a megabyte. Each more request is a scan more
GROWTH = 4


class Search:
    """One search: several requests, of bounded time in all."""

    def __init__(self, client: Any, name: str, direction: list[float], k: int, candidates: int | None) -> None:
        """`candidates` is how many the server's graph is searched through for; None where all is looked at."""
        self._client, self._name, self._direction, self._k = client, name, direction, k
        self._candidates = candidates
        self._end = time.monotonic() + SEARCH_SECONDS

    def best(self, condition: str = "") -> Found:
        """The best `k` contents that meet `condition`, looking at more rows until there are enough."""
        wanted = min(2 * self._k, LIMIT)
        while True:
            scores, ids = self._rows(wanted, condition)
            found = best_parts(scores, ids, self._k)
            if len(found[1]) == self._k or len(ids) < wanted or wanted == LIMIT:
                return found
            wanted = min(wanted * GROWTH, LIMIT)

    def best_among(self, among: Among, likely: int) -> Found:
        """A filter of few contents is named; of many, strangers are dropped, or all are named in turns."""
        if self._candidates is not None and len(among) <= READ:
            return self._ranked_here(among)
        if len(among) > FEW and likely <= LIMIT:
            wanted = min(max(likely, 2 * self._k), LIMIT)
            scores, ids = self._rows(wanted, "")
            kept = among.mask(ids // PARTS)
            found = best_parts(scores[kept], ids[kept], self._k)
            if len(found[1]) == self._k or len(ids) < wanted:
                return found
        found = nothing()
        for start in range(0, len(among), NAMED):
            found = self._better(found, self.best(expression("content", among.contents[start : start + NAMED])))
        return found

    def _ranked_here(self, among: Among) -> Found:
        rows = self._client.query(
            self._name,
            filter=expression("content", among.contents),
            output_fields=["id", "vector"],
            consistency_level="Session",
            timeout=self._left(),
        )
        vectors = np.array([row["vector"] for row in rows], np.float32).reshape(len(rows), len(self._direction))
        ids, scores = np.array([row["id"] for row in rows], np.int64), vectors @ np.array(self._direction, np.float32)
        order = np.argsort(-scores, kind="stable")
        return best_parts(scores[order], ids[order], self._k)

    def _better(self, one: Found, other: Found) -> Found:
        scores = np.concatenate([one[0], other[0]])
        order = np.argsort(-scores, kind="stable")[: self._k]
        return scores[order], np.concatenate([one[1], other[1]])[order]

    def _rows(self, wanted: int, condition: str) -> Found:
        hits = self._client.search(
            self._name,
            data=[self._direction],
            filter=condition,
            limit=wanted,
            output_fields=["id"],
            # a graph is searched for no fewer candidates than are wanted; other indexes do not know the word
            search_params=self._candidates and {"params": {"ef": max(self._candidates, wanted)}},
            consistency_level="Session",
            timeout=self._left(),
        )[0]
        scores = np.array([hit["distance"] for hit in hits], np.float32)
        return scores, np.array([hit["id"] for hit in hits], np.int64)

    def _left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"a search was given up after {SEARCH_SECONDS:g} s")
        return left
