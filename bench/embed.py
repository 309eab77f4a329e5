"""What the embedding service makes of its device: files to vectors beside the bare forward, in one run.

    python bench/embed.py MODEL [--precision auto] [--pictures 2000] [--rounds 3]

MODEL is `demo` or an OpenCLIP architecture (random weights: speed does not depend on them). Measured in
turn, on the same pictures and in the same precision:
(a) the bare forward at its best batch size, (b) files to vectors through the service with the backend's
decoders and client, (c) a plain loop, one picture at a time, (d) the first implementation's scheme;
then text queries while (b) runs. `a/roof` is the forward beside the device's own dense matrix product in that
precision, by the model's floating-point operations.
"""

import argparse
import asyncio
import contextlib
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import aiohttp
import msgspec
import numpy as np
import torch
from common import PROJECT, embedding_service, free_port, get_json, wait_for
from models import model_for
from numpy.typing import NDArray
from pictures import make_jpegs
from PIL import Image, ImageOps
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(PROJECT))
from memesearch import picture, wire
from memesearch.clip.client import ClipClient, as_bmp
from memesearch.clip.loading import load_model
from memesearch.clip.model import ClipModel, pick_device
from memesearch.clip.precision import choose_precision, name_of
from memesearch.content_hash import hash_bytes
from memesearch.library.decode_worker import Decoded, DecodeRequest
from memesearch.library.ready import Prepared, Ready
from memesearch.machine import usable_cores
from memesearch.picture import Preprocessing
from memesearch.workers import WorkerPool

BATCHES = (8, 16, 32, 64)
DEVICE_BATCHES = (32, 64, 128, 256)
FORWARD_SECONDS = 5.0
QUERY_PAUSE = 0.2


def forward_rate(model: ClipModel, files: list[Path]) -> tuple[float, str]:
    """(a): pictures a second at the best batch size and layout, and which that is.

    Layouts of a CPU: one batch on all cores, or a batch a core.
    """
    want = model.loaded.preprocessing
    fitted = np.stack([picture.pixels(path.read_bytes(), want) for path in files[: max(BATCHES)]])
    if model.device.type == "cuda":
        return device_rate(model, fitted)
    cores = usable_cores() if model.device.type == "cpu" else 1
    found = []
    for batch in BATCHES:
        for threads in {1, cores}:
            done = [0.0] * threads
            jobs = [
                Thread(target=keep_busy, args=(model, torch.from_numpy(fitted[:batch]), cores // threads, done, i))
                for i in range(threads)
            ]
            for job in jobs:
                job.start()
            for job in jobs:
                job.join()
            found.append((sum(done), f"{threads} x {batch}"))
    return max(found)


def device_rate(model: ClipModel, fitted: NDArray[np.uint8]) -> tuple[float, str]:
    """(a) on a GPU: eager and compiled, pixels on the device already, launches queued without waiting."""
    found = []
    compiled = torch.compile(model.forward_pixels, dynamic=False)
    for name, forward in (("eager", model.forward_pixels), ("compiled", compiled)):
        for batch in DEVICE_BATCHES:
            pixels = torch.from_numpy(np.resize(fitted, (batch, *fitted.shape[1:]))).to(model.device)
            for _ in range(3):
                forward(pixels)
            torch.cuda.synchronize()
            started, count = time.perf_counter(), 0
            while time.perf_counter() - started < FORWARD_SECONDS:
                for _ in range(8):
                    forward(pixels)
                count += 8 * batch
                torch.cuda.synchronize()
            found.append((count / (time.perf_counter() - started), f"{name} x {batch}"))
    return max(found)


def roof(model: ClipModel) -> float:
    """Pictures a second if the model were nothing but the device's fastest dense matrix product."""
    want = model.loaded.preprocessing
    counter = FlopCounterMode(display=False)
    with counter:
        model.forward_pixels(torch.zeros(1, want.height, want.width, 3, dtype=torch.uint8, device=model.device))
    side = 8192 if model.device.type == "cuda" else 2048
    left, right = (torch.randn(side, side, device=model.device, dtype=model.dtypes.vision) for _ in range(2))
    best = math.inf
    for _ in range(8):
        started = time.perf_counter()
        (left @ right)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best / counter.get_total_flops()


def keep_busy(model: ClipModel, pixels: torch.Tensor, cores: int, done: list[float], i: int) -> None:
    """Run batches for a while; leaves pictures a second in `done[i]`."""
    torch.set_num_threads(cores)
    model.forward_pixels(pixels).cpu()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < FORWARD_SECONDS:
        model.forward_pixels(pixels).cpu()
        count += len(pixels)
    done[i] = count / (time.perf_counter() - started)


def pillow_pixels(path: Path, want: Preprocessing) -> NDArray[np.uint8]:
    """A picture fitted by Pillow alone, as the baselines do it."""
    image = Image.open(path).convert("RGB")
    return np.asarray(ImageOps.fit(image, (want.width, want.height), Image.Resampling.BICUBIC))


def loop_rate(model: ClipModel, files: list[Path]) -> float:
    """(c): one picture at a time."""
    started = time.perf_counter()
    for path in files:
        model.encode_pixels(pillow_pixels(path, model.loaded.preprocessing)[None])
    return len(files) / (time.perf_counter() - started)


async def service_rate(url: str, files: list[Path], query: bool) -> tuple[float, list[float]]:
    """(b): pictures a second; with `query`, also the seconds of texts embedded meanwhile."""
    decoders = WorkerPool("memesearch.library.decode_worker", usable_cores(), 60)
    async with aiohttp.ClientSession() as session:
        client = ClipClient(url, session)
        config = await client.refresh()
        want = Preprocessing(*config.image_size, config.resize_mode, config.interpolation, config.fill_color)
        ready = Ready(config.batch, config.parallel)
        todo = iter(files)

        async def decode() -> None:
            for path in todo:
                request = DecodeRequest(str(path), hash_bytes(path.read_bytes()), want)
                decoded = await decoders.call(request, Decoded)
                assert decoded.content is not None, decoded.problem
                await ready.put(Prepared(decoded.content, decoded.frames))

        async def decode_all() -> None:
            await asyncio.gather(*(decode() for _ in range(usable_cores() + 1)))
            await ready.end()

        async def embed() -> None:
            while batch := await ready.take():
                await client.embed_pixels([item.frames[0] for item in batch], config.model_id or "")
                await ready.done()

        latencies: list[float] = []

        async def ask() -> None:
            while True:
                started = time.perf_counter()
                await client.embed_text([f"query number {len(latencies)}"], config.model_id or "")
                latencies.append(time.perf_counter() - started)
                await asyncio.sleep(QUERY_PAUSE)

        asking = asyncio.create_task(ask()) if query else None
        started = time.perf_counter()
        await asyncio.gather(decode_all(), *(embed() for _ in range(config.parallel)))
        rate = len(files) / (time.perf_counter() - started)
        if asking:
            asking.cancel()
    await decoders.close()
    return rate, latencies


@contextlib.contextmanager
def first_scheme(source: str, precision: str, device: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, str(PROJECT / "bench/first_scheme.py"), source, precision, str(port), device]
    with subprocess.Popen(command) as process:
        try:
            wait_for(lambda: get_json(f"http://127.0.0.1:{port}/health") == {}, 300)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.kill()


async def first_scheme_rate(url: str, files: list[Path], want: Preprocessing) -> float:
    """(d): clients that resize and send BMP files, two requests of 32 in flight."""
    todo = iter([files[start : start + 32] for start in range(0, len(files), 32)])

    def read(path: Path) -> bytes:
        return as_bmp(pillow_pixels(path, want).tobytes(), want.width, want.height)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None)) as session:

        async def send() -> None:
            for batch in todo:
                pictures = await asyncio.gather(*(asyncio.to_thread(read, path) for path in batch))
                async with session.post(url, data=msgspec.msgpack.encode({"images": pictures})) as answer:
                    assert len(wire.msgspec.msgpack.decode(await answer.read())) == len(batch)

        started = time.perf_counter()
        await asyncio.gather(send(), send())
        return len(files) / (time.perf_counter() - started)


def batch_seconds(url: str) -> float:
    """Mean seconds of a batch of pictures, from the service's metrics."""
    with urllib.request.urlopen(url + "metrics", timeout=60) as answer:
        lines = [line.rpartition(" ") for line in answer.read().decode().splitlines()]
    values = {name: float(value) for name, _, value in lines if name.startswith("modelserver_computing_seconds")}
    labels = '{modality="image"}'
    return values[f"modelserver_computing_seconds_sum{labels}"] / values[f"modelserver_computing_seconds_count{labels}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64, help="the service's max_batch_size")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"a": [], "b": [], "c": [], "d": []}
    roofs: list[float] = []
    latencies: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = model_for(options.model, folder)
        files = make_jpegs(folder / "pictures", options.pictures)
        few = files[: max(200, len(files) // 10)]  # (c) and (d) are steady, and slow
        best = ""
        for number in range(options.rounds):
            model = choose_precision(load_model(source), pick_device(options.device), options.precision)
            want, precision = model.loaded.preprocessing, name_of(model.dtypes.vision)
            rate, best = forward_rate(model, files)
            rates["a"].append(rate)
            roofs.append(roof(model))
            rates["c"].append(loop_rate(model, few))
            del model
            more: Any = {"device": options.device, "precision": options.precision}
            with embedding_service(folder, source, options.batch, **more) as url:
                asyncio.run(service_rate(url, files[:64], query=False))  # starts decoders, fills caches
                rates["b"].append(asyncio.run(service_rate(url, files, query=False))[0])
                seconds = batch_seconds(url)
                latencies += asyncio.run(service_rate(url, few, query=True))[1]
            with first_scheme(source, options.precision, options.device) as url:
                rates["d"].append(asyncio.run(first_scheme_rate(url, few, want)))
            latest = {key: round(values[-1], 2) for key, values in rates.items()}
            print(f"round {number + 1} of {options.rounds}: {latest} pictures/s", file=sys.stderr)
    median = {key: statistics.median(values) for key, values in rates.items()}
    figures: dict[str, Any] = {"model": options.model, "precision": precision, "pictures": len(files), "best": best}
    figures |= {f"{key}_per_s": round(value, 2) for key, value in median.items()}
    for key in "acd":
        ratios = [b / other for b, other in zip(rates["b"], rates[key], strict=True)]
        figures[f"b/{key}"] = round(statistics.median(ratios), 3)
    figures["a/roof"] = round(statistics.median(a / top for a, top in zip(rates["a"], roofs, strict=True)), 3)
    p50, p95 = (float(np.percentile(latencies, q)) for q in (50, 95))
    figures |= {"text_p50_s": round(p50, 4), "text_p95_s": round(p95, 4), "batch_s": round(seconds, 4)}
    figures["text_p95_in_batches"] = round(p95 / seconds, 2)
    print(f"files to vectors run at {figures['b/a']} of the bare forward, {figures['b/c']} of a plain loop and")
    print(f"{figures['b/d']} of the first implementation's scheme;")
    print(f"a text meanwhile takes {figures['text_p95_in_batches']} batch times (p95)")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
