"""Figures of reports; only this package imports matplotlib."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..correlation.candidates import Measured, Ranked
from ..correlation.report import CorrelationReport
from ..errors import BpeBenchError, OptionalDependencyError, SelectionError, UnknownNameError
from ..files import reason_of, replacing
from ..pruning import PruningReport
from ..search import SearchReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _MUTED, _ACCENT, _SECOND = "#1a1a2e", "#8d99ae", "#c8553d", "#2a6f97"
_COLOURS = (_ACCENT, _SECOND, "#5b8e55", "#7b5ea7", "#b8860b", "#444b5a")
_CROWDED = 100
"""With more points, intervals would hide one another and are not drawn."""
_NAMED_EPOCHS = (1, 4, 12, 50, 200)
_SUFFIXES = (".png", ".svg", ".pdf")
_STYLE = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "svg.hashsalt": "bpe-bench",
}


def correlation_figure(report: CorrelationReport) -> Figure:
    """Draw correlation against cost with intervals and the Pareto front.

    Raises
    ------
    OptionalDependencyError
        If matplotlib is not installed.
    """
    with _drawing(7.2, 4.6) as figure:
        axes = figure.add_subplot()
        names = {row.label: report.names.get(row.label, row.label) for row in report.rows}
        if len({row.setting for row in report.rows}) < len(report.rows):
            _draw_curves(axes, report)
        else:
            _draw_budgets(axes, report.rows, names)
        axes.set_ylabel(_statistic(report.statistic, report.confidence))
        axes.set_title(
            f"{report.table or report.space}: {report.n_architectures} architectures, "
            f"reference {report.reference!r}",
            loc="left",
        )
    return figure


def pruning_figure(report: PruningReport) -> Figure:
    """Draw the budgets with the recommended ones, and the importances round by round.

    Raises
    ------
    OptionalDependencyError
        If matplotlib is not installed.
    """
    with _drawing(11.0, 4.8) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _draw_budgets(left, report.rows, {row.label: row.label for row in report.rows})
        predicted = [r.row for r in report.recommended if not r.measured]
        if predicted:
            _draw_points(left, predicted, _SECOND, "predicted, never trained", "D", filled=False)
        left.set_ylabel(_statistic(report.statistic, report.confidence))
        left.set_title(f"{report.table or report.space}: correlation against cost", loc="left")
        left.legend(loc="lower right", frameon=False)
        _draw_rounds(right, report)
    return figure


def search_figure(reports: Sequence[SearchReport]) -> Figure:
    """Draw the best so far of every searcher over the simulated clock, with quartiles.

    Raises
    ------
    OptionalDependencyError
        If matplotlib is not installed.
    SelectionError
        If no search has a clock to draw over.
    """
    drawn = [report for report in reports if np.isfinite(report.curve.median).any()]
    if not drawn:
        raise SelectionError("no search found anything at a known time, so there is no curve")
    with _drawing(7.2, 4.6) as figure:
        axes = figure.add_subplot()
        for place, report in enumerate(drawn):
            colour, curve = _COLOURS[place % len(_COLOURS)], report.curve
            hours = curve.seconds / 3600
            axes.fill_between(
                hours,
                100 * curve.low,
                100 * curve.high,
                step="post",
                color=colour,
                alpha=0.18,
                lw=0,
            )
            label = f"{report.searcher} ({report.repeats})"
            axes.step(hours, 100 * curve.median, where="post", color=colour, lw=1.5, label=label)
        optimum = drawn[0].optimum
        if optimum is not None and np.isfinite(optimum.validation):
            _draw_line(axes, 100 * optimum.validation, "optimum")
        # What the first draws find is of no interest: the view begins where half have some result.
        lowest = min(float(np.nanmin(r.curve.low[len(r.curve.low) // 10 :])) for r in drawn)
        margin = 0.05 * max(axes.dataLim.ymax - 100 * lowest, 0.5)
        axes.set_ylim(100 * lowest - margin, axes.dataLim.ymax + 2 * margin)
        axes.set_xlim(left=0)
        axes.set_xlabel("simulated device hours")
        axes.set_ylabel("final validation accuracy of the best so far, %")
        axes.set_title(
            f"{drawn[0].space} on {drawn[0].report_dataset}: median and quartiles of the repeats",
            loc="left",
        )
        _draw_grid(axes)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, SVG or PDF, by suffix; completely or not at all.

    Raises
    ------
    UnknownNameError
        For another suffix.
    BpeBenchError
        If the file cannot be written.
    """
    target = Path(path)
    check_figure_path(target)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(target.suffix)
    with _matplotlib().rc_context(_STYLE):
        try:
            with replacing(target) as temporary:
                figure.savefig(temporary, dpi=160, metadata=metadata)
        except OSError as error:
            raise BpeBenchError(f"cannot write figure {target}: {reason_of(error)}") from error


def check_figure_path(path: str | os.PathLike[str]) -> None:
    """Check that a figure can be written, before its content is computed.

    Raises
    ------
    UnknownNameError
        If the suffix names no format that figures are written in.
    BpeBenchError
        If its folder does not exist.
    OptionalDependencyError
        If matplotlib is not installed.
    """
    target = Path(path)
    if target.suffix not in _SUFFIXES:
        raise UnknownNameError(
            f"a figure's file must end in {', '.join(_SUFFIXES)}, found {target.name!r}"
        )
    if not target.parent.is_dir():
        raise BpeBenchError(
            f"cannot write figure {target}: there is no folder {target.parent}; make it first"
        )
    _matplotlib()


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise OptionalDependencyError(
            "figures need matplotlib, which is not installed; install it with: "
            'pip install "bpe-bench[plot]"'
        ) from error
    return matplotlib


@contextmanager
def _drawing(width: float, height: float) -> Iterator[Figure]:
    """Give a new figure, of so many inches, to draw in our style."""
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def _draw_grid(axes: Any, axis: str = "y", *, legend: bool = True) -> None:
    axes.grid(axis=axis, color="#e6e6ec", lw=0.6)
    axes.set_axisbelow(True)
    if legend:
        axes.legend(loc="lower right", frameon=False)


def _draw_line(axes: Any, value: float, text: str) -> None:
    """Draw a dashed line through a value of the vertical axis, with what it is."""
    axes.axhline(value, color=_MUTED, lw=1, ls="--")
    axes.text(
        0.01, value, text, va="bottom", fontsize=7.5, color=_MUTED,
        transform=axes.get_yaxis_transform(),
    )  # fmt: skip


def _draw_budgets(axes: Any, rows: Sequence[Ranked], names: dict[str, str]) -> None:
    known = [r for r in rows if np.isfinite(r.cost_seconds) and np.isfinite(r.correlation)]
    front = [r for r in known if isinstance(r, Measured) and r.pareto]
    rest = [r for r in known if r not in front]
    front.sort(key=lambda r: r.cost_seconds)
    _draw_points(axes, rest, _MUTED, "other budgets", "o")
    _draw_points(axes, front, _ACCENT, "Pareto front (measured)", "o")
    if front:
        hours = [r.cost_seconds / 3600 for r in front]
        axes.step(hours, [r.correlation for r in front], where="post", color=_ACCENT, lw=1)
    axes.set_xscale("log")
    axes.set_xlabel("cost per network, device hours (log scale)")
    axes.set_ylim(min(0.0, *axes.get_ylim()), 1.0)
    axes.xaxis.set_major_formatter("{x:g}")
    for place, row in enumerate(front):
        # Neighbours closer than a label is wide: the right one's label goes above the left one's.
        near = place > 0 and row.cost_seconds < 1.12 * front[place - 1].cost_seconds
        axes.annotate(
            names[row.label],
            (row.cost_seconds / 3600, row.high if np.isfinite(row.high) else row.correlation),
            xytext=(0, 4 + (20 if near else 0)),
            textcoords="offset points",
            ha="center",
            rotation=90,
            fontsize=7.5,
            color=_INK,
        )
    _draw_grid(axes)


def _draw_curves(axes: Any, report: CorrelationReport) -> None:
    """Draw correlation against cost along each setting's learning curve, with its band."""
    settings = list(dict.fromkeys(row.setting for row in report.rows))
    costs = any(np.isfinite(row.cost_seconds) for row in report.rows)
    for place, setting in enumerate(settings):
        rows = sorted((r for r in report.rows if r.setting == setting), key=lambda r: r.epoch)
        x = [r.cost_seconds / 3600 if costs else r.epoch for r in rows]
        middle, low, high = (
            [getattr(r, name) for r in rows] for name in ("correlation", "low", "high")
        )
        colour = _COLOURS[place % len(_COLOURS)]
        if len(rows) == 1:
            _draw_points(axes, rows, colour, setting, "D")
            continue
        axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
        axes.plot(x, middle, color=colour, lw=1.4, marker="o", ms=2.5, label=setting)
        for row, at in zip(rows, x, strict=True):
            if row.epoch in _NAMED_EPOCHS:
                axes.annotate(
                    f"epoch {row.epoch}",
                    (at, row.low),
                    xytext=(0, -10),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                    color=colour,
                )
    if np.isfinite(report.noise_ceiling):
        _draw_line(axes, report.noise_ceiling, "noise ceiling")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("cost per network, device hours (log scale)" if costs else "epoch (log scale)")
    axes.set_ylim(min(0.0, *axes.get_ylim()), 1.0)
    _draw_grid(axes)


def _draw_points(
    axes: Any,
    rows: Sequence[Ranked],
    colour: str,
    label: str,
    marker: str,
    *,
    filled: bool = True,
) -> None:
    if not rows:
        return
    middle = np.array([r.correlation for r in rows])
    error = np.array(
        [[r.correlation - r.low for r in rows], [r.high - r.correlation for r in rows]]
    )
    crowded = len(rows) > _CROWDED
    axes.errorbar(
        [r.cost_seconds / 3600 for r in rows],
        middle,
        yerr=None if crowded else np.nan_to_num(error),
        fmt=marker,
        ms=3 if crowded else 4.5,
        lw=0.9,
        color=colour,
        mfc=colour if filled else "white",
        alpha=0.9 if colour != _MUTED else 0.55,
        label=label,
    )


def _draw_rounds(axes: Any, report: PruningReport) -> None:
    """Draw one row of bars per hyper-parameter, one bar per round, in the order of pruning."""
    names = [*report.pruning_order, *reversed(report.kept)]
    others = {n for r in report.rounds for n in r.importances if n not in names}
    names = [*sorted(others), *names]
    count = max(1, len(report.rounds))
    height = 0.8 / count
    for index, done in enumerate(report.rounds):
        shade = 0.35 + 0.65 * (index + 1) / count
        for name, value in done.importances.items():
            place = names.index(name) + 0.4 - height * (index + 0.5)
            gone = name in done.pruned
            axes.barh(place, value.mean, height, color=_ACCENT if gone else _SECOND, alpha=shade)
            axes.plot([value.low, value.high], [place, place], color=_INK, lw=0.7)
            if gone:
                text = f"pruned in round {index + 1}"
                axes.text(value.high + 0.01, place, text, va="center", fontsize=7, color=_ACCENT)
    axes.set_yticks(range(len(names)), [n.replace("_", " ") for n in names])
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_color(_MUTED if name in others else _INK)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"share of importance ({report.confidence:.0%} interval), one bar per round")
    axes.set_title(f"importance by round: {report.importance_estimator}", loc="left")


def _statistic(name: str, confidence: float) -> str:
    title = {"spearman": "Spearman", "kendall": "Kendall", "sparse-kendall": "sparse Kendall"}
    return f"{title[name]} correlation with full training ({confidence:.0%} interval)"
