"""How ``bpe-bench surrogate`` shows its results on a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._output import duration, number

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table

    from bpe_bench.surrogate import (
        Figure,
        FittedSurrogate,
        Forecast,
        SurrogateReport,
        SurrogateRow,
    )

Rows = list[dict[str, Any]]


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
    """Return what a surrogate predicts, a line each."""
    from rich.table import Table
    from rich.text import Text

    names = [n for n in ("accuracy", "correlation", "cost_seconds") if n in rows[0]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("budget", no_wrap=True)
    for name in names:
        table.add_column(name.removesuffix("_seconds"), justify="right", no_wrap=True)
        table.add_column(f"{confidence:.0%} interval", justify="right", no_wrap=True)
    if "architecture" in rows[0]:
        table.add_column("architecture", no_wrap=True, overflow="ellipsis")
    for row in rows:
        cells = [cell for name in names for cell in _cells(row, name)]
        table.add_row(
            row["label"], *cells, *([row["architecture"]] if "architecture" in row else [])
        )
    title = Text.assemble(
        (fitted.table, "bold"),
        f": {fitted.target} predicted by {fitted.model}, fitted to {fitted.n_architectures} "
        f"{fitted.space} architectures under {len(fitted.settings)} settings on {fitted.dataset}"
        + (f"; cost on {fitted.device}" if "cost" in fitted.models and fitted.device else ""),
    )
    return [title, table]


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
