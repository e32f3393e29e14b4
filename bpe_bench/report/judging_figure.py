"""The figure of methods judged at equal device hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..pruning.judging import JudgingReport, MethodResult
from .drawing import (
    _ACCENT,
    _INK,
    _SECOND,
    _draw_grid,
    _draw_legend,
    _draw_line,
    _draw_times,
    _draw_title,
    _drawing,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOOKS: dict[str, tuple[str, Any]] = {
    "random": ("#444b5a", (0, (1, 1.2))),
    "cheapest-first": (_SECOND, "-"),
    "covering": ("#b8860b", (0, (3, 1, 1, 1, 1, 1))),
    "halving": ("#5b8e55", (0, (5, 1.5))),
    "tpe": ("#7b5ea7", (0, (4, 1.5, 1, 1.5))),
}
"""Colours and dashes of the simpler methods, which differ also without colour."""
_STATISTICS = {"spearman": "Spearman", "kendall": "Kendall", "sparse-kendall": "sparse Kendall"}


def judging_figure(report: JudgingReport) -> Figure:
    """Draw the correlation that each method found against hours, and the regrets by rank.

    Raises
    ------
    OptionalDependencyError
        If matplotlib is not installed.
    """
    with _drawing(11.0, 5.2) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
        _draw_curves(left, report)
        _draw_legend(figure, left, backwards=True)  # the best first
        _draw_regrets(right, report)
    return figure


def _draw_curves(axes: Any, report: JudgingReport) -> None:
    pruning = [m for m in report.methods if m.name.startswith("mip-")]
    # The covering design is what pruning starts with: its band would hide that of pruning.
    simple = [m for m in report.methods if m.name in _LOOKS and m.name != "covering"]
    banded = [group[0].name for group in (pruning, simple) if group]
    for method in reversed(report.methods):  # the best on top
        _draw_curve(axes, report, method, method.name in banded, pruning)
    best = f"best of the pool ({report.best}) {report.best_correlation:.3f}"
    _draw_line(axes, report.best_correlation, best)
    axes.set_xlim(3600 * report.hours[0], 3600 * report.hours[-1])
    _draw_times(axes, "device time spent")
    axes.set_ylim(bottom=min(0.0, *(float(m.curve.held_out.min()) for m in report.methods)))
    name = _STATISTICS[report.statistic]
    axes.set_ylabel(f"{name} correlation on the held-out half,\nmean and quartiles (bands)")
    _draw_title(
        axes,
        f"{report.table or report.space}: {report.settings} settings, {report.repeats} repeats",
    )
    _draw_grid(axes)


def _draw_curve(
    axes: Any, report: JudgingReport, method: MethodResult, band: bool, pruning: list[MethodResult]
) -> None:
    """Draw a method; only the best importance estimator of pruning is highlighted."""
    colour, dashes, width, label = _ACCENT, "-", 1.8, f"{method.name} (best of pruning)"
    if len(pruning) == 1:
        label = method.name
    if method.name in _LOOKS:
        (colour, dashes), width, label = _LOOKS[method.name], 1.6, method.name
    elif not band:
        others = method is pruning[-1]
        width, label = 0.8, "pruning, other estimators" if others else "_"
    curve = method.curve
    seconds = 3600 * report.hours
    if band:
        axes.fill_between(seconds, curve.low, curve.high, color=colour, alpha=0.14, lw=0)
    faint = 0.5 if width < 1 else 1.0
    axes.plot(seconds, curve.held_out, color=colour, ls=dashes, lw=width, alpha=faint, label=label)


def _draw_regrets(axes: Any, report: JudgingReport) -> None:
    """Draw mean regrets with intervals, the lowest on top."""
    for place, method in enumerate(report.methods):
        colour = _LOOKS.get(method.name, (_ACCENT, "-"))[0]
        regret = method.regret
        axes.plot([regret.low, regret.high], [place, place], color=colour, lw=1.2)
        axes.plot(regret.mean, place, "o", color=colour, ms=5)
        axes.annotate(
            f"{regret.mean:.3f}", (regret.mean, place), xytext=(0, 5), textcoords="offset points",
            ha="center", fontsize=7.5, color=_INK,
        )  # fmt: skip
    axes.set_yticks(range(len(report.methods)), [m.name for m in report.methods])
    axes.set_ylim(len(report.methods) - 0.5, -0.6)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.set_xlabel("regret on the held-out half, mean over log hours")
    _draw_title(axes, f"ranking, corrected {report.confidence:.0%} intervals")
    _draw_grid(axes, "x")
