"""Latency of a search without the embedding call, beside a bare FAISS call, over 8,000 pictures.

    python bench/search.py [--pictures 8000] [--dimensions 1152]

The query is a vector, the answer has 1,000 results; the baseline is the same query to the same kind of
FAISS index in this process, in turn with the requests.
"""

import argparse
import base64
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import backend, get_json, post_json, wait_for
from stub_library import embedding_stub, fill_library, vectors

from memesearch.search.index.base import PARTS
from memesearch.search.index.exact import ExactIndex

ROUNDS = 300
RESULTS = 1000


def milliseconds(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=8000)
    parser.add_argument("--dimensions", type=int, default=1152)
    options = parser.parse_args()
    index = ExactIndex(options.dimensions)
    ids = np.arange(options.pictures, dtype=np.int64)
    index.add(ids * PARTS, vectors(options.pictures, options.dimensions))
    queries = vectors(ROUNDS, options.dimensions, seed=1)
    times: dict[str, list[float]] = {
        "bare FAISS": [],
        "first generation": [],
        "second generation": [],
        "/api/search": [],
    }
    with tempfile.TemporaryDirectory() as name, embedding_stub(options.dimensions) as (service, model_id):
        folder = Path(name)
        pictures = fill_library(folder, options.pictures, options.dimensions, model_id)
        with backend(folder, service, pictures) as (url, _):
            wait_for(lambda: get_json(url + "api/status")["indexing"]["state"] == "idle" and get_json(url)["d_emb"])
            for number, query in enumerate(queries):
                text = base64.urlsafe_b64encode(query.astype("<f2").tobytes()).decode()
                terms = {"terms": [{"embedding": text}], "k": RESULTS}
                first = {"embeddings": [query.astype(float).tolist()], "top_k": RESULTS}
                flat = query.astype(np.float32)
                actions: dict[str, Callable[[], Any]] = {
                    "bare FAISS": lambda q=flat: index.search(q, RESULTS),
                    "first generation": lambda b=first: post_json(url, b),
                    "second generation": lambda b=terms: post_json(url, b),
                    "/api/search": lambda b=terms: post_json(url + "api/search", b),
                }
                for what, action in actions.items():
                    times[what].append(milliseconds(action))
                if number % 100 == 99:
                    print(f"{number + 1} of {ROUNDS}", file=sys.stderr)
    figures: dict[str, Any] = {"pictures": options.pictures, "results": RESULTS}
    bare = float(np.median(times["bare FAISS"]))
    for what, taken in times.items():
        p50, p99 = (float(np.percentile(taken, p)) for p in (50, 99))
        figures[what] = {"p50_ms": round(p50, 2), "p99_ms": round(p99, 2), "p50_to_bare": round(p50 / bare, 2)}
        print(f"{what:18} p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  {p50 / bare:5.2f} x bare FAISS")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
