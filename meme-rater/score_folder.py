"""Scores a folder of pictures with the current taste model: CSV on stdout, best first.

    python score_folder.py rater_config.json FOLDER

Needs the embedding service of the configuration's `mse_config`. Pictures that cannot be read are listed on stderr, and
the exit status is then 1.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded

from memesearch.rater.config import RaterConfig
from memesearch.rater.score_folder import main
from memesearch.web import run_program

if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(f"usage: python {sys.argv[0]} CONFIG.json FOLDER", file=sys.stderr)
        raise SystemExit(2)
    folder = Path(sys.argv[2])
    raise SystemExit(run_program(RaterConfig, lambda config: main(config, folder), sys.argv[:2]))
