"""What blind judgements say of a model: figures, a text, and the excluded pictures counted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memesearch.errors import NotEnoughLabels
from memesearch.library.pool import Pool
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import Rows, read_examples
from memesearch.rater.judging.drawing import PERCENTILES, RANDOM, SPANS, Judgements
from memesearch.taste import measures
from memesearch.taste.checkpoint import Checkpoint
from memesearch.taste.groups import near_duplicate_groups
from memesearch.taste.measures import Interval, Numbers, Truth
from memesearch.taste.resampling import Difference, paired_bootstrap


@dataclass(frozen=True)
class Judged:
    """Judged pictures that no training label speaks of, nor of a near-duplicate.

    Attributes:
        kind: of the page each was on, str [n].
        vectors: float32 [n, d]; groups: int64 [n], near-duplicates share a number; percentile: float64 [n].
        good: bool [n], the person's word.
        drawn_with: checkpoints whose scores the percentiles are of.
        waiting: how many of the run are not judged yet.
        related: how many were left out because a label speaks of them or of a near-duplicate.
        lost: how many were left out because nobody has their vector.
    """

    kind: NDArray[np.str_]
    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]
    percentile: Numbers
    good: Truth
    drawn_with: list[str]
    waiting: int
    related: int
    lost: int


@dataclass(frozen=True)
class Report:
    """Measures on the pictures drawn at random, and what was kept at each height of the score.

    A measure is None where there are too few judgements. `target`: the precision that the person set.
    """

    run: str
    model: str
    judged: Judged
    keep: Numbers
    target: float
    base_rate: Interval | None
    auroc: Interval | None
    log_loss: float | None
    brier: float | None
    best_tenth: float | None
    spans: list[tuple[float, float, measures.Bin]]
    against: str | None
    better: Difference | None

    def random_page(self) -> tuple[Numbers, Truth]:
        """P(keep) and the person's word, for the pictures drawn at random."""
        chosen = self.judged.kind == RANDOM
        return self.keep[chosen], self.judged.good[chosen]


def read_judged(database: RaterDatabase, pool: Pool, run: str, similarity: float) -> Judged:
    """The run's judgements, without those that training has seen anything of."""
    items = Judgements(database).items(run)
    with database.reading() as db:
        kept = dict(db.execute("SELECT hash, vector FROM vectors WHERE model_id = ?", (pool.model_id,)))
    examples, table = read_examples(database, pool), Rows(pool, {}, kept)
    judged = [item for item in items if item.good is not None]
    rows = [table.row(item.filename, item.hash) for item in judged]
    found = [(item, row) for item, row in zip(judged, rows, strict=True) if row is not None]
    vectors = table.vectors()[np.array([row for _, row in found], np.int64)]
    labelled = examples.vectors[examples.labels.items()]
    groups = near_duplicate_groups(np.concatenate([labelled, vectors]), similarity)
    groups, seen = groups[len(labelled) :], np.unique(groups[: len(labelled)])
    unseen = ~np.isin(groups, seen)
    chosen = [item for (item, _), fresh in zip(found, unseen, strict=True) if fresh]
    return Judged(
        np.array([item.kind for item in chosen], np.str_),
        vectors[unseen],
        groups[unseen],
        np.array([item.percentile for item in chosen], np.float64),
        np.array([item.good for item in chosen], np.bool_),
        sorted({item.model for item in items}),
        len(items) - len(judged),
        int((~unseen).sum()),
        len(judged) - len(found),
    )


def measure(run: str, judged: Judged, checkpoint: Checkpoint, against: Checkpoint | None, target: float) -> Report:
    keep = probabilities(checkpoint, judged.vectors)
    chosen = judged.kind == RANDOM
    there, good = keep[chosen], judged.good[chosen]
    auroc = better = None
    if good.any() and not good.all():
        auroc = measures.auroc(there, good)
        if against is not None:
            other = probabilities(against, judged.vectors)[chosen]
            better = paired_bootstrap(other, there, good, judged.groups[chosen])
    some = bool(len(good))
    heights = judged.kind == PERCENTILES
    spans = []
    if heights.any():
        spans = measures.kept_by_percentile(judged.percentile[heights], judged.good[heights], np.array(SPANS))
    return Report(
        run, checkpoint.name, judged, keep, target,
        measures.share(good) if some else None,
        auroc,
        measures.log_loss(there, good) if some else None,
        measures.brier(there, good) if some else None,
        measures.precision_at(there, good, max(1, len(good) // 10)) if some else None,
        spans, against.name if against else None, better,
    )  # fmt: skip


def probabilities(checkpoint: Checkpoint, vectors: NDArray[np.float32]) -> Numbers:
    return np.asarray(checkpoint.model.keep_probability(vectors), np.float64) if len(vectors) else np.zeros(0)


def summary(report: Report) -> str:
    """The report as text."""
    judged = report.judged
    random, heights = int((judged.kind == RANDOM).sum()), int((judged.kind == PERCENTILES).sum())
    lines = [
        f"Run {report.run}, model {report.model}",
        f"{random} pictures drawn at random and {heights} drawn by score are counted.",
        f"{judged.waiting} are not judged yet; {judged.related} are left out because a label speaks of them or of a "
        f"near-duplicate, {judged.lost} because their vector is lost.",
        "",
        "On the pictures drawn at random (95 % intervals):",
    ]
    if report.base_rate is None:
        lines.append("  nothing is judged yet")
    else:
        lines.append(f"  good ones           {report.base_rate}")
        if report.auroc is None:
            lines.append("  AUROC               needs at least one good and one bad picture; judge more")
        else:
            lines.append(f"  AUROC (DeLong)      {report.auroc}")
        lines.append(f"  best tenth by score {report.best_tenth:.3f} are good")
        lines.append(f"  log loss            {report.log_loss:.3f} (a coin: 0.693)")
        lines.append(f"  Brier score         {report.brier:.3f} (a coin: 0.250)")
    if report.against is not None:
        lines += ["", compared(report)]
    if report.spans:
        lines += ["", f"Kept by score percentile (of {', '.join(judged.drawn_with)}):"]
        lines += [f"  {low:3.0f} to {high:3.0f}  {bin_.observed}  of {bin_.count}" for low, high, bin_ in report.spans]
    return "\n".join([*lines, "", *precision_lines(report)]).rstrip() + "\n"


def compared(report: Report) -> str:
    if report.better is None:
        return f"Compared with {report.against}: needs at least one good and one bad picture; judge more"
    return (
        f"AUROC above that of {report.against}: {report.better}, paired bootstrap by near-duplicate group;\n"
        f"  this model is better in {report.better.probability:.0%} of the rounds"
    )


def precision_lines(report: Report) -> list[str]:
    """Precision and recall at a few thresholds on P(keep)."""
    try:
        found = measures.precision_recall(*report.random_page())
    except NotEnoughLabels:
        return []
    lines = ["Taking all from a P(keep) on:     precision                  recall  taken"]
    for threshold in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1):
        reached = np.flatnonzero(found.threshold >= threshold)
        if len(reached):
            place = reached[-1]
            precision = Interval(float(found.precision[place]), float(found.low[place]), float(found.high[place]))
            lines.append(f"  {threshold:.1f}  {precision!s:>46}  {found.recall[place]:9.3f}  {found.taken[place]:5.0f}")
    return lines


def figures(report: Report) -> dict[str, Any]:
    """The report, fit for JSON."""

    def plain(interval: Interval | Difference | None) -> dict[str, float] | None:
        return None if interval is None else {name: round(value, 6) for name, value in vars(interval).items()}

    judged = report.judged
    return {
        "run": report.run, "model": report.model, "drawn_with": judged.drawn_with,
        "random": int((judged.kind == RANDOM).sum()), "percentiles": int((judged.kind == PERCENTILES).sum()),
        "waiting": judged.waiting, "left_out_related": judged.related, "left_out_lost": judged.lost,
        "base_rate": plain(report.base_rate), "auroc": plain(report.auroc), "log_loss": report.log_loss,
        "brier": report.brier, "precision_of_best_tenth": report.best_tenth,
        "kept_by_percentile": [
            {"from": low, "to": high, "count": bin_.count, **(plain(bin_.observed) or {})}
            for low, high, bin_ in report.spans
        ],
        "against": report.against, "auroc_above_it": plain(report.better),
    }  # fmt: skip
