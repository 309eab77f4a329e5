"""How often five words written in a meme find it: by meaning, by words, and fused.

    python bench/corpus.py [--backend URL]

Indexes the corpus folder ($MSE_CORPUS, default ../shared/corpus: `memes/labels.json`, `memes/`,
`photos/`) with the bundled model and text recognition, which takes some minutes; `--backend` asks
one that has done so already. The baseline is the vectors' own ranking in the same run.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import urllib.parse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common import get_json, post_json, running_services, wait_for_texts

CORPUS = Path(os.environ.get("MSE_CORPUS", Path(__file__).resolve().parents[2] / "shared" / "corpus"))
WORDS = 5


def queries() -> list[tuple[str, str, str]]:
    """(set, file, five of its words in their order) for each meme whose text is known."""
    chosen = random.Random(0)
    found = []
    for label in json.loads((CORPUS / "memes" / "labels.json").read_text("utf-8")):
        words = re.findall(r"[^\W_]+", " ".join(label.get("text") or []))
        if words:
            places = sorted(chosen.sample(range(len(words)), min(WORDS, len(words))))
            found.append((label["set"], label["file"], " ".join(words[place] for place in places)))
    return found


def by_vectors(backend: str, query: str) -> list[str]:
    answer = post_json(backend, {"terms": [{"text": query}], "k": 10})
    return [match[1] for match in answer["matches"]]


def fused(backend: str, query: str) -> list[dict[str, Any]]:
    asked = urllib.parse.urlencode({"q": query, "k": 1000})
    return list(get_json(f"{backend}api/search?{asked}")["results"])


def by_words(backend: str, query: str) -> list[str]:
    """The words' own ranking, as the fused answer tells it."""
    ranked = [result for result in fused(backend, query) if result["text_rank"]]
    return [result["file"] for result in sorted(ranked, key=lambda result: int(result["text_rank"]))][:10]


def measure(backend: str) -> dict[str, dict[str, float]]:
    rankings: dict[str, Callable[[str, str], list[str]]] = {
        "vectors": by_vectors,
        "words": by_words,
        "fused": lambda url, query: [result["file"] for result in fused(url, query)[:10]],
    }
    figures: dict[str, dict[str, float]] = {}
    asked = queries()
    for kind in sorted({entry[0] for entry in asked}):
        for name, rank in rankings.items():
            places = []
            for _, file, query in (entry for entry in asked if entry[0] == kind):
                results = rank(backend, query)
                hit = [place for place, result in enumerate(results) if result.endswith("memes/" + file)]
                places.append(hit[0] if hit else 10)
            figures[f"{kind}/{name}"] = {
                "memes": len(places),
                "recall@1": round(statistics.mean(place < 1 for place in places), 3),
                "recall@10": round(statistics.mean(place < 10 for place in places), 3),
            }
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", help="address of a backend that has indexed the corpus")
    options = parser.parse_args()
    if not (CORPUS / "memes" / "labels.json").is_file():
        print(f"there is no corpus at {CORPUS}: set MSE_CORPUS", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        backend = options.backend
        if backend is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for part in ("memes", "photos"):
                shutil.copytree(CORPUS / part, folder / "pictures" / part)
            backend = stack.enter_context(running_services(folder, folder / "pictures", ocr=True))
            wait_for_texts(backend)
        figures = measure(backend)
    for name, row in figures.items():
        kind = name.partition("/")[0]
        baseline = max(figures[f"{kind}/vectors"]["recall@10"], 1 / row["memes"])  # at least one found by luck
        print(f"{name:28} {row['memes']:4} memes  recall@1 {row['recall@1']:.3f}  recall@10 {row['recall@10']:.3f}"
              f"  ({row['recall@10'] / baseline:.1f} x vectors)")  # fmt: skip
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
