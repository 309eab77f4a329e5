"""Train a model of the taste on all answers and decisions so far.

    python train.py CONFIG.json [--dimension NAME] [--model KIND] [--if-new]

Run after rating; takes seconds. Writes a checkpoint below `models` and makes it the current one.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded

from memesearch.rater.config import RaterConfig
from memesearch.rater.training import train
from memesearch.web import run_program


def program(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=argv[0], description="Train a model of the taste.")
    parser.add_argument("config", help="rater_config.json")
    parser.add_argument("--dimension", help="one of the configuration's `dimensions`, instead of the whole taste")
    parser.add_argument("--model", choices=("ridge", "ensemble"), help="instead of the configuration's `model`")
    parser.add_argument("--if-new", action="store_true", help="only when something was said since the last training")
    options = parser.parse_args(argv[1:])

    async def main(config: RaterConfig) -> int:
        trained = train(config, options.model or config.model, options.dimension, options.if_new)
        print("\n".join(trained.summary))
        return 0

    return run_program(RaterConfig, main, [argv[0], options.config])


if __name__ == "__main__":
    raise SystemExit(program(sys.argv))
