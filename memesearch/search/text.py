"""Searching the words written in pictures, file names and folders (SQLite FTS5).

Text recognition often loses the spaces between words ("ONEDOESNOTSIMPLY"), so whole words and
trigrams are both asked, and the candidates are ordered by how many of the query's words they
contain, then by BM25.
"""

import re

from memesearch.library.reads import EVERYTHING
from memesearch.library.records import Filter, Hit
from memesearch.library.store import Store

CANDIDATES = 400
MOST_WORDS = 64  # of a query; a pasted page would keep everybody waiting
LEAST_COVERAGE = 0.5
STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "from",
        "has",
        "have",
        "he",
        "her",
        "his",
        "i",
        "in",
        "is",
        "it",
        "its",
        "me",
        "my",
        "no",
        "not",
        "of",
        "on",
        "or",
        "our",
        "she",
        "so",
        "that",
        "the",
        "their",
        "them",
        "they",
        "this",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "who",
        "will",
        "with",
        "you",
        "your",
    ]
)


def query_words(text: str) -> list[str]:
    """Lower-case words that are worth looking for; stop words only when there is nothing else."""
    words = list(dict.fromkeys(re.findall(r"\w+", text.lower())))
    return ([word for word in words if word not in STOP_WORDS] or words)[:MOST_WORDS]


def quoted(word: str) -> str:
    """A word as an FTS5 string; nothing in it is syntax."""
    return '"' + word.replace('"', '""') + '"'


def coverage(words: list[str], hit: Hit) -> float:
    """The share of `words` that stand in the picture's text, name or folder, spaces aside."""
    haystack = " ".join([hit.text or "", *hit.files]).lower()
    glued = re.sub(r"[\W_]+", "", haystack)
    return sum(word in (glued if len(word) > 2 else haystack) for word in words) / len(words)


async def search_words(store: Store, text: str, chosen: Filter = EVERYTHING) -> list[tuple[int, float]]:
    """Contents for the words of `text`, best first, with the share of the words that each contains."""
    words = query_words(text)
    if not words:
        return []
    ranked = await store.match_words("words", " OR ".join(f"{quoted(word)}*" for word in words), CANDIDATES, chosen)
    long_words = [word for word in words if len(word) >= 3]
    if long_words:
        expression = " OR ".join(quoted(word) for word in long_words)
        ranked += await store.match_words("trigrams", expression, CANDIDATES, chosen)
    hits = await store.hits(list(dict.fromkeys(ranked)))
    order = {content: place for place, content in reversed(list(enumerate(ranked)))}
    covered = [(content, coverage(words, hits[content])) for content in order if content in hits]
    good = [entry for entry in covered if entry[1] >= LEAST_COVERAGE]
    return sorted(good, key=lambda entry: (-entry[1], order[entry[0]]))
