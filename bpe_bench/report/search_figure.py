"""The figure of searches over the simulated clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SelectionError
from ..search import SearchReport
from .drawing import (
    _COLOURS,
    _draw_grid,
    _draw_legend,
    _draw_line,
    _draw_title,
    _drawing,
    _unit,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (4, 1.5, 1, 1.5)))
"""By place, so that lines that coincide are all seen."""
_EARLY = 10
"""The first one of so many parts of the clock does not determine the view."""


def search_figure(reports: Sequence[SearchReport]) -> Figure:
    """Draw the best so far of every searcher over the simulated clock, with quartiles.

    Each line ends in a point where the searches ended: the median of what they found. The
    clock has the unit that suits it: seconds, minutes or hours.

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
    with _drawing(7.2, 4.8) as figure:
        axes = figure.add_subplot()
        size, unit = _unit(max(report.curve.seconds[-1] for report in drawn))
        for place, report in enumerate(drawn):
            _draw_search(axes, report, place, size)
        split = drawn[0].report_split
        value = 100 * getattr(drawn[0].optimum, split, np.nan)
        if np.isfinite(value):
            _draw_line(axes, value, f"optimum {value:.2f} %")
        _set_view(axes, drawn)
        missing = ", ".join(r.searcher for r in reports if r not in drawn)
        note = f"\nnot drawn, because most found nothing at a known time: {missing}"
        axes.set_xlabel(f"simulated device {unit}{note if missing else ''}")
        kind = "predicted" if drawn[0].is_predicted else split
        axes.set_ylabel(f"final {kind} accuracy of the best so far, %")
        _draw_title(axes, f"{drawn[0].space} on {drawn[0].report_dataset}: {_what(drawn)}")
        _draw_grid(axes)
        _draw_legend(figure, axes)
    return figure


def _draw_search(axes: Any, report: SearchReport, place: int, size: float) -> None:
    colour, curve = _COLOURS[place % len(_COLOURS)], report.curve
    times = curve.seconds / size
    low, high = 100 * curve.low, 100 * curve.high
    if report.repeats > 1:
        axes.fill_between(times, low, high, step="post", color=colour, alpha=0.18, lw=0)
        if np.isfinite(low).sum() == 1:  # a band of no width
            axes.vlines(times[-1], low[-1], high[-1], color=colour, alpha=0.5)
    searches = "1 search" if report.repeats == 1 else f"{report.repeats} searches"
    axes.step(
        times,
        100 * curve.median,
        where="post",
        color=colour,
        ls=_DASHES[place % len(_DASHES)],
        lw=1.5,
        marker="o",
        ms=4.5,
        markevery=[-1],
        label=f"{report.searcher} ({searches})",
    )


def _what(drawn: Sequence[SearchReport]) -> str:
    """Say what lines and bands are."""
    if all(report.repeats == 1 for report in drawn):
        return "one search, so no band"
    few = " (interpolated)" if max(r.repeats for r in drawn) < 5 else ""
    return f"median and quartiles{few} of the searches"


def _set_view(axes: Any, drawn: Sequence[SearchReport]) -> None:
    """Show what was found, and not how bad the first draws were."""
    lowest = []
    for report in drawn:
        curve = report.curve
        later = slice(len(curve.seconds) // _EARLY, None)
        lowest.append(np.nanmin(np.fmin(curve.low, curve.median)[later]))
    bottom, top = 100 * float(min(lowest)), axes.dataLim.ymax
    margin = 0.05 * max(top - bottom, 0.5)
    axes.set_ylim(bottom - margin, top + margin)
    last = float(axes.dataLim.xmax)
    axes.set_xlim(0, 1.02 * last if last > 0 else 1.0)
