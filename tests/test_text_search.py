"""The words' part of a search: which words count, and how rankings are joined."""

import pytest

from memesearch.library.records import Hit
from memesearch.search.fuse import fuse
from memesearch.search.text import coverage, query_words, quoted


def hit(text: str, *files: str) -> Hit:
    return Hit(1, b"", list(files) or ["a/b.png"], 1, 1, None, text)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("The cat that regrets everything", ["cat", "regrets", "everything"]),
        ("to be or not to be", ["to", "be", "or", "not"]),
        ("  ?!  ", []),
        ("Ünïcode, ünïcode", ["ünïcode"]),
    ],
)
def test_stop_words_are_left_out_unless_there_is_nothing_else(query: str, words: list[str]) -> None:
    assert query_words(query) == words


def test_words_are_found_where_text_recognition_lost_the_spaces() -> None:
    assert coverage(["simply", "walk"], hit("ONEDOESNOT\nSIMPLYWALK")) == 1
    assert coverage(["simply", "fly"], hit("ONEDOESNOT\nSIMPLYWALK")) == 0.5
    assert coverage(["beach"], hit("", "trips/beach_2019.jpg")) == 1


def test_nothing_in_a_word_is_syntax() -> None:
    assert quoted('a"b OR *') == '"a""b OR *"'


def test_fusion_equals_the_sum_of_reciprocal_ranks() -> None:
    joined = fuse([([1, 2, 3], [1.0, 1.0, 1.0]), ([3, 4], [1.5, 0.75])])
    expected = {1: 1 / 61, 2: 1 / 62, 3: 1 / 63 + 1.5 / 61, 4: 0.75 / 62}
    assert dict(joined) == pytest.approx(expected)
    assert [item for item, _ in joined] == sorted(expected, key=lambda item: -expected[item])
