"""How many bits a number needs: recall against candidates that are ranked exactly, bytes, and time to scan.

    python bench/index_bits.py [--n 200000] [--d 1152] [--queries 100]

RaBitQ codes of 1 to 4 bits behind a random rotation in FAISS, every list scanned, so that only the codes lose anything:
1 and 2 bits with the fast-scan kernels that a compact index uses, 3 and 4 with FAISS's other ones. The baseline of the
times is FAISS's exact float32 scan of the same rows; one thread. Vectors and text queries: vectors.py.
"""

import argparse
import json
import time
from typing import Any

import faiss
import numpy as np
from index_truth import Float, nearest, recall
from vectors import CHUNK, Distribution

DEPTHS = (100, 300, 1000, 3000)
ROWS_A_LIST = 512
ROUNDS = 3


def rotation_of(dimensions: int) -> Float:
    return np.linalg.qr(np.random.default_rng(0).standard_normal((dimensions, dimensions)))[0].astype(np.float32)


def codes_of(bits: int, turned: Float) -> Any:
    """An index of `turned` [n, d] with so many bits a number."""
    lists = len(turned) // ROWS_A_LIST
    nearest_list = faiss.IndexFlatIP(turned.shape[1])
    if bits <= 2:
        codes = faiss.IndexIVFRaBitQFastScan(
            nearest_list, turned.shape[1], lists, faiss.METRIC_INNER_PRODUCT, 32, True, bits
        )
    else:
        codes = faiss.IndexIVFRaBitQ(nearest_list, turned.shape[1], lists, faiss.METRIC_INNER_PRODUCT, True, bits)
    codes.train(turned[:: max(1, len(turned) // 65536)])
    codes.add(turned)
    codes.nprobe = lists
    return codes


def milliseconds(search: Any, queries: Float) -> float:
    """Median of one query's time, over all queries and rounds."""
    times = []
    for _ in range(ROUNDS):
        for query in queries:
            started = time.perf_counter()
            search(query[None])
            times.append((time.perf_counter() - started) * 1000)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--d", type=int, default=1152)
    parser.add_argument("--queries", type=int, default=100)
    options = parser.parse_args()
    made = Distribution(options.d)
    queries = made.queries(options.queries)["text"]
    vectors = np.concatenate(
        [made.pictures(made.latents(CHUNK, chunk)) for chunk in range(-(-options.n // CHUNK))]
    )[: options.n].astype(np.float16)  # fmt: skip
    truth = nearest(vectors, np.arange(options.n), queries)
    rotation = rotation_of(options.d)
    turned, asked = vectors.astype(np.float32) @ rotation.T, queries @ rotation.T
    exact = faiss.IndexFlatIP(options.d)
    exact.add(vectors.astype(np.float32))
    faiss.omp_set_num_threads(1)
    whole = milliseconds(lambda query: exact.search(query, 10), queries[:30])
    print(f"{options.n:,} vectors of {options.d} numbers; exact float32: {whole:.1f} ms")
    found: list[dict[str, Any]] = []
    for bits in (1, 2, 3, 4):
        faiss.omp_set_num_threads(2)
        codes = codes_of(bits, turned)
        faiss.omp_set_num_threads(1)
        candidates = np.concatenate([codes.search(query[None], max(DEPTHS))[1] for query in asked])
        row: dict[str, Any] = {
            "bits": bits,
            "code_bytes": int(codes.code_size),
            "scan_ms": round(milliseconds(lambda query, codes=codes: codes.search(query, 300), asked), 2),
            "recall": {},
        }
        row["of_exact"] = round(row["scan_ms"] / whole, 3)
        for depth in DEPTHS:
            ranked = []
            for query, rows in zip(queries, candidates, strict=True):
                some = rows[:depth][rows[:depth] >= 0]
                scores = vectors[some].astype(np.float32) @ query
                ranked.append(some[np.argsort(-scores, kind="stable")[:10]])
            row["recall"][depth] = round(recall(ranked, truth, 10), 4)
        found.append(row)
        told = ", ".join(f"{depth}: {value:.3f}" for depth, value in row["recall"].items())
        print(
            f"{bits} bits, {row['code_bytes']} B: {row['scan_ms']} ms ({row['of_exact']} of exact); {told}", flush=True
        )
    print(json.dumps({"n": options.n, "d": options.d, "exact_ms": round(whole, 2), "rows": found}))


if __name__ == "__main__":
    main()
