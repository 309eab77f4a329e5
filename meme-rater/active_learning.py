"""Chooses the pairs that teach the current model most, and writes them to top.json beside the configuration.

    python active_learning.py rater_config.json [--by RULE] [--count 100] [--seed N]

RULE is auto, thompson, narrowing, variance, random or gradient (memesearch/taste/select.py).

Run after train.py; copy_into_queue.py puts the pairs before the person.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded

from memesearch.rater.config import RaterConfig
from memesearch.rater.rating.pairs import TOP, choose, write_top
from memesearch.taste.chooser import RULES
from memesearch.web import run_program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--by", choices=RULES, default="auto")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    if options.count < 1 or (options.seed is not None and options.seed < 0):
        parser.error("--count must be at least 1 and --seed at least 0")
    folder = Path(options.config).absolute().parent

    async def run(config: RaterConfig) -> int:
        chosen = choose(config, options.by, options.count, options.seed)
        write_top(folder, chosen)
        why = ", ".join(f"{count} {reason}" for reason, count in Counter(pair.reason for pair in chosen).items())
        print(f"{len(chosen)} pairs in {folder / TOP}" + (f": {why}" if why else ""))
        if len(chosen) < options.count:
            print("there are no more pairs of different pictures that were not asked about", file=sys.stderr)
        return 0

    return run_program(RaterConfig, run, [sys.argv[0], options.config])


if __name__ == "__main__":
    raise SystemExit(main())
