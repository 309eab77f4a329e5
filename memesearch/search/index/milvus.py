"""The milvus tier: vectors kept by Milvus, on a server or embedded in this program through milvus-lite.

The connection is made by the first call that needs it, and again after Milvus was away. An update is whole for the
searches of this object if Milvus is embedded; on a server a search may for a moment see the new parts of a content
beside old ones. Searches see this program's own writes (consistency level Session); what is counted or compared
before a write is read with level Strong.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memesearch.errors import MemeSearchError
from memesearch.search.index.base import (
    PARTS,
    Among,
    Effort,
    Found,
    Ids,
    QueryKind,
    Snapshot,
    Stats,
    Untended,
    nothing,
)
from memesearch.search.index.lock import ReadersWriterLock
from memesearch.search.index.milvus_connection import Connection, expression
from memesearch.search.index.milvus_search import SEARCH_SECONDS, Search

WRITE_SECONDS = 30  # for one request
BATCH_BYTES = 8_000_000  # Milvus refuses requests of more than some 10 MB
BATCH_IDS = 8192
ROW_BYTES = 64  # of a row beside its vector
CANDIDATES = [128, 256, 512, 1024, 2048, 4096, 8192]  # that a search of a server's graph may go through
USUAL: dict[QueryKind, Effort] = {"picture": Effort(1.0, 512), "text": Effort(1.0, 2048)}  # until recall is measured


class MilvusIndex(Untended):
    """Vectors [d] in a Milvus collection. Safe to call from any thread; several programs may search, one may write.

    Raises `ConfigError` where the collection is not ours or of another dimension, `Unavailable` while Milvus is away.
    """

    def __init__(self, uri: str, collection: str, dimensions: int, token: str = "") -> None:
        """`uri` is `http://host:19530` or a local path that ends in `.db`; `token` may be `user:password`."""
        super().__init__()
        self.efforts = {} if "://" not in uri else dict(USUAL)
        self.dimensions = dimensions
        self._milvus = Connection(uri, collection, dimensions, token)
        self._name = collection
        self._lock = ReadersWriterLock()
        self._counts = (0, 0)  # contents and rows, kept in step by our own writes
        self._counted_at = 0  # the opening of the connection since which they are right; 0: they are not

    def __len__(self) -> int:
        """Contents that can be found; Milvus is asked only after the connection was opened and after trouble."""
        return self._counted()[0]

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        order = np.argsort(ids, kind="stable")
        for rows in _batches(ids[order] // PARTS, max(PARTS, BATCH_BYTES // (self.dimensions * 4 + ROW_BYTES))):
            with self._writing() as client:
                self._put(client, ids[order[rows]], vectors[order[rows]].astype(np.float32))

    def remove(self, contents: Ids) -> None:
        for start in range(0, len(contents), BATCH_IDS):
            with self._writing() as client:
                held = self._held(client, np.unique(contents[start : start + BATCH_IDS]))
                self._delete(client, held)
                self._count(-int(np.count_nonzero(held % PARTS == 0)), -len(held))

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        among: Among | None = None,
        kind: QueryKind = "picture",
        effort: Effort | None = None,
    ) -> Found:
        """As the interface says, but of at most LIMIT rows, or LIMIT rows for every NAMED contents of a filter."""
        if k <= 0 or (among is not None and len(among) == 0):
            return nothing()
        norm = float(np.linalg.norm(query.astype(np.float64)))  # float32 has no room for small and large squares
        direction = query.astype(np.float64) / norm if norm else np.ones(self.dimensions)
        with self._searching(), self._milvus.asking() as client:
            looked = None if self._milvus.lite else (effort or self.efforts[kind]).reranked
            asked = Search(client, self._name, direction.tolist(), k, looked)
            scores, contents = asked.best() if among is None else asked.best_among(among, self._likely(among, k))
        return scores * np.float32(norm), contents  # Milvus scores cosines

    def trials(self) -> list[Effort]:
        """On a server, whose AUTOINDEX is a graph; milvus-lite looks at everything."""
        return [] if self._milvus.lite else [Effort(1.0, candidates) for candidates in CANDIDATES]

    def snapshot_rows(self) -> int:
        """Milvus keeps them itself."""
        return 0

    def snapshot(self, folder: Path) -> Snapshot:
        """Milvus keeps its own data; the embedded one is told to write its log into files, so that it starts soon."""
        if self._milvus.lite:
            with self._writing() as client:
                client.flush(self._name, timeout=WRITE_SECONDS)
        return Snapshot(kind="milvus")

    def stats(self) -> Stats:
        """What was last known, so that a status page can be shown while Milvus is away."""
        try:
            contents, vectors = self._counted()
        except MemeSearchError:
            contents, vectors = self._counts
        return Stats("milvus", contents, vectors, None, self._milvus.disk_bytes(), bits=32)

    def position(self) -> tuple[str, int] | None:
        """What `set_position` stored; None if nothing or nothing readable is there."""
        with self._milvus.asking() as client:
            return self._milvus.position(client)

    def set_position(self, token: str, seq: int) -> None:
        """Keep beside the data how far it follows the change log `token`; goes when the data goes."""
        with self._writing() as client:
            self._milvus.set_position(client, token, seq)

    def clear(self) -> None:
        """Drop everything and begin anew."""
        with self._writing() as client:
            self._milvus.drop(client)
            self._counted_at = 0
        self._counted()  # and with it a new collection, rather than by the next search

    def close(self) -> None:
        self._milvus.close()

    def _put(self, client: Any, ids: Ids, vectors: NDArray[np.float32]) -> None:
        """New rows come before superfluous ones go, so that a content can be found at any moment."""
        contents = np.unique(ids // PARTS)
        held = self._held(client, contents)
        rows = [
            {"id": id, "content": id // PARTS, "part": id % PARTS, "vector": vector}
            for id, vector in zip(ids.tolist(), vectors, strict=True)
        ]
        client.upsert(self._name, rows, timeout=WRITE_SECONDS)
        self._delete(client, np.setdiff1d(held, ids))
        self._count(len(contents) - int(np.count_nonzero(held % PARTS == 0)), len(ids) - len(held))

    def _held(self, client: Any, contents: Ids) -> Ids:
        """Which ids of `contents` Milvus has, asked by key, which costs the same at every size of the collection.

        Most contents have one part, so the third and later ones are asked for only where there is a second. A server
        lets each request wait for its next tick, 0.2 s, so there are few of them.
        """
        two = self._present(client, (contents[:, None] * PARTS + np.arange(2)).ravel())
        second = two[two % PARTS == 1]
        return np.concatenate([two, self._present(client, (second[:, None] + np.arange(1, PARTS - 1)).ravel())])

    def _present(self, client: Any, ids: Ids) -> Ids:
        found: list[int] = []
        for start in range(0, len(ids), BATCH_IDS):
            rows = client.query(
                self._name,
                filter=expression("id", ids[start : start + BATCH_IDS]),
                output_fields=["id"],
                consistency_level="Strong",
                timeout=SEARCH_SECONDS,
            )
            found += [row["id"] for row in rows]
        return np.array(found, np.int64)

    def _delete(self, client: Any, ids: Ids) -> None:
        """Higher parts first, so that what a crash leaves over has no gaps and is still found by `_held`."""
        ids = -np.sort(-ids)
        for start in range(0, len(ids), BATCH_IDS):
            chosen = expression("id", ids[start : start + BATCH_IDS])
            client.delete(self._name, filter=chosen, timeout=WRITE_SECONDS)
        if len(ids) and not self._milvus.lite:  # 2.3 does not say when it deleted: level Session knows nothing of it
            self._present(client, ids[:1])

    def _likely(self, among: Among, k: int) -> int:
        """Rows to look at to find `k` contents of a filter, if it has nothing to do with the query."""
        return int(2 * k * self._counts[1] / len(among)) + 1

    def _counted(self) -> tuple[int, int]:
        if self._counted_at == self._milvus.openings > 0:
            return self._counts
        with self._lock.writing(), self._milvus.asking() as client:
            opening = self._milvus.openings
            rows = self._count_where(client, "")
            # Rather than the first parts: milvus-lite reads whole rows, vectors and all, to count some of them.
            self._counts = rows - self._count_where(client, "part > 0"), rows
            self._counted_at = opening
            return self._counts

    def _count_where(self, client: Any, condition: str) -> int:
        answer = client.query(
            self._name,
            filter=condition,
            output_fields=["count(*)"],
            consistency_level="Strong",
            timeout=SEARCH_SECONDS,
        )
        return int(answer[0]["count(*)"])

    def _count(self, contents: int, rows: int) -> None:
        self._counts = self._counts[0] + contents, self._counts[1] + rows

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """One writer at a time. A request that fails may have been carried out, so the counts are then unknown."""
        with self._lock.writing():
            try:
                with self._milvus.asking() as client:
                    yield client
            except BaseException:
                self._counted_at = 0
                raise

    def _searching(self) -> AbstractContextManager[None]:
        """Keeps changes out where Milvus is milvus-lite, which looks at its files and its log one after the other.

        On a server searches would wait for the network; a content's parts may there be of two moments for an instant.
        """
        return self._lock.reading() if self._milvus.lite else nullcontext()


def _batches(contents: Ids, limit: int) -> Iterator[slice]:
    """Runs of up to `limit` rows of ascending `contents`, cut only between contents."""
    starts = np.append(np.flatnonzero(np.diff(contents, prepend=-1)), len(contents))
    begin = 0
    while begin < len(contents):
        end = int(starts[np.searchsorted(starts, begin + limit, side="right") - 1])
        yield slice(begin, end)
        begin = end
