"""How much may wait at the service; what goes beyond it is refused at once with status 429."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from memesearch.errors import Overloaded


class Limit:
    """A budget of items or bytes. One request larger than all of it is let in when nothing else is there."""

    def __init__(self, what: str, most: int, refused: Callable[[str], None] = lambda what: None) -> None:
        self.used = 0
        self._since: dict[Hold, float] = {}  # in the order of their coming
        self._what, self._most, self._refused = what, most, refused

    @contextmanager
    def hold(self, amount: int = 0) -> Iterator["Hold"]:
        """Hold `amount` for as long as the block runs. Raises Overloaded when it does not fit."""
        held = Hold(self)
        held.grow(amount)
        self._since[held] = time.monotonic()
        try:
            yield held
        finally:
            del self._since[held]
            self.used -= held.amount

    def oldest(self) -> float:
        """Seconds since the oldest request that holds something was let in."""
        return time.monotonic() - next(iter(self._since.values())) if self._since else 0.0

    def check(self, others: int, amount: int) -> None:
        """Raises Overloaded when `amount` does not fit beside what others hold."""
        if others and others + amount > self._most:
            self._refused(self._what)
            raise Overloaded(f"{others:,} {self._what} wait already; try again in a moment")


class Hold:
    """One request's part of a budget."""

    def __init__(self, limit: Limit) -> None:
        self.amount = 0
        self._limit = limit

    def grow(self, amount: int) -> None:
        """Hold so much more. Raises Overloaded when it does not fit."""
        self._limit.check(self._limit.used - self.amount, self.amount + amount)
        self.amount += amount
        self._limit.used += amount

    def release(self) -> None:
        """Hold nothing any more, as long as the request goes on."""
        self._limit.used -= self.amount
        self.amount = 0
