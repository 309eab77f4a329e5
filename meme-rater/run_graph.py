"""Draw the curves of a training: python run_graph.py CONFIG.json [CHECKPOINT]

CHECKPOINT is a folder, or the name of one below `models`; the current one by default. Writes curves.png and
curves.svg into it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded

from memesearch.rater.config import RaterConfig
from memesearch.rater.curves import draw
from memesearch.taste.checkpoint import newest
from memesearch.web import run_program


def program(argv: list[str]) -> int:
    async def main(config: RaterConfig) -> int:
        models = Path(config.models)
        for path in draw(models / argv[2] if len(argv) > 2 else newest(models)):
            print(path)
        return 0

    return run_program(RaterConfig, main, argv if len(argv) != 3 else argv[:2], " [CHECKPOINT]")


if __name__ == "__main__":
    raise SystemExit(program(sys.argv))
