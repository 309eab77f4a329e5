"""What a run of the pipeline did: as a table for people, and as a textfile for Prometheus' node exporter."""

from dataclasses import dataclass, field
from pathlib import Path

from memesearch.durable import write_whole
from memesearch.errors import Unavailable
from memesearch.taste.threshold import Threshold


@dataclass
class Summary:
    """Counts of one run; `problems` are sentences on what could not be done."""

    crawled: int = 0
    new: int = 0
    duplicates: int = 0
    below: int = 0
    queued: int = 0
    explored: int = 0
    decided: int = 0
    waiting: int = 0
    gone: int = 0
    rescored: int = 0
    queue: int = 0
    model: str = ""
    threshold: Threshold | None = None
    problems: list[str] = field(default_factory=list)


ROWS = (
    ("crawled", "pictures the crawler stored"),
    ("new", "pictures scored for the first time"),
    ("duplicates", "near-duplicates of what is in the library, the queue or the decisions"),
    ("decided", "kept or discarded before"),
    ("below", "below the threshold"),
    ("queued", "queued, above the threshold"),
    ("explored", "queued to learn from, below the threshold"),
    ("waiting", "left for the next run"),
    ("gone", "taken out of the queue, for their files are gone"),
    ("rescored", "of the queue, scored anew by a newer model"),
    ("queue", "now in the queue"),
)
HELP = {
    "queue_size": "Pictures that wait for the person",
    "rescored": "Of the queue, scored anew by a newer model",
    "problems": "Parts of the last run that failed",
    "last_run_timestamp_seconds": "When the last run ended",
    "last_run_seconds": "How long the last run took",
    "threshold": "P(keep) from which pictures are queued",
    "expected_precision": "Share of the queued that will be kept",
    "expected_precision_low": "Lower end of its 95 % interval",
    "expected_precision_high": "Upper end of its 95 % interval",
    "decisions": "Decisions that the threshold rests on",
}


def table(summary: Summary) -> str:
    """Lines for a terminal."""
    lines = [f"{name:<11}{getattr(summary, name):>9,}  {meaning}" for name, meaning in ROWS]
    if summary.threshold is not None:
        found = summary.threshold
        lines.append(
            f"threshold  {min(found.value, 1.0):>9.3f}  of P(keep); {found.decisions:,} decisions, {summary.model}"
        )
        lines.append(
            f"precision  {found.expected:>9.3f}  expected of what is queued (95 %: {found.low:.3f} to {found.high:.3f})"
        )
    return "\n".join([*lines, *(f"PROBLEM: {sentence}" for sentence in summary.problems)])


def metrics(summary: Summary, finished: float, seconds: float) -> str:
    """Prometheus text; docs/operations.md lists the names. `finished`: seconds since 1970."""
    lines = ["# HELP meme_pipeline_pictures Pictures of the last run", "# TYPE meme_pipeline_pictures gauge"]
    lines += [f'meme_pipeline_pictures{{outcome="{name}"}} {getattr(summary, name)}' for name, _ in ROWS[:-2]]
    gauges = {
        "queue_size": float(summary.queue),
        "rescored": float(summary.rescored),
        "problems": float(len(summary.problems)),
        "last_run_timestamp_seconds": finished,
        "last_run_seconds": seconds,
    }
    if summary.threshold is not None:
        found = summary.threshold
        gauges |= {"threshold": min(found.value, 1.0), "expected_precision": found.expected}
        gauges |= {"expected_precision_low": found.low, "expected_precision_high": found.high}
        gauges |= {"decisions": float(found.decisions)}
    for name, value in gauges.items():
        about = f"meme_pipeline_{name}"
        lines += [f"# HELP {about} {HELP[name]}", f"# TYPE {about} gauge", f"{about} {value:.10g}"]
    return "\n".join(lines) + "\n"


def write_metrics(path: Path, text: str) -> None:
    """Replace the file in one step, readable by all. Raises Unavailable; the file is then as it was."""
    new = path.with_name(path.name + ".new")  # does not end with .prom, so nobody reads it half written
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode(), new, 0o644)
    except OSError as error:
        raise Unavailable(f"`metrics_file`: {path} cannot be written: {error.strerror}") from error
