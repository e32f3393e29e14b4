"""How ``bpe-bench surrogate`` shows its results on a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._output import grid, interval, number, titled

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.surrogate import Answers, Figure, SurrogateReport, SurrogateRow


_NOT_LISTED = ("answer", "settings", "warnings")
"""Said elsewhere, or too long for a line."""


def fitted_parts(said: dict[str, Any]) -> list[RenderableType]:
    """Return what was fitted, and below it the values that there are by name, a line each."""
    rows = []
    for name, value in said.items():
        if isinstance(value, dict):
            value = [f"{key} {item}" for key, item in value.items()]
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if text and name not in _NOT_LISTED:
            rows.append({"name": name.replace("_", " "), "value": text})
    return [said["answer"], grid(rows, left=["name", "value"], headers=False)]


def report_parts(report: SurrogateReport) -> list[RenderableType]:
    """Return a report of held-out figures, the answer first."""
    predicted = (
        f"{report.statistic.capitalize()} correlation" if report.statistic else report.target
    )
    where = f"{report.split} " if report.target == "accuracy" else ""
    title = titled(
        report.table,
        f": {where}{predicted} of {report.n_architectures} {report.space} architectures under "
        f"{_settings(report.n_budgets)} on {report.dataset}; {report.folds} folds",
    )
    rows = [_row(report, row) for row in report.rows]
    shown = [n for n in rows[0] if any(not row[n].startswith("–") for row in rows)]
    if report.n_budgets == 1:  # within the only setting is over all rows
        shown = [n for n in shown if n != "within setting"]
    said = [f"in brackets {report.confidence:.0%} intervals"]
    if report.target == "cost":
        said[0] += "; R² of the logarithm of seconds"
    if not math.isnan(report.noise_ceiling):
        said.append(
            f"noise ceiling of Kendall within a setting: {report.noise_ceiling:.3f} between single "
            "trainings; the means over seeds that are predicted here can be ranked better"
        )
    chance = report.rows[0]
    if not math.isnan(chance.precision_at_k_chance):
        said.append(
            f"a random order has on average P@{report.top_k} {chance.precision_at_k_chance:.2f}, "
            f"BR@{report.top_k} {chance.best_rank_at_k_chance:.3f}"
        )
    if any(row.n_twins for row in report.rows):
        said.append("without twins: the same over the architectures that no other is isomorphic to")
    within = " within a setting" if report.encoding and report.n_budgets > 1 else ""
    said.append(f"straight line: its Kendall{within}; a ridge regression on the same columns")
    said.append("coverage: of the nominal 90 % intervals of predictions; width: their mean width")
    table = grid([{n: row[n] for n in shown} for row in rows], left=["model", "held out"])
    return [report.answer, title, table, *said]


def _row(report: SurrogateReport, row: SurrogateRow) -> dict[str, str]:
    k = report.top_k
    return {
        "model": row.model,
        "held out": row.grouping,
        "R²": _figure(row.r2),
        "Kendall": _figure(row.kendall),
        "within setting": _figure(row.kendall_within_budget),
        "without twins": _figure(row.without_twins),
        "straight line": number(row.straight_line.value, "{:.2f}"),
        f"P@{k}": number(row.precision_at_k.value, "{:.2f}"),
        f"BR@{k}": number(row.best_rank_at_k.value),
        "coverage": _figure(row.coverage_90),
        "width": number(row.width),
    }


def _figure(figure: Figure) -> str:
    return f"{number(figure.value, '{:.2f}')} {interval(figure.low, figure.high)}"


def answer_parts(answers: Answers) -> list[RenderableType]:
    """Return the answer, predictions, a line each, and below them the architectures by number."""
    from bpe_bench.surrogate import QUANTITIES
    from bpe_bench.surrogate.conclusions import figure_text, published

    fitted, rows = answers.fitted, answers.rows
    architectures = list(dict.fromkeys(r["architecture"] for r in rows if "architecture" in r))
    shown = []
    for row in rows:
        cells = {"budget": published(row["label"], answers.budget(row))}
        for place, name in enumerate(name for name in QUANTITIES if name in row):
            value, *bounds = (figure_text(name, row[name + end]) for end in ("", "_low", "_high"))
            cells[name.removesuffix("_seconds")] = value
            # Columns need different names; a space at the end is not seen.
            cells[f"{answers.confidence:.0%} interval{' ' * place}"] = f"[{', '.join(bounds)}]"
        if architectures:
            cells["architecture"] = str(1 + architectures.index(row["architecture"]))
        shown.append(cells)
    where = f"{fitted.split} " if fitted.target == "accuracy" else ""
    title = titled(
        fitted.table,
        f": {where}{fitted.target} predicted by {fitted.model}, fitted to {fitted.n_architectures} "
        f"{fitted.space} architectures under {_settings(len(fitted.settings))} on {fitted.dataset}"
        + (f"; cost on {fitted.device}" if "cost" in fitted.models and fitted.device else ""),
    )
    # Architectures are long, so they are written once, below.
    columns = [n for n in shown[0] if any(row[n] != "[–, –]" for row in shown)]
    shown = [{name: row[name] for name in columns} for row in shown]
    numbered = [{"n": str(n), "text": text} for n, text in enumerate(architectures, start=1)]
    below = [grid(numbered, left=["text"], headers=False)] if numbered else []
    return [answers.answer, title, grid(shown, left=["budget"]), *below]


def _settings(count: int) -> str:
    return f"{count} setting{'s' * (count != 1)}"
