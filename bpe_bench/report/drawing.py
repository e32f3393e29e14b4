"""What all figures share: style, axes of time, names of points. Only report has matplotlib."""

from __future__ import annotations

import io
import itertools
import math
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BpeBenchError, OptionalDependencyError, UnknownNameError
from ..files import check_writable, reason_of, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _MUTED, _ACCENT, _SECOND = "#1a1a2e", "#8d99ae", "#c8553d", "#2a6f97"
_COLOURS = (_ACCENT, _SECOND, "#5b8e55", "#7b5ea7", "#b8860b", "#444b5a")
_LEADER = "#c3c9d4"
"""Colour of the lines from points to their names."""
_NOTEBOOK_DPI = 100
_SUFFIXES = (".png", ".svg", ".pdf")
_STYLE = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "svg.hashsalt": "bpe-bench",
}
_UNITS = ((3600.0, "h", "hours"), (60.0, "min", "minutes"), (1.0, "s", "seconds"))
_TICKS = (
    ((1, 2, 5), (1, 2, 5, 10, 20, 30)),
    ((1, 3), (1, 5, 10, 30)),
    ((1, 3), (1, 10)),
    ((1,), (1, 10)),
    ((1,), (1,)),
)
"""Ticks of a logarithmic axis of time, the finest first: in decades (milliseconds and hours) and in
sixties (seconds and minutes)."""
_TICK_POINTS = 42.0
"""Room for the text of a tick, in points (1/72 inch)."""
_NAME_POINTS = 11.0
"""Room for a name that is written upright."""
_NAME_LETTER = 4.6
"""Height of a letter of such a name."""
_TITLE_POINTS = 6.2
"""Width of a letter of a title."""
_LEGEND_LETTERS = 15.0
"""An inch of the legend holds so many."""


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
        If its folder does not exist or cannot be written.
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
    try:
        check_writable(target)
    except OSError as error:
        raise BpeBenchError(f"cannot write figure {target}: {reason_of(error)}") from error
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
        figure = Figure(figsize=(width, height), layout="constrained")
        vars(figure)["_repr_png_"] = partial(_as_png, figure)
        yield figure


def _as_png(figure: Figure) -> bytes:
    """Return a figure as a notebook shows it, also where pyplot is not loaded."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=_NOTEBOOK_DPI)
    return image.getvalue()


def _points(axes: Any) -> float:
    """Return about how wide axes are, in points."""
    return float(axes.bbox.width * 72 / axes.figure.dpi)


def _draw_title(axes: Any, text: str) -> None:
    """Write a title, in several lines if it is too long for one."""
    axes.set_title(textwrap.fill(text, max(40, int(_points(axes) / _TITLE_POINTS))), loc="left")


def _draw_grid(axes: Any, axis: str = "y") -> None:
    axes.grid(axis=axis, color="#e6e6ec", lw=0.6)
    axes.set_axisbelow(True)


def _draw_legend(figure: Figure, axes: Any, *, backwards: bool = False) -> None:
    """Write the legend below all axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    if backwards:
        handles, labels = handles[::-1], labels[::-1]
    room = figure.get_figwidth() * _LEGEND_LETTERS
    columns = max(1, min(4, int(room / (8 + max(map(len, labels))))))
    figure.legend(
        handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=8.5
    )


def _draw_line(axes: Any, value: float, text: str) -> None:
    """Draw a dashed line through a value of the vertical axis, for the legend to explain."""
    axes.axhline(value, color=_MUTED, lw=1, ls="--", label=text)


def _unit(seconds: float) -> tuple[float, str]:
    """Return the unit that suits a time: how many seconds it has, and its name.

    Examples
    --------
    >>> _unit(90.0), _unit(5400.0), _unit(12_000.0)
    ((1.0, 'seconds'), (60.0, 'minutes'), (3600.0, 'hours'))
    """
    return next(((size, name) for size, _, name in _UNITS[:-1] if seconds >= 2 * size),
                (1.0, "seconds"))  # fmt: skip


def _draw_times(axes: Any, what: str, notes: Sequence[str] = ()) -> None:
    """Make the horizontal axis, whose values are seconds, a logarithmic one of times.

    The values drawn stay seconds; ticks say 10 s, 1 min or 2 h.
    """
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    _set_ticks(axes, _time_ticks(low, high, _points(axes)), _time)
    axes.set_xlabel("\n".join([f"{what} (log scale)", *notes]))


def _draw_epochs(axes: Any, epochs: Sequence[int], notes: Sequence[str] = ()) -> None:
    """Make the horizontal axis a logarithmic one of epochs, with ticks where some are."""
    axes.set_xscale("log")
    span = math.log(axes.get_xlim()[1] / axes.get_xlim()[0])
    ticks: list[float] = []
    for epoch in sorted(set(epochs)):
        if not ticks or math.log(epoch / ticks[-1]) * _points(axes) > span * _TICK_POINTS / 2:
            ticks.append(float(epoch))
    _set_ticks(axes, ticks, "{:g}".format)
    axes.set_xlabel("\n".join(["epochs (log scale)", *notes]))


def _set_ticks(axes: Any, ticks: Sequence[float], text: Callable[[float], str]) -> None:
    from matplotlib.ticker import NullLocator

    limits = axes.get_xlim()
    axes.set_xticks(ticks, [text(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(limits)


def _time(seconds: float) -> str:
    for size, unit, _ in _UNITS:
        if seconds >= size * (1 - 1e-9):
            return f"{seconds / size:,.10g} {unit}"
    return f"{1000 * seconds:,.10g} ms"


def _time_ticks(low: float, high: float, width: float) -> list[float]:
    """Return ticks between two times, in seconds, for a logarithmic axis of so many points."""
    span = math.log(high / low)
    ticks: list[float] = []
    for decades, sixties in _TICKS:
        known = [m * 10.0**e / 1000 for e in range(3) for m in decades]
        known += [size * m for size in (1.0, 60.0) for m in sixties]
        known += [3600 * m * 10.0**e for e in range(9) for m in decades]
        ticks = [tick for tick in known if low <= tick <= high]
        gaps = [math.log(b / a) / span * width for a, b in itertools.pairwise(ticks)]
        if all(gap >= _TICK_POINTS for gap in gaps):
            break
    if len(ticks) >= 2:
        return ticks[:: math.ceil(len(ticks) / (width / _TICK_POINTS))]
    from matplotlib.ticker import MaxNLocator

    size = next((size for size, _, _ in _UNITS if low >= size), 1e-3)
    places = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low / size, high / size)
    return [float(place) * size for place in places if low <= place * size <= high]


def _draw_names(axes: Any, named: Sequence[tuple[float, float, str]]) -> list[str]:
    """Write names of points upright above the axes, next to each other, each with a line to it.

    Parameters
    ----------
    axes
        With a logarithmic horizontal axis; its limits have to stand.
    named
        Horizontal place, upper end and name of each point, from left to right.

    Returns
    -------
    list
        A note if there is no room for all.
    """
    if not named:
        return []
    step = math.ceil(len(named) * _NAME_POINTS / _points(axes))
    limits, bottom_top = axes.get_xlim(), axes.get_ylim()
    low, high = np.log(limits)
    shown = named[::step]
    wanted = [(math.log(x) - low) / (high - low) for x, _, _ in shown]
    places = _apart(wanted, _NAME_POINTS / _points(axes))
    at = np.exp(low + np.array(places) * (high - low))
    for (x, y, _), place in zip(shown, at, strict=True):
        axes.plot([x, place], [y, bottom_top[1]], color=_LEADER, lw=0.6, zorder=0.5)
    axes.set_xlim(limits)
    axes.set_ylim(bottom_top)
    _write_above(axes, at, [name for _, _, name in shown])
    return [f"a name for every {step} points, for want of room"] if step > 1 else []


def _write_above(axes: Any, at: Sequence[float], names: Sequence[str]) -> None:
    """Write upright names at places above the axes; the layout and the title make room for them."""
    from matplotlib.ticker import NullLocator

    longest = max(map(len, names)) * _NAME_LETTER / 72
    axes.figure.set_figheight(axes.figure.get_figheight() + max(0.0, longest - 0.6))
    top = axes.secondary_xaxis("top")
    top.set_xticks(at, names, rotation=90, fontsize=7.5, color=_INK)
    top.xaxis.set_minor_locator(NullLocator())
    top.tick_params(length=0)
    top.spines["top"].set_visible(False)


def _apart(wanted: Sequence[float], least: float) -> list[float]:
    """Move sorted places between 0 and 1 until neighbours are far enough apart.

    Examples
    --------
    >>> [round(place, 2) for place in _apart([0.1, 0.12, 0.99, 1.0], 0.1)]
    [0.06, 0.16, 0.9, 1.0]
    """
    groups: list[list[float]] = []  # of each the middle of its wanted places, and how many
    for place in wanted:
        groups.append([place, 1])
        while True:
            middle, count = groups[-1]
            half = (count - 1) * least / 2
            groups[-1][0] = middle = min(max(middle, half), 1 - half)
            if len(groups) < 2:
                break
            before, size = groups[-2]
            if middle - half - before - (size - 1) * least / 2 >= least * (1 - 1e-9):
                break
            groups[-2:] = [[(before * size + middle * count) / (size + count), size + count]]
    return [
        middle + (place - (count - 1) / 2) * least
        for middle, count in groups
        for place in range(int(count))
    ]
