"""Whatever is sent to the search backend is answered with a clear error, and it goes on."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from services import Program, backend, clip_server, draw, wait_until_idle


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("hostile")
    service = clip_server(folder).start()
    draw(folder / "pictures/one.png", 1)
    running = backend(folder, service, folder / "pictures").start()
    wait_until_idle(running)
    yield running
    assert running.get("")["n_total"] == 1
    assert running.stop() == 0
    service.stop()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"not json", 400, "not valid JSON"),
        (b"", 400, "not valid JSON"),
        (b"[]", 400, "Expected `object`, got `array`"),
        (b'{"text": [["cat", NaN]]}', 400, "not valid JSON"),
        (b'{"text": [["cat", 1e999]]}', 400, "out of range"),
        (b'{"text": [["cat", 1e9]]}', 400, "`weight` must be"),
        (b'{"text": [["cat", "x"]]}', 400, "Expected `float`, got `str`"),
        (b'{"text": [["cat", 1]], "top_k": -1}', 400, "cannot be negative"),
        (b'{"terms": [{"weight": 2}]}', 400, "exactly one of"),
        (b'{"terms": [{"text": "a", "image": "b"}]}', 400, "exactly one of"),
        (b'{"terms": [{"embedding": [1, 2]}]}', 400, "has 2 numbers"),
        (b'{"terms": [{"image": "!!!"}]}', 400, "not valid base64"),
        (b'{"terms": [{"image": "aGVsbG8="}]}', 400, "not a picture"),
        (b'{"terms": [{"predefined_embedding": "x"}]}', 404, "no predefined embedding"),
        (b'{"terms": [{"file": "../../etc/passwd"}]}', 404, "has no picture"),
        (b'{"terms": [{"text": "\\ud800"}]}', 400, "not valid JSON"),
        (b'{"text": [' + b'["a", 1],' * 1000 + b'["a", 1]]}', 400, "length <= 64"),
        (b'{"terms": [' + b'{"text": "a"},' * 64 + b'{"text": "a"}]}', 400, "length <= 64"),
        (b'{"text": [["' + b"a" * 4001 + b'", 1]]}', 400, "at most 4,000 characters"),
        (b'{"terms": [{"weight": 1e6, "embedding": [' + b"3e38," * 255 + b"3e38]}]}", 400, "larger than a search"),
        (b"[" * 100_000, 400, "the body is not"),
        (b"0" * (65 * 2**20), 413, "larger than"),
    ],
)
def test_a_bad_search_is_refused_in_one_sentence(program: Program, body: bytes, status: int, words: str) -> None:
    answered, sentence = program.refusal("", body)
    assert answered == status
    assert words in sentence


def test_a_huge_number_of_results_is_simply_all_of_them(program: Program) -> None:
    assert len(program.post("", {"text": [["cat", 1]], "top_k": 10**9})) == 1
    assert program.post("", {}) == []


def test_refused_queries_are_not_counted(program: Program) -> None:
    before = program.metric("mse_terms_total"), program.metric("mse_queries_total")
    program.refusal("", b'{"terms": [{"predefined_embedding": "x"}]}')
    assert (program.metric("mse_terms_total"), program.metric("mse_queries_total")) == before


@pytest.mark.parametrize("path", ["api/search?", "api/search?q=cat&", "api/failures?"])
def test_an_offset_behind_everything_is_an_empty_page(program: Program, path: str) -> None:
    for offset in (10**6, 2**63, 10**20):
        answer = program.get(f"{path}offset={offset}")
        assert answer.get("results", answer.get("failures")) == []


def test_a_text_that_is_too_long_is_refused_in_an_address_too(program: Program) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        program.get("api/search?q=" + "a" * 4001)
    assert caught.value.code == 400
    caught.value.close()


@pytest.mark.parametrize(
    "path", ["nope", "pictures/../mse.py", "pictures/%2e%2e/library.db", "static/..%2f..%2fmse.py"]
)
def test_nothing_outside_is_served(program: Program, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        program.get(path)
    assert caught.value.code == 404
    assert list(json.load(caught.value)) == ["error"]
    caught.value.close()


def test_another_sites_page_cannot_make_it_work(program: Program) -> None:
    request = urllib.request.Request(program.url + "reload_index", b"", {"Origin": "http://elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert caught.value.code == 403
    caught.value.close()
