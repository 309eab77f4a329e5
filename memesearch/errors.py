"""The exceptions a program may show to its user; each says what is wrong and carries an HTTP status."""

import os


class MemeSearchError(Exception):
    """Base of all expected errors: its text is one sentence fit for a user."""

    status = 500


class ConfigError(MemeSearchError):
    """The configuration cannot be used; programs print it and exit with status 2."""


class BadRequest(MemeSearchError):
    """The request is malformed. `index` names the offending item of a list, if there is one."""

    status = 400

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class NotFound(MemeSearchError):
    """There is no such thing."""

    status = 404


class SlowClient(MemeSearchError):
    """The client did not send its request's body in time."""

    status = 408


class TooLarge(MemeSearchError):
    """The request is larger than this program accepts."""

    status = 413


class UnsupportedType(MemeSearchError):
    """The request's content type is not spoken here."""

    status = 415


class Overloaded(MemeSearchError):
    """Too much is waiting already; the client should come back."""

    status = 429
    retry_after = 1


class BadGateway(MemeSearchError):
    """What was asked on somebody's behalf answers something that cannot be passed on."""

    status = 502


class Unavailable(MemeSearchError):
    """Something this program depends on does not answer at the moment."""

    status = 503
    retry_after = 5


class UnreadablePicture(MemeSearchError):
    """A file cannot be decoded as a picture; the text is the reason."""

    status = 400


class NotEnoughLabels(MemeSearchError):
    """There are too few answers to learn from."""

    status = 409


def system_reason(error: OSError) -> str:
    """What the system says of `error`, where asyncio has put a sentence about sockets into its `strerror`."""
    if error.errno and error.errno > 0:  # below zero: of a name that has no address
        return os.strerror(error.errno)
    return error.strerror or str(error)


def why_no_answer(error: Exception) -> str:
    """Why a request brought nothing back, in one line and the words of the system: aiohttp's own name sockets, and say
    "ssl" of plain HTTP."""
    behind = getattr(error, "os_error", None)  # of its connection errors
    if isinstance(behind, OSError):
        return system_reason(behind)
    return " ".join(str(error).split()) or ("time out" if isinstance(error, TimeoutError) else type(error).__name__)
