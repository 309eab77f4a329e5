"""The embedding service: text and pictures in, float16 unit vectors out.

    python clip_server.py clip_server_config.json

Runs until SIGTERM. Formats are in docs/http-api.md; the model is any that OpenCLIP loads.
"""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from memesearch.config import ClipServerConfig
from memesearch.web import run_program, serve

if TYPE_CHECKING:
    from memesearch.clip.engine import Engine

STOP_SECONDS = 30.0  # what was accepted before SIGTERM is still answered within this time


def load(config: ClipServerConfig, base: Path) -> "Engine":
    """The model on its devices. Raises ConfigError."""
    # PyTorch takes seconds to import: what is wrong with a config is said before, and SIGTERM is heeded meanwhile
    from memesearch.clip.engine import make_engine
    from memesearch.clip.loading import load_model
    from memesearch.clip.model import pick_devices

    devices = pick_devices(config.devices())
    loaded = load_model(config.model, config.pretrained, base, config.towers)
    return make_engine(loaded, devices, config.precision, config.max_batch_size, config.compile)


async def main(config: ClipServerConfig) -> int:
    engine = await asyncio.to_thread(load, config, Path(sys.argv[1]).absolute().parent)
    from memesearch.clip.routes import SERVICE, make_app

    app = make_app(config, engine)
    await serve(app, config.host, config.port, STOP_SECONDS)
    logging.shutdown()
    os._exit(1 if app[SERVICE].failed else 0)  # a thread that compiles or computes still would keep the process


if __name__ == "__main__":
    raise SystemExit(run_program(ClipServerConfig, main, sys.argv))
