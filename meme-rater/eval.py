"""Judges a taste model honestly: blind pages of pictures that training has never seen, and what they say.

    python eval.py rater_config.json make [--per-group N] [--random N] [--run NAME]
    python eval.py rater_config.json serve [--run NAME]
    python eval.py rater_config.json report [--run NAME] [--model CHECKPOINT] [--against CHECKPOINT] [--output FOLDER]

`make` draws the pictures of a run, `serve` shows them on `eval_port` until SIGTERM, `report` measures. Without a name
the newest run is meant. A CHECKPOINT is a folder, or the name of one in `models`.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded

from memesearch.errors import ConfigError
from memesearch.library.pool import read_pool
from memesearch.rater.config import RaterConfig
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import read_examples
from memesearch.rater.judging.drawing import Judgements, make_run
from memesearch.rater.judging.evaluation import figures, measure, read_judged, summary
from memesearch.rater.judging.routes import make_app
from memesearch.taste.checkpoint import Checkpoint, load, newest
from memesearch.web import run_program, serve


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=argv[0], description="Blind pages to judge a taste model by.")
    parser.add_argument("config", metavar="CONFIG.json")
    tasks = parser.add_subparsers(dest="task", required=True)
    make, serving, report = (tasks.add_parser(name) for name in ("make", "serve", "report"))
    make.add_argument("--per-group", type=number, default=10, help="pictures of each span of percentiles (10)")
    make.add_argument("--random", type=number, default=150, help="pictures drawn at random (150)")
    for task in (make, serving, report):
        task.add_argument("--run", type=run_name, help="name of the run")
    report.add_argument("--model", help="checkpoint to measure; the current one by default")
    report.add_argument("--against", help="checkpoint to compare it with")
    report.add_argument("--output", type=Path, help="folder for the report; by default evaluations/RUN by the database")
    return parser.parse_args(argv[1:])


def number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pictures")
    return int(text)


def run_name(text: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,99}", text):  # it becomes the name of a folder
        raise argparse.ArgumentTypeError(f"{text!r}: a run's name has letters, digits, '-', '_' and '.' only")
    return text


def checkpoint(config: RaterConfig, name: str | None, model_id: str) -> Checkpoint:
    """A checkpoint for vectors of `model_id`. Raises ConfigError."""
    models = Path(config.models)
    found = load(newest(models) if name is None else models / name if (models / name).is_dir() else Path(name))
    found.require(model_id)
    return found


def make_pages(config: RaterConfig, chosen: argparse.Namespace, database: RaterDatabase) -> None:
    pictures = config.pictures()
    pool = read_pool(Path(pictures.db_path))
    model = checkpoint(config, None, pool.model_id)
    examples = read_examples(database, pool)
    run = chosen.run or time.strftime("%Y%m%d-%H%M%S")
    drawn = make_run(
        Judgements(database), run, pool, examples, model.model.keep_probability(pool.vectors), model.name,
        config.duplicate_similarity, (chosen.random, chosen.per_group), Path(pictures.files),
    )  # fmt: skip
    print(f"run {run}: {sum(map(len, drawn.rows.values()))} pictures to judge; eval.py CONFIG serve shows them")
    if drawn.missing:
        print(f"{drawn.missing} fewer than asked for: all others are labelled, near-duplicates of these, or gone")


def write_report(config: RaterConfig, chosen: argparse.Namespace, database: RaterDatabase) -> None:
    from memesearch.rater.judging.plots import draw_all  # matplotlib takes a second, which `serve` need not wait

    pool = read_pool(Path(config.pictures().db_path))
    run = Judgements(database).find_run(chosen.run)
    model = checkpoint(config, chosen.model, pool.model_id)
    against = checkpoint(config, chosen.against, pool.model_id) if chosen.against else None
    judged = read_judged(database, pool, run, config.duplicate_similarity)
    report = measure(run, judged, model, against, config.target_precision)
    folder = chosen.output or Path(config.database).parent / "evaluations" / run
    text = summary(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in draw_all(report, folder):
            text += f"{name}: too few judgements to draw it\n"
        (folder / "summary.txt").write_text(text, "utf-8")
        (folder / "figures.json").write_text(json.dumps(figures(report), indent=2) + "\n", "utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: the report cannot be written: {error.strerror}") from error
    print(f"{text}\nPlots and figures are in {folder}")


def main(argv: list[str]) -> int:
    chosen = arguments(argv)

    async def work(config: RaterConfig) -> int:
        database = RaterDatabase(Path(config.database))
        try:
            if chosen.task == "serve":
                judgements = Judgements(database)
                app = make_app(judgements, judgements.find_run(chosen.run), Path(config.pictures().files))
                await serve(app, config.host, config.eval_port)
            else:
                (make_pages if chosen.task == "make" else write_report)(config, chosen, database)
        finally:
            database.close()
        return 0

    return run_program(RaterConfig, work, [argv[0], chosen.config])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
