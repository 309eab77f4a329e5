"""How much may wait at the service; what goes beyond it is refused at once with status 429."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from memesearch.errors import Overloaded


class Limit:
    """A budget of items or bytes. One request larger than all of it is let in when nothing else is there."""

    def __init__(self, what: str, most: int, refused: Callable[[str], None] = lambda what: None) -> None:
        self.used = 0
        self._what, self._most, self._refused = what, most, refused

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Hold `amount` for as long as the block runs. Raises Overloaded when it does not fit."""
        if self.used and self.used + amount > self._most:
            self._refused(self._what)
            raise Overloaded(f"{self.used:,} {self._what} wait already; try again in a moment")
        self.used += amount
        try:
            yield
        finally:
            self.used -= amount
