"""A running rater over a made library, someone who answers, and what was stored."""

import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pytest
from rater_library import name_of, unit_vectors
from services import Program, rows_of, write_rows

COUNT = 30
VECTORS = unit_vectors(COUNT)
LIKED = {name_of(number): float(vector[0]) for number, vector in enumerate(VECTORS)}


def rows(program: Program, statement: str) -> list[tuple[Any, ...]]:
    """Of the rater's database."""
    return rows_of(program.config.with_name("rater.db"), statement)


def write(program: Program, statement: str, values: list[tuple[Any, ...]]) -> None:
    write_rows(program.config.with_name("rater.db"), statement, *values)


def answer(program: Program, token: str, grade: int, **more: Any) -> Any:
    return program.post("api/answer", {"token": token, "grade": grade, **more})


def refusal_of(request: str | urllib.request.Request) -> int:
    """The status of a request that must fail."""
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    error.value.close()
    return error.value.code


def rate(program: Program, count: int) -> Any:
    """Answer as someone who likes the first number of the vectors; the last reply."""
    deck = program.get("api/pair")
    for _ in range(count):
        pair = deck["pairs"][0]
        better = LIKED[pair["first"]] - LIKED[pair["second"]]
        deck = answer(program, pair["token"], int(np.sign(better)) * (2 if abs(better) > 0.3 else 1))
    return deck
