"""What the embedding service tells Prometheus."""

import asyncio
from collections import deque

from prometheus_client import Counter, Gauge, Histogram

from memesearch.admission import Limit
from memesearch.clip.batcher import Batcher, Modality
from memesearch.clip.engine import Engine

FINE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BUSY_SECONDS = 15

ITEMS = Counter("modelserver_total_items", "Items embedded", ["model", "modality"])
TIME = Histogram("modelserver_inftime", "Seconds a batch took", ["model", "batch_size"])
BATCHES = Counter("modelserver_batchcount", "Batches put through the model", ["model"])
WAITED = Histogram("modelserver_waiting_seconds", "Wait of a batch's oldest item", ["modality"], buckets=FINE)
COMPUTED = Histogram("modelserver_computing_seconds", "Seconds of a batch on the device", ["modality"], buckets=FINE)
PREPROCESSED = Histogram("modelserver_preprocessing_seconds", "Seconds to decode and fit one picture", buckets=FINE)
REJECTED = Counter("modelserver_rejections", "Requests refused because too much waits", ["what"])
WAITING = Gauge("modelserver_waiting_items", "Items that no batch has taken yet", ["modality", "priority"])
ACCEPTED = Gauge("modelserver_accepted_items", "Items accepted and not yet answered", ["priority"])
OLDEST = Gauge("modelserver_oldest_seconds", "How long ago the oldest request not yet answered was accepted")
MEMORY = Gauge("modelserver_device_memory_bytes", "Device memory in use by tensors", ["device"])
BUSY = Gauge("modelserver_device_busy", f"Part of the last {BUSY_SECONDS} seconds that the lanes worked, 0 to 1")
BUSY_TOTAL = Counter("modelserver_device_busy_seconds", "Seconds that the lanes worked, in the mean")
READY = Gauge("modelserver_ready", "1 once warm-up is over")


class Observer:
    """Told of each batch."""

    def __init__(self, model: str) -> None:
        self._model = model

    def __call__(self, modality: Modality, size: int, waited: float, computed: float) -> None:
        ITEMS.labels(self._model, modality).inc(size)
        TIME.labels(self._model, str(size)).observe(computed)
        BATCHES.labels(self._model).inc()
        WAITED.labels(modality).observe(waited)
        COMPUTED.labels(modality).observe(computed)


def refresh(batcher: Batcher, engine: Engine, items: dict[bool, Limit]) -> None:
    """Bring the gauges up to date; called when Prometheus asks."""
    for (interactive, modality), count in batcher.waiting().items():
        WAITING.labels(modality, "interactive" if interactive else "bulk").set(count)
    for interactive, limit in items.items():
        ACCEPTED.labels("interactive" if interactive else "bulk").set(limit.used)
    OLDEST.set(max(limit.oldest() for limit in items.values()))
    for device, size in engine.memory().items():
        MEMORY.labels(device).set(size)


async def watch_busy(batcher: Batcher) -> None:
    """Keep BUSY true, as a background task."""
    marks: deque[float] = deque([batcher.busy_seconds()], maxlen=BUSY_SECONDS + 1)
    while True:
        await asyncio.sleep(1)
        now = batcher.busy_seconds()
        BUSY_TOTAL.inc(now - marks[-1])
        marks.append(now)
        BUSY.set(min(1.0, (now - marks[0]) / (len(marks) - 1)))
