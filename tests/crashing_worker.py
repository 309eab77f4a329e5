"""A worker for test_text_reading.py: notes each request in a file, and dies of it."""

import os
from pathlib import Path

import msgspec

from memesearch.workers import answer_requests


class Request(msgspec.Struct):
    path: str


def die(request: Request) -> None:
    with Path(request.path).open("a") as notes:
        notes.write("died\n")
    os._exit(3)


if __name__ == "__main__":
    answer_requests(die, Request, niceness=0, memory_bytes=2**30)
