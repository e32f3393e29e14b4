"""What ``bpe-bench search`` prints: the answer, what was chosen, a row per searcher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._output import duration, grid, number, titled

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.search import SearchReport, SearchResult


_YES_NO = {"True": "yes", "False": "no"}


def search_tables(result: SearchResult) -> list[RenderableType]:
    """Return the parts of the output for a reader."""
    first = result.reports[0]
    title = titled(
        f"{first.space} on {first.dataset}",
        f": {_repeats(first)}, {_source(first)}",
    )
    rows = [_row(report) for report in result.reports]
    known = dict.fromkeys(name for row in rows for name, cell in row.items() if cell != "–")
    parts: list[RenderableType] = [
        result.answer,
        title,
        *_chosen(result.reports),
        grid([{name: row.get(name) for name in known} for row in rows], left=["searcher"]),
    ]
    parts += [*_optimum(first), *_coverage(result.reports), *_full_cost(result.reports)]
    parts += [f"best found by {r.searcher}: {r.best}" for r in result.reports if r.best]
    parts += [comparison.verdict for comparison in result.comparisons]
    if result.comparisons:
        parts.append("p: two-sided Mann-Whitney test, corrected for all comparisons (Holm)")
    return parts


def _unasked(report: SearchReport, what: str) -> str:
    return " (by default)" if what in report.choices["by_default"] else ""


def _repeats(report: SearchReport) -> str:
    count = f"{report.repeats:,} repeat{'s' * (report.repeats != 1)}"
    return f"{count}{_unasked(report, 'repeats')}, seed {report.choices['seed']}"


def _chosen(reports: Sequence[SearchReport]) -> list[str]:
    """Say what the searches were made with, and what of it was not asked for."""
    chosen = reports[0].choices
    unasked = {name: _unasked(reports[0], name) for name in ("allowance", "images")}
    limits = []
    if chosen["evaluations"] is not None:
        limits.append(f"{chosen['evaluations']:,} evaluations")
    if chosen["seconds"] is not None:
        limits.append(f"{duration(chosen['seconds'])} of simulated time")
    lines = [
        f"allowance of each: at most {' and '.join(limits)}{unasked['allowance']}",
    ]
    if chosen["images"] is not None:
        lines.append(
            f"trained here on the images {chosen['images']}{unasked['images']}, "
            f"device {chosen['device']}"
        )
    if chosen["trainer"] is not None:
        lines.append(f"trained by {chosen['trainer']}")
    supernets = [r.parameters["budget"] for r in reports if r.searcher == "darts"]
    lines += [f"supernet of darts: {_sizes(budget)}" for budget in supernets]
    return [*lines, f"parameters: {'; '.join(map(_parameters, reports))}"]


def _parameters(report: SearchReport) -> str:
    """Return the parameters of a searcher, but for those that have lines of their own."""
    said = [
        f"{name.replace('_', ' ')} {_YES_NO.get(str(value), value)}"
        for name, value in report.parameters.items()
        if isinstance(value, int | float | str) and name not in ("images", "device", "checkpoints")
    ]
    return f"{report.searcher} ({', '.join(said)})" if said else report.searcher


def _optimum(report: SearchReport) -> list[str]:
    """Say the best accuracies that there are to find, if they are known."""
    best = vars(report.optimum) if report.optimum else {}
    known = [f"{s} {100 * value:.2f} %" for s, value in best.items() if not math.isnan(value)]
    return [f"the optimum: {', '.join(known)}"] if known else []


def _full_cost(reports: Sequence[SearchReport]) -> list[str]:
    """Say what the column of costs compares."""
    costs = [
        r.speedup.full_training * r.simulated_seconds / r.evaluations_mean
        for r in reports
        if not math.isnan(r.speedup.full_training)
    ]
    if not costs:
        return []
    return [
        f"of full cost: an evaluation's cost as a share of full training ({costs[0]:,.0f} s, the "
        "mean over the table); what either would find is not compared"
    ]


def _coverage(reports: Sequence[SearchReport]) -> list[str]:
    """Say how much of the space a table holds, and how many evaluations failed, if any did."""
    first, lines = reports[0], []
    known, size = first.known_architectures, first.space_size
    if known is not None and known < size:
        shown = f"{size:,}" if size < 10**9 else f"{size:.3g}"
        use = "the others are never proposed, and regret and optimum are of these"
        if first.missing == "failed":
            use = "the others count as failed evaluations"
        lines.append(f"the table holds {known:,} of {shown} architectures under this budget: {use}")
    counts = [
        f"{r.searcher} {r.failed_evaluations:,} of {r.evaluations_mean * r.repeats:,.0f}"
        for r in reports
        if r.failed_evaluations
    ]
    if counts:
        lines.append(f"failed evaluations, over all repeats: {', '.join(counts)}")
    return lines


def _source(report: SearchReport) -> str:
    """Say where evaluations came from, and the data set of the final figures."""
    said = f"by table {report.table}" if report.table else "by real training"
    if report.estimator == "surrogate":
        said = f"by a surrogate of {report.table or 'a table'}"
    if report.budget is not None:
        if report.estimator == "table":
            said += f" under {report.choices['budget']}{_unasked(report, 'budget')},"
            said += f" {_sizes(report.budget)}, steered by {report.split} accuracy"
        else:
            said += f" under {_sizes(report.budget)}{_unasked(report, 'budget')}"
        if report.estimator == "surrogate":
            said += f", predicting {report.split} accuracy"
    if report.report_dataset != report.dataset:
        said += f"; final figures on {report.report_dataset}"
    return said


def _sizes(budget: Mapping[str, Any]) -> str:
    said = f"{budget['epochs']} epoch{'s' * (budget['epochs'] != 1)}"
    said += "".join(f" x {budget[n]} {n}" for n in ("layers", "channels") if budget[n] is not None)
    return said + (f", {budget['image_size']} pixels" if budget["image_size"] is not None else "")


def _row(report: SearchReport) -> dict[str, str]:
    row = {
        "searcher": report.searcher,
        "evaluations": f"{report.evaluations_mean:.1f}",
        "clock": duration(report.simulated_seconds),
        "validation %": _spread(report.validation_mean, report.validation_std),
        "test %": _spread(report.test_mean, report.test_std),
    }
    if report.optimum is not None:
        row["regret"] = number(100 * report.regret_mean, "{:.2f}")
    if not math.isnan(report.target):
        time = f"in {duration(report.seconds_to_target)}"
        if math.isinf(report.seconds_to_target):
            time = "not reached"
        row[f"to {100 * report.target:.2f} %"] = f"{time} ({report.target_reached:.0%})"
    if not math.isnan(report.speedup.full_training):
        row["of full cost"] = f"{1 / report.speedup.full_training:.1%}"
    return row


def _spread(mean: float, deviation: float) -> str:
    middle = number(100 * mean, "{:.2f}")
    return middle if math.isnan(deviation) else f"{middle} ± {100 * deviation:.2f}"
