"""Log lines that an overload or a broken client would otherwise repeat ten thousand times."""

import logging
import time


class Seldom:
    """Says each kind of thing at once, then at most every `seconds`, with how often it happened since."""

    def __init__(self, log: logging.Logger, seconds: float = 60.0) -> None:
        self._log, self._seconds = log, seconds
        self._said: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def warning(self, kind: str, message: str, error: BaseException | None = None) -> None:
        """`kind` tells what counts as the same thing; it has to come from the program, not from a client.

        `error` is shown with its traceback.
        """
        now = time.monotonic()
        if now - self._said.get(kind, -self._seconds) < self._seconds:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        unsaid = self._unsaid.pop(kind, 0)
        self._said[kind] = now
        more = f" (and {unsaid} times more since it was last said)" if unsaid else ""
        self._log.warning("%s%s", message, more, exc_info=error)
