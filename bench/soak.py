"""Mixed load on the embedding service for half an hour: is its memory flat, and does no request fail?

    python bench/soak.py [--minutes 30] [--model demo]

Bulk pixels, encoded pictures (some of them broken: 400 is the right answer), texts, clients that leave in the
middle, and bursts that must be refused with 429. The baseline of the memory is the sixth part of the run's
time, when caches are warm; flat means a ratio near 1.
"""

import argparse
import asyncio
import contextlib
import io
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
from common import PROJECT, embedding_service, memory_of
from models import model_for
from pictures import make_jpegs

sys.path.insert(0, str(PROJECT))
from memesearch import wire
from memesearch.clip.client import ClipClient

SAMPLE_SECONDS = 2.0
BURST = 400


class Load:
    """Clients of all kinds; `answers` counts statuses, `wrong` those that should not have been."""

    def __init__(self, url: str, session: aiohttp.ClientSession, size: tuple[int, int], pictures: list[bytes]) -> None:
        self._url, self._session, self._size, self._pictures = url, session, size, pictures
        self.answers: Counter[int] = Counter()
        self.wrong: Counter[str] = Counter()

    async def post(self, path: str, body: bytes, content_type: str, expected: set[int]) -> None:
        headers = {"Content-Type": content_type}
        async with self._session.post(self._url + path, data=io.BytesIO(body), headers=headers) as answer:
            await answer.read()
            self.answers[answer.status] += 1
            if answer.status not in expected:
                self.wrong[f"{path or '/'} {answer.status}"] += 1
            if answer.status == 429:
                await asyncio.sleep(0.2)

    async def bulk(self) -> None:
        width, height = self._size
        while True:
            count = random.randint(1, 96)
            body = wire.PixelHeader(count, width, height).pack() + random.randbytes(64) * (
                count * width * height * 3 // 64
            )
            body += bytes(16 + count * width * height * 3 - len(body))
            await self.post("pixels", body, wire.PIXELS, {200, 429})

    async def encoded(self) -> None:
        while True:
            pictures, broken = random.sample(self._pictures, random.randint(1, 12)), random.random() < 0.1
            if broken:
                pictures[0] = pictures[0][: len(pictures[0]) // 3]
            await self.post("", wire.pack({"images": pictures}), wire.MESSAGEPACK, {400, 429} if broken else {200, 429})

    async def texts(self) -> None:
        while True:
            texts = [f"thought {random.random()}" for _ in range(random.randint(1, 3))]
            await self.post("", wire.pack({"text": texts}), wire.MESSAGEPACK, {200, 429})
            await asyncio.sleep(0.05)

    async def leaving(self) -> None:
        while True:
            body = wire.pack({"images": random.sample(self._pictures, 8)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0, 0.05)):
                    await self.post("", body, wire.MESSAGEPACK, {200, 429})
            await asyncio.sleep(0.2)

    async def bursts(self) -> None:
        body = wire.pack({"text": ["all at once"] * 20})
        while True:
            await asyncio.sleep(20)
            await asyncio.gather(*(self.post("", body, wire.MESSAGEPACK, {200, 429}) for _ in range(BURST)))


async def run(url: str, pid: int, pictures: list[bytes], seconds: float) -> tuple[Load, list[int]]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        config = await ClipClient(url, session).refresh()
        load = Load(url, session, config.image_size, pictures)
        kinds = [load.bulk, load.bulk, load.encoded, load.encoded, load.texts, load.texts, load.leaving, load.bursts]
        clients = [asyncio.create_task(kind()) for kind in kinds]
        samples = []
        ended = time.monotonic() + seconds
        while (left := ended - time.monotonic()) > 0:
            await asyncio.sleep(SAMPLE_SECONDS)
            for client in clients:
                if client.done():
                    client.result()  # a client ends only by an error
            samples.append(memory_of(pid))
            done = sum(load.answers.values())
            print(
                f"\r{left / 60:5.1f} min left, {done} requests, {samples[-1] / 2**20:.0f} MB ", end="", file=sys.stderr
            )
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    return load, samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--model", default="demo")
    options = parser.parse_args()
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = [path.read_bytes() for path in make_jpegs(folder / "pictures", 200)]
        with embedding_service(folder, model_for(options.model, folder)) as url:
            found = subprocess.run(
                ["pgrep", "-f", f"clip_server.py {folder}"], capture_output=True, text=True, check=True
            )
            load, samples = asyncio.run(run(url, int(found.stdout.split()[0]), pictures, options.minutes * 60))
    sixth = len(samples) // 6
    early, late = (float(np.median(part)) for part in (samples[sixth : 2 * sixth], samples[-sixth:]))
    figures: dict[str, Any] = {
        "minutes": options.minutes,
        "requests": sum(load.answers.values()),
        "answers": {str(status): count for status, count in sorted(load.answers.items())},
        "wrong": dict(load.wrong),
        "early_mb": round(early / 2**20, 1),
        "late_mb": round(late / 2**20, 1),
        "peak_mb": round(max(samples) / 2**20, 1),
        "late_to_early": round(late / early, 3),
    }
    print(f"\nmemory at the end is {figures['late_to_early']} of what it was early; wrong answers: {figures['wrong']}")
    print(msgspec.json.encode(figures).decode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
