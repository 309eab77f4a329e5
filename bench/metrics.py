"""What the embedding service's metrics cost, beside the embedding of one text with the demo model.

python bench/metrics.py
"""

import argparse
import asyncio
import json
import sys
import timeit
from collections.abc import Callable

from common import DEMO_MODEL, PROJECT

sys.path.insert(0, str(PROJECT))
from prometheus_client import generate_latest

from memesearch.clip import metrics
from memesearch.clip.engine import make_engine
from memesearch.clip.loading import load_model
from memesearch.clip.model import pick_device
from memesearch.clip.service import Service
from memesearch.config import ClipServerConfig


def microseconds(work: Callable[[], object], number: int) -> float:
    """The best of five turns, a call."""
    return min(timeit.repeat(work, number=number, repeat=5)) / number * 1e6


async def measure() -> dict[str, float]:
    engine = make_engine(load_model(DEMO_MODEL), [pick_device("cpu")], "auto", 64, False)
    service = Service(ClipServerConfig(model=DEMO_MODEL, port=1), engine)
    observer = metrics.Observer("demo")

    def scrape() -> None:
        metrics.refresh(service.batcher, engine, service.items)

    found = {
        "embedding one text (baseline)": microseconds(lambda: engine.model.encode_text(["a cat"]), 50),
        "a batch: five counters and histograms": microseconds(lambda: observer("image", 16, 0.1, 0.2), 20_000),
        "a picture: time of preprocessing": microseconds(lambda: metrics.PREPROCESSED.observe(0.01), 20_000),
        "a scrape: gauges brought up to date": microseconds(
            lambda: metrics.refresh(service.batcher, engine, service.items), 2_000
        ),
        "a scrape: the page": microseconds(generate_latest, 200),
    }
    service.batcher.close()
    return found


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = asyncio.run(measure())
    baseline = found["embedding one text (baseline)"]
    for what, cost in found.items():
        print(f"{what:40} {cost:10.1f} µs, {cost / baseline:.4f} of the baseline")
    print(json.dumps({what: round(cost, 2) for what, cost in found.items()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
