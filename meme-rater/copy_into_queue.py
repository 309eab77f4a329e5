"""Puts the pairs of top.json into the queue of the rater.

    python copy_into_queue.py [rater_config.json] ITERATION

ITERATION is a name of your choice that each of these answers will carry. Running it twice queues nothing twice.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded

from memesearch.rater.config import RaterConfig
from memesearch.rater.rating.pairs import copy_top
from memesearch.web import run_program


def main(argv: list[str]) -> int:
    if len(argv) not in (2, 3) or not argv[-1].strip():
        print(f"usage: python {argv[0]} [CONFIG.json] ITERATION", file=sys.stderr)
        return 2
    config_file, iteration = argv[1] if len(argv) == 3 else "rater_config.json", argv[-1]

    async def run(config: RaterConfig) -> int:
        copied = copy_top(config, Path(config_file).absolute().parent, iteration)
        for name in copied.refused:
            print(f"{name!r} is not a picture of the library; its pairs are left out", file=sys.stderr)
        print(f"{copied.queued} pairs queued, {copied.rated} were rated already, {copied.waiting} were in the queue")
        return 0

    return run_program(RaterConfig, run, [argv[0], config_file])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
