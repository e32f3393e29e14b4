"""Figures of correlation reports and of prunings."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..budget import NAMED_BUDGETS
from ..correlation.candidates import Measured, Ranked
from ..correlation.report import CorrelationReport
from ..pruning import PruningReport
from .drawing import (
    _ACCENT,
    _COLOURS,
    _INK,
    _MUTED,
    _SECOND,
    _draw_epochs,
    _draw_grid,
    _draw_legend,
    _draw_line,
    _draw_names,
    _draw_times,
    _draw_title,
    _drawing,
    _points,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CROWDED = 100
"""With more points, intervals would hide one another and are not drawn."""
_NAMED_EPOCHS = (1, 4, 12, 50, 200)
_FEW_CURVES = 3
"""The epochs of more learning curves would hide them."""
_MOST_NAMED = 40
"""So many budgets are named where no Pareto front says which."""


def correlation_figure(report: CorrelationReport) -> Figure:
    """Draw correlation against cost with intervals and the Pareto front.

    Costs are drawn in seconds, and ticks have the unit that suits them. Without known costs,
    epochs take their place.

    Raises
    ------
    OptionalDependencyError
        If matplotlib is not installed.
    """
    with _drawing(7.2, 4.8) as figure:
        axes = figure.add_subplot()
        if len({row.setting for row in report.rows}) < len(report.rows):
            _draw_curves(axes, report)
        else:
            _draw_budgets(axes, report.rows, report.names)
        axes.set_ylabel(_statistic(report.statistic, report.confidence))
        _draw_title(
            axes,
            f"{report.table or report.space}: {report.n_architectures} architectures, "
            f"reference {report.reference!r}",
        )
        _draw_legend(figure, axes)
    return figure


def pruning_figure(report: PruningReport) -> Figure:
    """Draw the budgets with the recommended ones, and the importances round by round.

    Raises
    ------
    OptionalDependencyError
        If matplotlib is not installed.
    """
    with _drawing(11.0, 5.0) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        names = {r.label: n for r in report.rows for n, b in NAMED_BUDGETS.items() if b == r.budget}
        predicted = [r.row for r in report.recommended if not r.measured]
        _draw_budgets(left, report.rows, names, predicted)
        left.set_ylabel(_statistic(report.statistic, report.confidence))
        _draw_title(left, f"{report.table or report.space}: correlation against cost")
        _draw_legend(figure, left)
        _draw_rounds(right, report)
    return figure


def _place(row: Ranked, costs: bool) -> float:
    """Return where a row lies on the horizontal axis: its seconds, or its epochs without costs."""
    return row.cost_seconds if costs else float(row.epoch)


def _has_costs(rows: Sequence[Ranked]) -> bool:
    return any(row.cost_seconds > 0 for row in rows)


def _drawable(rows: Sequence[Ranked], costs: bool) -> tuple[list[Ranked], list[str]]:
    """Return the rows that have a place in the figure, and a note on the others."""
    defined = [row for row in rows if math.isfinite(row.correlation)]
    known = [row for row in defined if 0 < _place(row, costs) < math.inf]
    lacking = {
        "correlation is not defined": len(rows) - len(defined),
        "cost is not known": len(defined) - len(known),
    }
    notes = [
        f"{count} of {len(rows)} budgets not drawn: their {what}"
        for what, count in lacking.items()
        if count
    ]
    return known, notes


def _finish(axes: Any, rows: Sequence[Ranked], costs: bool, notes: Sequence[str]) -> None:
    """Set both axes, after everything of the rows was drawn."""
    if costs:
        _draw_times(axes, "cost per network", notes)
    else:
        _draw_epochs(axes, [r.epoch for r in rows], ["no cost is known", *notes])
    axes.set_ylim(min(0.0, *axes.get_ylim()), 1.0)
    _draw_grid(axes)


def _draw_budgets(
    axes: Any,
    rows: Sequence[Ranked],
    names: Mapping[str, str],
    predicted: Sequence[Ranked] = (),
) -> None:
    costs = _has_costs(rows)
    known, notes = _drawable([*rows, *predicted], costs)
    known.sort(key=lambda row: _place(row, costs))
    front = [r for r in known if isinstance(r, Measured) and r.pareto]
    new = [r for r in known if any(r is p for p in predicted)]
    rest = [r for r in known if not any(r is other for other in (*front, *new))]
    notes += _draw_points(axes, rest, costs, _MUTED, "other budgets" if front else "budgets")
    notes += _draw_points(axes, front, costs, _ACCENT, "Pareto front (measured)")
    notes += _draw_points(axes, new, costs, _SECOND, "predicted, never trained", "D", filled=False)
    if front:
        x = [_place(r, costs) for r in front]
        axes.step(x, [r.correlation for r in front], where="post", color=_ACCENT, lw=1)
    _finish(axes, known, costs, notes)
    named = front or (known if len(known) <= _MOST_NAMED else [])
    ends = [(_place(r, costs), r.high if math.isfinite(r.high) else r.correlation) for r in named]
    left_out = _draw_names(
        axes,
        [(x, y, names.get(r.label, r.label)) for (x, y), r in zip(ends, named, strict=True)],
    )
    axes.set_xlabel("\n".join([axes.get_xlabel(), *left_out]))


def _draw_points(
    axes: Any,
    rows: Sequence[Ranked],
    costs: bool,
    colour: str,
    label: str,
    marker: str = "o",
    *,
    filled: bool = True,
) -> list[str]:
    """Draw points with intervals; return a note if intervals are left out."""
    if not rows:
        return []
    x = [_place(r, costs) for r in rows]
    crowded = len(rows) > _CROWDED
    alpha = 0.9 if colour != _MUTED else 0.55
    if not crowded:
        low, high = [r.low for r in rows], [r.high for r in rows]
        axes.vlines(x, low, high, color=colour, lw=0.9, alpha=alpha)
    axes.plot(
        x,
        [r.correlation for r in rows],
        marker,
        ms=3 if crowded else 4.5,
        color=colour,
        mfc=colour if filled else "white",
        alpha=alpha,
        label=label,
    )
    return [f"intervals of {len(rows)} {label} are left out"] if crowded else []


def _draw_curves(axes: Any, report: CorrelationReport) -> None:
    """Draw correlation against cost along each setting's learning curve, with its band."""
    costs = _has_costs(report.rows)
    known, notes = _drawable(report.rows, costs)
    curves: dict[str, list[Ranked]] = {}
    for row in sorted(known, key=lambda row: row.epoch):
        curves.setdefault(row.setting, []).append(row)
    # Colours and bands for the best; more of them could not be told apart.
    best = sorted(curves, key=lambda name: -max(row.correlation for row in curves[name]))
    chosen = [name for name in curves if name in best[: len(_COLOURS)]]
    if others := [name for name in curves if name not in chosen]:
        _draw_others(axes, [curves[name] for name in others], costs)
    for name, colour in zip(chosen, _COLOURS, strict=False):
        label = f"{name} ({report.names[name]})" if name in report.names else name
        _draw_curve(axes, curves[name], costs, colour, label)
    if math.isfinite(report.noise_ceiling):
        _draw_line(axes, report.noise_ceiling, f"noise ceiling {report.noise_ceiling:.3f}")
    _finish(axes, known, costs, notes)
    if costs and len(curves) <= _FEW_CURVES:
        placed: list[tuple[float, float]] = []
        for name, colour in zip(chosen, _COLOURS, strict=False):
            _name_epochs(axes, curves[name], colour, placed)


def _draw_curve(axes: Any, rows: Sequence[Ranked], costs: bool, colour: str, label: str) -> None:
    if len(rows) == 1:
        _draw_points(axes, rows, costs, colour, label, "D")
        return
    x = [_place(r, costs) for r in rows]
    low, high = [r.low for r in rows], [r.high for r in rows]
    axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
    middle = [r.correlation for r in rows]
    axes.plot(x, middle, color=colour, lw=1.4, marker="o", ms=2.5, label=label)


def _draw_others(axes: Any, curves: Sequence[Sequence[Ranked]], costs: bool) -> None:
    """Draw the curves that do not stand out, as one entry of the legend."""
    label = f"{len(curves)} other settings, of lower correlations"
    for place, rows in enumerate(curves):
        axes.plot(
            [_place(r, costs) for r in rows],
            [r.correlation for r in rows],
            color=_MUTED,
            lw=0.7,
            marker="o",
            ms=1.5,
            alpha=0.6,
            label="_" if place else label,
        )


def _name_epochs(
    axes: Any, rows: Sequence[Ranked], colour: str, placed: list[tuple[float, float]]
) -> None:
    """Write some epochs below their points, each where no other one is near."""
    width, height = _points(axes), _points(axes) * axes.bbox.height / axes.bbox.width
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for row in rows if len(rows) > 1 else ():
        low = row.low if math.isfinite(row.low) else row.correlation
        x = math.log(row.cost_seconds / left) / math.log(right / left) * width
        y = (low - bottom) / (top - bottom) * height
        free = all(abs(x - a) > 40 or abs(y - b) > 10 for a, b in placed)
        if row.epoch not in _NAMED_EPOCHS or y < 12 or not free:
            continue
        placed.append((x, y))
        axes.annotate(
            f"epoch {row.epoch}", (row.cost_seconds, low), xytext=(0, -10),
            textcoords="offset points", ha="center", fontsize=7, color=colour,
        )  # fmt: skip


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
                end = max(r.importances[name].high for r in report.rounds if name in r.importances)
                axes.text(end + 0.01, place, text, va="center", fontsize=7, color=_ACCENT)
    axes.set_yticks(range(len(names)), [n.replace("_", " ") for n in names])
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_color(_MUTED if name in others else _INK)
    if not report.rounds:
        said = textwrap.fill(f"no importance was estimated: {report.stop_reason}", 50)
        axes.text(0.5, 0.5, said, ha="center", va="center", transform=axes.transAxes)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(f"share of importance ({report.confidence:.0%} interval), one bar per round")
    _draw_title(axes, f"importance by round: {report.importance_estimator}")


def _statistic(name: str, confidence: float) -> str:
    title = {"spearman": "Spearman", "kendall": "Kendall", "sparse-kendall": "sparse Kendall"}
    return f"{title[name]} correlation with full training ({confidence:.0%} interval)"
