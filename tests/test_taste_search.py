"""Searching by the person's taste: the direction "Me", the order by it, and what happens where there is none."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from services import Program, backend, draw, files_in_index, wait_for, wait_until_idle

from memesearch.backend.taste import ME, Taste, spelled_out
from memesearch.library.pool import Pool, read_pool
from memesearch.search.query import Term
from memesearch.taste.checkpoint import save
from memesearch.taste.labels import labels
from memesearch.taste.ridge import Ridge

PICTURES = 24


@pytest.fixture(scope="module")
def library(service: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A backend whose `taste` folder is still empty."""
    folder = tmp_path_factory.mktemp("library")
    for seed in range(PICTURES):
        draw(folder / "pictures" / f"{seed:02}.png", seed)
    program = backend(folder, service, folder / "pictures", taste="models").start()
    wait_until_idle(program)
    yield program
    program.stop()


def folder_of(library: Program) -> Path:
    return library.config.parent


def pool_of(library: Program) -> Pool:
    return read_pool(folder_of(library) / "library.db")


def learn(library: Program, liked: list[int], model_id: str | None = None) -> tuple[Ridge, Pool]:
    """Make the current checkpoint one of a person who keeps these rows of the library and discards the others."""
    pool, model = pool_of(library), Ridge()
    model.fit(pool.vectors, labels([], [(row, row in liked) for row in range(len(pool))]), np.arange(len(pool)))
    made = save(folder_of(library) / "models", model, model_id or pool.model_id, {}, {})
    wait_for(lambda: library.get("api/status")["taste"]["model"] == made.name)
    return model, pool


def search(library: Program, **body: Any) -> Any:
    return library.post("api/search", body)


def files(answer: Any) -> list[str]:
    return [result["file"] for result in answer["results"]]


def by_keep(model: Ridge, pool: Pool) -> list[str]:
    keep = dict(zip(pool.names, model.keep_probability(pool.vectors), strict=True))
    return sorted(pool.names, key=lambda name: -keep[name])


def test_before_anything_was_trained_searches_go_on_and_say_why_the_taste_was_left_out(library: Program) -> None:
    assert "nothing was trained yet" in library.get("api/status")["taste"]["problem"]
    assert library.get("")["predefined_embedding_names"] == []
    answer = search(library, terms=[{"text": "circle"}, {"predefined_embedding": "Me"}], sort="taste")
    assert files(answer) == files(search(library, terms=[{"text": "circle"}]))
    assert any("nothing was trained yet" in notice for notice in answer["notices"])
    assert library.refusal("", {"terms": [{"predefined_embedding": "Me"}]})[0] == 404


def test_a_trained_taste_is_a_direction_that_can_be_weighed_both_ways(library: Program) -> None:
    model, pool = learn(library, [0, 5, 10])
    assert library.get("")["predefined_embedding_names"] == ["Me"]
    direction = model.direction(pool.vectors)
    expected = [pool.names[row] for row in np.argsort(-(pool.vectors @ direction))]
    for weight, order in ((1, expected), (-0.5, expected[::-1])):
        answer = library.post("", {"terms": [{"predefined_embedding": "Me", "weight": weight}]})
        assert [match[1] for match in answer["matches"]][:5] == order[:5]
    assert set(files(search(library, terms=[{"predefined_embedding": "Me"}]))) == files_in_index(library)


def test_results_sorted_by_taste_come_in_the_order_of_the_models_own_probability(library: Program) -> None:
    model, pool = learn(library, [1, 2, 3])
    answer = search(library, terms=[{"text": "circle"}], sort="taste")
    assert files(answer) == by_keep(model, pool)
    keep = dict(zip(pool.names, model.keep_probability(pool.vectors), strict=True))
    assert [result["keep"] for result in answer["results"]] == pytest.approx([keep[name] for name in files(answer)])
    assert answer["notices"] == []
    assert {result["keep"] for result in search(library, terms=[{"text": "circle"}])["results"]} == {None}


def test_the_newest_sorted_by_taste_are_the_whole_library_in_pages_without_gaps(library: Program) -> None:
    model, pool = learn(library, [4, 8])
    pages = [search(library, sort="taste", k=7, offset=offset) for offset in range(0, PICTURES, 7)]
    assert [file for page in pages for file in files(page)] == by_keep(model, pool)
    assert {page["total"] for page in pages} == {PICTURES}
    assert files(library.get("api/search?sort=taste&k=3")) == by_keep(model, pool)[:3]


def test_another_model_that_becomes_the_current_one_is_followed(library: Program) -> None:
    before, _ = learn(library, [0])
    model, pool = learn(library, [20, 21])
    assert by_keep(before, pool) != by_keep(model, pool)
    assert files(search(library, sort="taste")) == by_keep(model, pool)


def test_a_taste_for_another_models_vectors_is_left_out_and_both_are_named(library: Program) -> None:
    learn(library, [0], model_id="another-model")
    assert "another-model" in library.get("api/status")["taste"]["problem"]
    answer = search(library, terms=[{"text": "circle"}], sort="taste")
    assert {result["keep"] for result in answer["results"]} == {None}
    assert "another-model" in answer["notices"][0]
    assert pool_of(library).model_id in answer["notices"][0]
    assert library.get("")["predefined_embedding_names"] == []
    learn(library, [0])
    assert search(library, terms=[{"text": "circle"}], sort="taste")["notices"] == []


def test_a_damaged_model_stops_no_search(library: Program) -> None:
    learn(library, [0])
    models = folder_of(library) / "models"
    name = (models / "current").read_text().strip()
    (models / "current").write_text("../../etc\n")
    wait_for(lambda: "current" in (library.get("api/status")["taste"]["problem"] or ""))
    (models / name / "weights.npz").write_bytes(b"half a file")
    (models / "current").write_text(name)
    wait_for(lambda: "weights.npz" in (library.get("api/status")["taste"]["problem"] or ""))
    assert len(files(search(library, terms=[{"text": "circle"}], sort="taste"))) == PICTURES


def test_a_model_whose_folder_was_away_is_used_when_it_is_back(library: Program) -> None:
    model, pool = learn(library, [3])
    models = folder_of(library) / "models"
    name = (models / "current").read_text().strip()
    (models / name).rename(models / "elsewhere")
    (models / "current").write_text(name)
    wait_for(lambda: name in (library.get("api/status")["taste"]["problem"] or ""))
    (models / "elsewhere").rename(models / name)
    wait_for(lambda: library.get("api/status")["taste"]["problem"] is None)
    assert files(search(library, sort="taste")) == by_keep(model, pool)


async def test_a_search_keeps_the_taste_it_began_with_while_another_is_read(library: Program, tmp_path: Path) -> None:
    pool, model = pool_of(library), Ridge()
    model.fit(pool.vectors, labels([], [(0, True), (1, False)]), np.arange(len(pool)))
    made = save(tmp_path, model, pool.model_id, {}, {})
    taste = Taste(tmp_path)
    await taste.refresh()
    began = taste.learned
    assert began is not None and began.checkpoint.name == made.name
    save(tmp_path, model, pool.model_id, {}, {})
    taste._looked = 0.0
    reading = asyncio.create_task(taste.refresh())
    seen = set()
    while not reading.done():
        seen.add(taste.learned is None)
        await asyncio.sleep(0)
    assert seen == {False}
    (spelled,) = spelled_out([Term(predefined_embedding=ME, weight=2.0)], began)
    assert spelled == Term(embedding=began.direction.tolist(), weight=2.0)


def test_an_order_that_does_not_exist_is_refused(library: Program) -> None:
    assert library.refusal("api/search", {"sort": "size"})[0] == 400


def test_without_the_key_there_is_no_taste(service: Program, tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "one.png", 1)
    program = backend(tmp_path, service, tmp_path / "pictures").start()
    wait_until_idle(program)
    assert program.get("api/status")["taste"] is None
    answer = search(program, sort="taste")
    assert files(answer) == ["one.png"]
    assert "`taste` is not set" in answer["notices"][0]
    program.stop()


@pytest.mark.parametrize("raw", [b"", b"x" * 5000, b"a\0b", b"\xff", b"..", b"gone"])
async def test_a_damaged_name_of_the_current_model_is_told_and_raises_nothing(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "current").write_bytes(raw)
    taste = Taste(tmp_path)
    await taste.refresh()
    assert taste.learned is None
    assert str(tmp_path) in (taste.problem or "")
