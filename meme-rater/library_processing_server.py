"""The queue of the best new pictures: keep, discard or put off each, in a browser.

    python library_processing_server.py rater_config.json

Runs until SIGTERM. Kept pictures move into `library`, discarded ones into `trash`, where they expire.
"""

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded

from memesearch.rater.config import RaterConfig
from memesearch.rater.processing.server import run
from memesearch.web import run_program


async def main(config: RaterConfig) -> int:
    return await run(config, PROJECT / "clipfront2" / "static")


if __name__ == "__main__":
    raise SystemExit(run_program(RaterConfig, main, sys.argv))
