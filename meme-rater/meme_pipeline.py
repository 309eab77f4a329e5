"""Crawls, indexes, scores, drops what is known, and queues what is good: run it by a timer.

    python meme_pipeline.py rater_config.json

Ends with status 0 when all was done, 1 when a part failed (a sentence says which; the next run goes on), 2 when the
configuration cannot be used. One run at a time; it may be killed at any moment.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded

from memesearch.rater.config import RaterConfig
from memesearch.rater.pipeline.run import main
from memesearch.web import run_program

if __name__ == "__main__":
    raise SystemExit(run_program(RaterConfig, lambda config: main(config, Path(sys.argv[1]), HERE), sys.argv))
