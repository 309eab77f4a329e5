"""The page on which one says which of two pictures is better; a model learns from each answer.

    python rater_server.py rater_config.json

Runs until SIGTERM.
"""

import sys
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded: a refit is many small products

from memesearch.rater.config import RaterConfig
from memesearch.rater.database import only_server
from memesearch.rater.rating.desk import Desk
from memesearch.rater.rating.routes import make_app
from memesearch.taste.ridge import Ridge
from memesearch.web import run_program, serve


async def main(config: RaterConfig) -> int:
    with only_server(Path(config.database), "rater"), closing(Desk(config, Ridge())) as desk:
        await serve(make_app(desk, ROOT / "clipfront2" / "static"), config.host, config.rater_port)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_program(RaterConfig, main, sys.argv))
