"""How ``bpe-bench surrogate`` shows its results on a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ._output import duration, number

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table

    from bpe_bench.budget import Budget
    from bpe_bench.surrogate import (
        Figure,
        FittedSurrogate,
        Forecast,
        SurrogateReport,
        SurrogateRow,
    )
    from bpe_bench.surrogate.question import TargetName

Rows = list[dict[str, Any]]

_QUANTITIES: dict[str, TargetName] = {
    "accuracy": "accuracy", "correlation": "correlation", "cost_seconds": "cost",
}  # fmt: skip
"""What a row of predictions can have, in the order in which it is shown, and what it is."""


def listed(said: dict[str, Any]) -> RenderableType:
    """Return values by name, a line each."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in said.items():
        if name in ("settings", "warnings"):
            continue
        if isinstance(value, dict):
            value = [f"{key} {item}" for key, item in value.items()]
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        table.add_row(name.replace("_", " "), text or "–")
    return table


def report_parts(report: SurrogateReport) -> list[RenderableType]:
    """Return a report of held-out figures."""
    from rich.text import Text

    predicted = f"{report.statistic} correlation" if report.statistic else report.target
    where = f"{report.split} " if report.target == "accuracy" else ""
    title = Text.assemble(
        (report.table, "bold"),
        f": {where}{predicted} of {report.n_architectures} {report.space} architectures under "
        f"{report.n_budgets} settings on {report.dataset}; {report.folds} folds",
    )
    said = [
        f"in brackets {report.confidence:.0%} intervals; R² of the logarithm of seconds"
        if report.target == "cost"
        else f"in brackets {report.confidence:.0%} intervals"
    ]
    if not math.isnan(report.noise_ceiling):
        said.append(f"noise ceiling of Kendall within a setting: {report.noise_ceiling:.3f}")
    said.append("coverage: of the nominal 90 % intervals of predictions; width: their mean width")
    return [title, _report_table(report), Text("; ".join(said))]


def _report_table(report: SurrogateReport) -> Table:
    from rich.table import Table

    k = report.top_k
    columns: list[tuple[str, Callable[[SurrogateRow], str]]] = [
        ("R²", lambda row: _figure(row.r2, "{:.2f}")),
        ("Kendall", lambda row: _figure(row.kendall, "{:.2f}")),
        ("within setting", lambda row: _figure(row.kendall_within_budget, "{:.2f}")),
        (f"P@{k}", lambda row: number(row.precision_at_k.value, "{:.2f}")),
        (f"BR@{k}", lambda row: number(row.best_rank_at_k.value)),
        ("coverage", lambda row: _figure(row.coverage_90, "{:.2f}")),
        ("width", lambda row: number(row.width)),
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("model", "held out"):
        table.add_column(name, no_wrap=True)
    shown = [c for c in columns if any(not c[1](row).startswith("–") for row in report.rows)]
    for name, _ in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(row.model, row.grouping, *(show(row) for _, show in shown))
    return table


def _figure(figure: Figure, pattern: str) -> str:
    low, high = number(figure.low, pattern), number(figure.high, pattern)
    return f"{number(figure.value, pattern)} " + rf"\[{low}, {high}]"


def prediction_parts(
    fitted: FittedSurrogate, rows: Rows, confidence: float
) -> list[RenderableType]:
    """Return what a surrogate predicts, a line each, and below it the architectures by number."""
    from rich.table import Table
    from rich.text import Text

    names = [n for n in _QUANTITIES if n in rows[0]]
    cells = [[cell for name in names for cell in _cells(row, name)] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("budget", overflow="fold")
    for place, name in enumerate(names):
        for offset, header in enumerate(
            (name.removesuffix("_seconds"), f"{confidence:.0%} interval")
        ):
            _add_numbers(table, header, [line[2 * place + offset] for line in cells])
    architectures = list(dict.fromkeys(r["architecture"] for r in rows if "architecture" in r))
    if architectures:
        table.add_column("architecture", justify="right", no_wrap=True, min_width=12)
    for row, line in zip(rows, cells, strict=True):
        last = [str(1 + architectures.index(row["architecture"]))] if architectures else []
        table.add_row(Text(row["label"]), *line, *last)
    where = f"{fitted.split} " if fitted.target == "accuracy" else ""
    title = Text.assemble(
        (fitted.table, "bold"),
        f": {where}{fitted.target} predicted by {fitted.model}, fitted to {fitted.n_architectures} "
        f"{fitted.space} architectures under {len(fitted.settings)} settings on {fitted.dataset}"
        + (f"; cost on {fitted.device}" if "cost" in fitted.models and fitted.device else ""),
    )
    return [title, table, *([_numbered(architectures)] if architectures else [])]


def without_intervals(
    fitted: FittedSurrogate, asked: Sequence[tuple[str, Budget]], rows: Rows, confidence: float
) -> list[str]:
    """Return what has no value or no interval, and why, a sentence for each reason."""
    labels: dict[str, list[str]] = {}
    for name, target in _QUANTITIES.items():
        for label, budget in asked:
            # Rows whose given accuracies are missing know nothing; that is no interval's fault.
            same = [row for row in rows if row["label"] == label and name in row]
            bare = [row for row in same if row[f"{name}_low"] is None]
            reason = fitted.bare(target, budget, confidence) if bare else ""
            if reason:
                lacking = "no" if bare[0][name] is None else f"no {confidence:.0%} interval of"
                labels.setdefault(f"{lacking} {target} under {{}}: {reason}", []).append(label)
    return [text.replace("{}", ", ".join(dict.fromkeys(of))) for text, of in labels.items()]


def _numbered(architectures: Sequence[str]) -> Table:
    """Return what the numbers of architectures stand for, each once: it is long."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", no_wrap=True, min_width=len(str(len(architectures))))
    table.add_column(overflow="fold")
    for place, architecture in enumerate(architectures, start=1):
        table.add_row(str(place), Text(architecture))
    return table


def _add_numbers(table: Table, header: str, shown: Sequence[str]) -> None:
    """Add a column that keeps its width, whatever stands beside it."""
    from rich.text import Text

    width = max(Text.from_markup(cell).cell_len for cell in (header, *shown))
    table.add_column(header, justify="right", no_wrap=True, min_width=width)


def _cells(row: dict[str, Any], name: str) -> tuple[str, str]:
    def shown(value: float | None) -> str:
        if value is None:
            return "–"
        if name == "cost_seconds":
            return duration(value)
        return f"{100 * value:.2f} %" if name == "accuracy" else f"{value:.3f}"

    low, high = shown(row[f"{name}_low"]), shown(row[f"{name}_high"])
    return shown(row[name]), rf"\[{low}, {high}]"


def values(found: dict[str, Forecast], place: int) -> dict[str, float | None]:
    """Return the values and bounds of one row by name; what is unknown is None."""
    found_values = {}
    for name, forecast in found.items():
        for suffix, array in (
            ("", forecast.value),
            ("_low", forecast.low),
            ("_high", forecast.high),
        ):
            value = float(array[place])
            found_values[name + suffix] = value if math.isfinite(value) else None
    return found_values


def frame(rows: Rows) -> pd.DataFrame:
    """Return rows as a data frame, the values of objects in their place."""
    import pandas as pd

    flat = [
        {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in _spread(row).items()}
        for row in rows
    ]
    return pd.DataFrame(flat).set_index(next(iter(flat[0])))


def _spread(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the values of its objects in their place."""
    spread: dict[str, Any] = {}
    for name, value in row.items():
        spread |= value if isinstance(value, dict) else {name: value}
    return spread
