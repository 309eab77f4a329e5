"""The scheme of the first implementation's embedding service, re-created to be compared with.

One preprocessing thread, one inference thread; each request is one batch, and nothing is shared between
requests. `bench/embed.py` starts it: python first_scheme.py MODEL PRECISION PORT DEVICE.
"""

import asyncio
import io
import queue
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import torch
from aiohttp import web
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from memesearch.clip.loading import load_model
from memesearch.clip.model import ClipModel, pick_device, to_numpy, unit
from memesearch.clip.precision import choose_precision


class Scheme:
    """Two threads with a queue before each."""

    def __init__(self, model: ClipModel) -> None:
        want = model.loaded.preprocessing
        config = PreprocessCfg((want.height, want.width), "RGB", model.loaded.mean, model.loaded.std)
        config.resize_mode = want.resize_mode
        self._transform = image_transform_v2(config, is_train=False)
        self._model = model
        self._encoded: queue.Queue[Any] = queue.Queue(10)
        self._prepared: queue.Queue[Any] = queue.Queue(10)
        for work in (self._preprocess, self._infer):
            threading.Thread(target=work, daemon=True).start()

    def _preprocess(self) -> None:
        while True:
            pictures, answer = self._encoded.get()
            opened = [Image.open(io.BytesIO(raw)) for raw in pictures]
            self._prepared.put((torch.stack([self._transform(image) for image in opened]), answer))

    def _infer(self) -> None:
        while True:
            batch, answer = self._prepared.get()
            with torch.inference_mode():
                pixels = batch.to(self._model.device, self._model.dtypes.vision)
                vectors = to_numpy(unit(self._model._module.encode_image(pixels)))
            if self._model.device.type == "cuda":
                torch.cuda.empty_cache()  # as it did, after each batch
            answer([vector.tobytes() for vector in vectors])

    async def embed(self, request: web.Request) -> web.Response:
        pictures = msgspec.msgpack.decode(await request.read())["images"]
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[list[bytes]] = loop.create_future()
        job = (pictures, lambda vectors: loop.call_soon_threadsafe(answered.set_result, vectors))
        await asyncio.to_thread(self._encoded.put, job)
        return web.Response(body=msgspec.msgpack.encode(await answered))


if __name__ == "__main__":
    loaded = load_model(sys.argv[1])
    scheme = Scheme(choose_precision(loaded, pick_device(sys.argv[4]), sys.argv[2]))  # type: ignore[arg-type]
    app = web.Application(client_max_size=2**30)
    app.router.add_post("/", scheme.embed)
    app.router.add_get("/health", lambda request: web.json_response({}))
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[3]), print=None)
