"""Thumbnails in the backend's answers: made by itself or by a timer, offered truthfully, served safely."""

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from launched import PROJECT
from PIL import Image
from services import Program, backend, reload, wait_for, wait_until_idle
from thumbnailing import paint


@pytest.fixture
def library(tmp_path: Path, service: Program) -> Iterator[Program]:
    """A backend over three pictures that makes its own thumbnails for the grid."""
    for seed in range(2):
        paint(tmp_path / f"pictures/{seed}.png", seed)
    Image.new("P", (30, 30)).save(tmp_path / "pictures/dot.gif")
    program = backend(tmp_path, service, tmp_path / "pictures", thumbnails="thumbnails").start()
    wait_until_idle(program)
    yield program
    assert program.stop() == 0


def results(program: Program) -> dict[str, dict[str, Any]]:
    """The newest pictures by file, each with the addresses of its thumbnails as the answer describes them."""
    answer = program.get("api/search")
    for result in answer["results"]:
        there = [name for i, name in enumerate(answer["formats"]) if result["formats"] >> i & 1]
        result["thumbs"] = {name: f"thumbs/{result['thumbnail']}{name}.{answer['extensions'][name]}" for name in there}
    return {result["file"]: result for result in answer["results"]}


def all_have(program: Program, *formats: str) -> bool:
    return all(set(result["thumbs"]) >= set(formats) for result in results(program).values())


def run_program(folder: Path, *formats: str) -> None:
    """thumbnailer.py as a timer would run it beside the backend."""
    config = folder / "thumbnailer_config.json"
    settings = {"input": "pictures", "output": "thumbnails", "database": "library.db", "formats": formats}
    config.write_text(json.dumps(settings))
    ended = subprocess.run(
        [sys.executable, str(PROJECT / "thumbnailer.py"), str(config)], capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_the_backend_makes_thumbnails_by_itself_and_says_which_there_are(library: Program, tmp_path: Path) -> None:
    wait_for(lambda: all_have(library, "webp-400"))
    assert library.get("api/status")["thumbnails"]["state"] == "idle"
    paint(tmp_path / "pictures/new.png", 7)
    reload(library)
    wait_for(lambda: len(results(library)) == 4 and all_have(library, "webp-400"))
    vector = [1.0] + [0.0] * 255
    second = library.post("", {"terms": [{"embedding": vector}]})
    shown = results(library)
    assert second["formats"][0] == "webp-400"
    assert second["extensions"]["webp-400"] == "webp"
    assert {(match[1], match[2], match[3]) for match in second["matches"]} == {
        (file, result["thumbnail"], 1) for file, result in shown.items()
    }


def test_formats_that_a_timer_makes_are_offered_too_and_those_of_gone_pictures_vanish(
    library: Program, tmp_path: Path
) -> None:
    run_program(tmp_path, "jpeg-800", "avif-lq")
    wait_for(lambda: all_have(library, "webp-400", "jpeg-800", "avif-lq"))
    address = results(library)["1.png"]["thumbs"]["avif-lq"]
    (tmp_path / "pictures/1.png").unlink()
    reload(library)

    def is_gone() -> bool:
        try:
            urllib.request.urlopen(library.url + address, timeout=30).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 404
        return False

    wait_for(is_gone)


def test_a_thumbnail_is_cached_for_ever_and_has_its_type(library: Program) -> None:
    wait_for(lambda: all_have(library, "webp-400"))
    address = library.url + results(library)["0.png"]["thumbs"]["webp-400"]
    with urllib.request.urlopen(address, timeout=30) as answer:
        headers = answer.headers
        assert Image.open(answer).size == (400, 320)
    assert headers["Content-Type"] == "image/webp"
    assert "immutable" in headers["Cache-Control"]
    again = urllib.request.Request(address, headers={"If-None-Match": headers["ETag"]})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(again, timeout=30)
    assert caught.value.code == 304
    caught.value.close()


def test_a_picture_that_stands_for_its_own_thumbnail_is_served_as_what_it_is(library: Program) -> None:
    wait_for(lambda: all_have(library, "webp-400"))
    shown = results(library)["dot.gif"]["thumbs"]
    with urllib.request.urlopen(library.url + shown["webp-400"], timeout=30) as answer:
        assert answer.headers["Content-Type"] in ("image/gif", "image/webp")
        assert Image.open(answer).size == (30, 30)


def test_a_link_to_a_picture_that_was_edited_is_not_given_out_for_the_old_one(library: Program, tmp_path: Path) -> None:
    wait_for(lambda: all_have(library, "webp-400"))
    run_program(tmp_path, "jpeg-fullscale")
    wait_for(lambda: all_have(library, "jpeg-fullscale"))
    address = library.url + results(library)["dot.gif"]["thumbs"]["jpeg-fullscale"]
    urllib.request.urlopen(address, timeout=30).close()
    Image.new("P", (40, 40)).save(tmp_path / "pictures/dot.gif")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(address, timeout=30)
    assert caught.value.code == 404
    caught.value.close()


@pytest.mark.parametrize(
    "path", ["thumbnails.db", "CACHEDIR.TAG", ".lock", "..%2flibrary.db", "00/%2e%2e/%2e%2e/library.db"]
)
def test_nothing_but_thumbnails_is_served(library: Program, path: str) -> None:
    wait_for(lambda: all_have(library, "webp-400"))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{library.url}thumbs/{path}", timeout=30)
    assert caught.value.code == 404
    caught.value.close()


def test_without_thumbnails_answers_offer_none_and_go_on(library: Program, tmp_path: Path) -> None:
    wait_for(lambda: all_have(library, "webp-400"))
    shutil.rmtree(tmp_path / "thumbnails")
    assert all(result["thumbs"] == {} for result in results(library).values())
    reload(library)
    wait_for(lambda: all_have(library, "webp-400"))


def test_a_broken_list_of_thumbnails_costs_no_search(library: Program, tmp_path: Path) -> None:
    wait_for(lambda: all_have(library, "webp-400"))
    (tmp_path / "thumbnails/thumbnails.db").write_bytes(b"not a database" * 1000)
    assert len(library.get("api/search")["results"]) == 3
    assert len(library.get("api/search?q=dot")["results"]) >= 1


def test_many_searches_at_once_while_the_list_is_replaced_are_all_answered(library: Program, tmp_path: Path) -> None:
    wait_for(lambda: all_have(library, "webp-400"))
    database = tmp_path / "thumbnails/thumbnails.db"
    copies = [tmp_path / f"copy-{n}.db" for n in range(20)]
    for copy in copies:
        shutil.copy(database, copy)
    with ThreadPoolExecutor(8) as pool:
        searches = [pool.submit(library.get, "api/search") for _ in range(100)]
        for copy in copies:
            database.unlink()
            time.sleep(0.01)
            copy.replace(database)
            time.sleep(0.01)
        assert all(len(search.result(30)["results"]) == 3 for search in searches)
    assert all_have(library, "webp-400")
