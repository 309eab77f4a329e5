"""Filters of a search: what they take, what they refuse, and which of a picture's names is shown."""

import json
import urllib.error
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services import Program, backend, draw, files_in_index, odd_service, wait_for

from memesearch.library.reads import EVERYTHING
from memesearch.library.records import Filter

COPIES = {"a/same.png", "holidays/2023/same.png", "z/same.png"}


@pytest.mark.parametrize(
    "folder", ["holidays/2023", "holidays//2023", "/holidays/2023/", "./holidays/./2023", "holidays/2023/."]
)
def test_ways_to_write_a_folder_are_one_filter(folder: str) -> None:
    assert Filter(folder=folder) == Filter(folder="holidays/2023")
    assert Filter(folder=folder).folder == "holidays/2023"


@pytest.mark.parametrize(
    "given", [{"folder": ""}, {"folder": "/"}, {"folder": "./"}, {"kind": ""}, {"after": "", "before": ""}]
)
def test_what_is_empty_is_not_given(given: dict[str, str]) -> None:
    assert Filter(**given) == EVERYTHING


@pytest.mark.parametrize("folder", ["..", "../x", "x/../y", "x/.."])
def test_a_folder_that_leaves_the_library_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match=r"^`folder` is a path below the library's folder, without `\.\.`$"):
        Filter(folder=folder)
    assert Filter(folder="x/...y").folder == "x/...y"


@pytest.mark.parametrize(
    "day", ["2023-13", "2023-02-30", "2023-5", "2023-05-", "2023-05-31\n", "٢٠٢٣", "0000", "2023-05-31-01"]
)
def test_a_day_that_is_none_is_told_with_what_can_be_written(day: str) -> None:
    with pytest.raises(ValueError) as caught:
        Filter(before=day)
    assert str(caught.value) == f"`before`: {day!r} is no day; write 2023, 2023-05 or 2023-05-31"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A picture with three names, and four others."""
    folder = tmp_path_factory.mktemp("filters")
    pictures = folder / "pictures"
    for name in COPIES:
        draw(pictures / name, 1)
    for seed, name in enumerate(["a/one.png", "holidays/2023/two.png", "holidays/2024/three.png", "four.png"], start=2):
        draw(pictures / name, seed)
    with odd_service(folder) as service:
        yield (program := backend(folder, service, pictures).start())
        assert program.stop() == 0


@pytest.fixture(autouse=True)
def indexed(program: Program) -> None:
    wait_for(lambda: program.get("")["n_total"] == 7)
    wait_for(lambda: len(files_in_index(program)) == 7)


def searches(program: Program, **chosen: str) -> list[dict[str, Any]]:
    """The answers of each way to ask: by vector, by words and vector, and for the newest."""
    address = urllib.parse.urlencode(chosen)
    return [
        program.post("api/search", {"terms": [{"embedding": [1.0] * 64}], "filter": chosen}),
        program.post("api/search", {"filter": chosen}),
        program.get(f"api/search?{address}"),
        program.get(f"api/search?q=same&{address}"),
    ]


@pytest.mark.parametrize("folder", ["holidays/2023", "z"])
def test_the_shown_name_of_a_picture_is_one_that_passes_the_filter(program: Program, folder: str) -> None:
    inside = f"{folder}/same.png"
    for answer in searches(program, folder=folder):
        (result,) = [found for found in answer["results"] if found["copies"]]
        assert result["file"] == inside
        assert result["copies"] == sorted(COPIES - {inside})
        assert all(found["file"].startswith(folder) for found in answer["results"])


def test_without_a_filter_the_first_name_is_shown(program: Program) -> None:
    for answer in searches(program):
        (result,) = [found for found in answer["results"] if found["copies"]]
        assert [result["file"], *result["copies"]] == sorted(COPIES)


def test_folders_and_empty_values_mean_the_same_in_an_address_and_in_a_body(program: Program) -> None:
    for folder, count in (("holidays//2023", 2), ("./a", 2), ("z/", 1), ("", 5)):
        assert [answer["total"] for answer in searches(program, folder=folder, kind="", after="")] == [count] * 4
    blank = program.post("api/search", {"terms": [{"text": " "}]})
    assert blank["results"] == program.get("api/search?q=+")["results"] == program.get("api/search")["results"]


def refused(program: Program, path: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        program.get(path)
    with caught.value as error:
        return error.code, json.load(error)["error"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("after", "2023-13", "`after`: '2023-13' is no day; write 2023, 2023-05 or 2023-05-31"),
        ("before", "2023\n", "`before`: '2023\\n' is no day; write 2023, 2023-05 or 2023-05-31"),
        ("kind", "video", "`kind` is image or animation, not 'video'"),
        ("folder", "../x", "`folder` is a path below the library's folder, without `..`"),
    ],
)
def test_a_filter_that_means_nothing_is_a_sentence(program: Program, name: str, value: str, sentence: str) -> None:
    assert refused(program, "api/search?" + urllib.parse.urlencode({name: value})) == (400, sentence)
    status, said = program.refusal("api/search", {"filter": {name: value}})
    assert (status, sentence in said) == (400, True)


def test_unknown_and_repeated_parameters_of_an_address_are_named(program: Program) -> None:
    status, sentence = refused(program, "api/search?q=cat&colour=red")
    assert (status, sentence.startswith("there is no parameter 'colour' here; there are `after`, ")) == (400, True)
    assert refused(program, "api/search?k=1&k=2") == (400, "`k` is given more than once")
    assert refused(program, "api/search?folder=a&folder=z") == (400, "`folder` is given more than once")
    assert refused(program, "api/failures?page=2")[0] == 400
    assert program.get("api/search?q=one&q=two&k=3&offset=0&kind=image")["total"] == 5


@pytest.mark.parametrize("embedding", [[1e300] * 64, [1e30] * 64, [3e38] * 64])
def test_numbers_that_a_search_cannot_add_up_are_a_sentence_and_no_warning(
    program: Program, embedding: list[float]
) -> None:
    for path in ("", "api/search"):
        status, sentence = program.refusal(path, {"terms": [{"embedding": embedding}]})
        assert (status, "too large" in sentence or "larger than" in sentence) == (400, True)
    assert program.post("", {"terms": [{"embedding": [1e16] * 64}]})["matches"]
    assert "Warning" not in Path(program.config.with_suffix(".log")).read_text()
