"""A readers-writer lock: FAISS allows searches side by side, but no change beside a search."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadersWriterLock:
    """Many readers or one writer, and neither starves the other.

    Who wants to write lets no new reader in; when it has written, the readers that wait by then come first.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = self._readers_waiting = self._readers_first = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._condition:
            self._readers_waiting += 1
            try:
                self._condition.wait_for(self._may_read)
                self._readers += 1
            finally:
                self._readers_waiting -= 1
                self._readers_first = max(0, self._readers_first - 1)
                self._condition.notify_all()
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                self._condition.notify_all()

    def _may_read(self) -> bool:
        return not self._writing and (self._readers_first > 0 or not self._writers_waiting)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._condition:
            self._writers_waiting += 1
            try:
                self._condition.wait_for(lambda: not (self._readers or self._writing or self._readers_first))
                self._writing = True
            finally:
                self._writers_waiting -= 1
                self._condition.notify_all()
        try:
            yield
        finally:
            with self._condition:
                self._writing = False
                self._readers_first = self._readers_waiting
                self._condition.notify_all()
