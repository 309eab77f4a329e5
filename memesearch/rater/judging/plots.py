"""Plots of an evaluation, each as PNG and SVG: dark on white, to be read in print and by who sees no colour."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # no window, no display

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes

from memesearch.errors import NotEnoughLabels
from memesearch.rater.judging.evaluation import Report
from memesearch.taste import measures
from memesearch.taste.measures import Interval

INK, SECOND, FAINT = "#1c1b19", "#b93d0b", "#8b867d"
STYLE: dict[Any, Any] = {
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "font.size": 11.0, "axes.titlesize": 13.0, "axes.titlelocation": "left", "axes.grid": True, "grid.color": "#e3e0da",
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "svg.hashsalt": "memesearch",
}  # fmt: skip
SIZE = (6.4, 5.2)  # inches
PNG_DOTS = 150  # to the inch


def draw_all(report: Report, folder: Path) -> list[str]:
    """Write what can be drawn; the names of the plots (without suffix) for which there are too few judgements."""
    plots: dict[str, Callable[[Report, Axes], None]] = {
        "roc": draw_roc,
        "precision_recall": draw_precision_recall,
        "calibration": draw_calibration,
        "kept_by_percentile": draw_kept_by_percentile,
    }
    missing = []
    with matplotlib.rc_context(STYLE):
        for name, plot in plots.items():
            figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
            try:
                plot(report, axes)
                figure.legend(loc="outside lower center", ncols=2, fontsize=10)  # it never covers what is drawn
                for suffix, extra in ((".png", {"Software": None}), (".svg", {"Date": None})):
                    fresh = folder / f".{name}{suffix}"
                    figure.savefig(fresh, format=suffix[1:], dpi=PNG_DOTS, metadata=extra)
                    fresh.replace(folder / f"{name}{suffix}")
            except NotEnoughLabels:
                missing.append(name)
                for suffix in (".png", ".svg"):
                    (folder / f"{name}{suffix}").unlink(missing_ok=True)  # of an earlier report
            finally:
                pyplot.close(figure)
    return missing


def shares(axes: Axes, x: str, y: str, title: str) -> None:
    """Both axes from 0 to 1."""
    axes.set(xlabel=x, ylabel=y, title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_axisbelow(True)


def draw_roc(report: Report, axes: Axes) -> None:
    keep, good = report.random_page()
    points, area = measures.roc(keep, good), measures.auroc(keep, good)
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", label="chance")
    label = f"AUROC {area.value:.3f} ({area.low:.3f} to {area.high:.3f})"
    axes.step(points.false_positive, points.true_positive, where="post", color=INK, linewidth=2, label=label)
    shares(
        axes,
        "Bad pictures taken (share of all bad ones)",
        "Good pictures taken (share of all good ones)",
        f"ROC, {len(good)} pictures drawn at random",
    )


def draw_precision_recall(report: Report, axes: Axes) -> None:
    found = measures.precision_recall(*report.random_page())
    axes.fill_between(found.threshold, found.low, found.high, step="post", color=INK, alpha=0.12, linewidth=0)
    axes.step(found.threshold, found.precision, where="post", color=INK, linewidth=2, label="precision, 95 % interval")
    axes.step(found.threshold, found.recall, where="post", color=SECOND, linewidth=2, linestyle="--", label="recall")
    axes.axhline(report.target, color=FAINT, linestyle=":", label=f"target precision {report.target:g}")
    shares(
        axes,
        "Threshold on P(keep); all from it on are taken",
        "Share of the taken (precision) or of the good (recall)",
        f"Precision and recall, {int(found.taken[-1])} pictures drawn at random",
    )


def draw_calibration(report: Report, axes: Axes) -> None:
    keep, good = report.random_page()
    bins = measures.calibration(keep, good, bins=max(2, min(10, len(good) // 15)))
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", label="perfectly calibrated")
    points(axes, [part.predicted for part in bins], [part.observed for part in bins], "judged good, 95 % interval")
    for part in bins:
        axes.annotate(str(part.count), (part.predicted, -0.06), ha="center", va="center", color=FAINT, fontsize=9)
    shares(
        axes,
        "Mean predicted P(keep) of the pictures in a bin (numbers: how many)",
        "Judged good (share of the bin)",
        f"Calibration, Brier score {measures.brier(keep, good):.3f}",
    )
    axes.set_ylim(-0.1, 1.02)


def draw_kept_by_percentile(report: Report, axes: Axes) -> None:
    if not report.spans:
        raise NotEnoughLabels("nothing drawn by score is judged yet")
    places = np.arange(len(report.spans))
    points(
        axes,
        [float(place) for place in places],
        [bin_.observed for _, _, bin_ in report.spans],
        "judged good, 95 % interval",
    )
    if report.base_rate is not None:
        rate = report.base_rate.value
        axes.axhline(rate, color=FAINT, linestyle=":", label=f"all pictures, drawn at random: {rate:.2f}")
    labels = [f"{low:g}\N{EN DASH}{high:g}\n({bin_.count})" for low, high, bin_ in report.spans]
    axes.set_xticks(places, labels, fontsize=8)
    axes.set(
        xlabel="Percentile of the score among all pictures (number judged)",
        ylabel="Judged good (share)",
        title="Kept by score percentile",
        ylim=(-0.02, 1.02),
    )
    axes.set_axisbelow(True)


def points(axes: Axes, places: list[float], found: list[Interval], label: str) -> None:
    values = [interval.value for interval in found]
    errors = [
        [interval.value - interval.low for interval in found],
        [interval.high - interval.value for interval in found],
    ]
    axes.errorbar(places, values, errors, color=INK, marker="o", linewidth=1.5, capsize=3, label=label)
