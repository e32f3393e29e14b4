"""How ``bpe-bench mip`` shows a pruning and the search that followed it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._output import duration, grid, interval, number, shape, titled

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.budget import Budget
    from bpe_bench.pruning import PruningReport, Recommendation, Round
    from bpe_bench.search import SearchReport


_MOST_ROUNDS = 5
"""So many rounds fit beside one another; the last ones are shown."""


def pruning_tables(report: PruningReport) -> list[RenderableType]:
    source = "" if report.objective == "replay" else f"{report.objective}, "
    title = titled(
        f"{report.table}",
        f": minimum importance pruning by {report.importance_estimator}, {source}"
        f"{report.evidence} evidence worth {_hours(report.cost_hours)}",
    )
    order = " → ".join("+".join(r.pruned) for r in report.rounds if r.pruned) or "nothing"
    return [
        title,
        _rounds(report),
        titled("pruned: ", order),
        titled("kept:   ", ", ".join(report.kept)),
        titled("ended:  ", report.stop_reason),
        "",
        _recommended(report),
        "held out: chosen among budgets of at most this cost on half of the architectures, ranked "
        "on the other half",
        "training: epochs x layers x channels, pixels, batch size, precision",
        "(predicted): never trained; *: hardly varies, so it is not eligible for pruning",
    ]


def search_lines(report: PruningReport, found: SearchReport | None) -> list[RenderableType]:
    """Return the result of a search with the recommended budget, and both costs."""
    best = report.best()
    if found is None or best is None:
        return []
    figures = f"validation {100 * found.validation_mean:.2f} %"
    if not math.isnan(found.test_mean):
        figures += f", test {100 * found.test_mean:.2f} %"
    return [
        "",
        titled(
            f"search by {found.searcher}",
            f" under {best.row.label}: {found.evaluations_mean:.0f} evaluations by "
            f"{found.estimator}; the best has {figures}",
        ),
        f"found: {found.best}",
        f"cost: the pruning rests on {_hours(report.cost_hours)}, the search took "
        f"{_hours(found.simulated_seconds / 3600)}",
    ]


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{duration(3600 * hours)} of device time"
    return f"{hours:,.0f} device hours" if hours >= 10 else f"{hours:.1f} device hours"


def _rounds(report: PruningReport) -> RenderableType:
    """Return a line per hyper-parameter and a column per round."""
    shown = report.rounds[-_MOST_ROUNDS:]
    first = len(report.rounds) - len(shown) + 1
    names = dict.fromkeys(n for r in shown for n in r.importances)
    lines = {name: [_importance(done, name) for done in shown] for name in names}
    lines |= {
        "": ["" for _ in shown],
        "settings": [str(r.evaluated) for r in shown],
        "least": ["\n".join(r.least) or "–" for r in shown],
        "least in": [number(r.stability, "{:.0%}") for r in shown],
        "separable": ["yes" if r.separable else "no" for r in shown],
        "pinned to": [_pinned(r) for r in shown],
    }
    rounds = [f"round {place}" for place in range(first, first + len(shown))]
    rows = [
        {"importance": name, **dict(zip(rounds, cells, strict=True))}
        for name, cells in lines.items()
    ]
    return grid(rows, left=["importance"])


def _pinned(done: Round) -> str:
    return "abstains" if done.abstained else "\n".join(map(str, done.pinned_to.values())) or "–"


def _importance(done: Round, name: str) -> str:
    value = done.importances.get(name)
    if value is None:
        return ""
    text = f"{value.mean:.2f} ({value.low:.2f}–{value.high:.2f})"
    return text if value.eligible else f"{text}*"


def _recommended(report: PruningReport) -> RenderableType:
    rows = [
        {
            "recommended": _name(item),
            report.statistic.capitalize(): number(item.row.correlation),
            f"{report.confidence:.0%} interval": interval(item.row.low, item.row.high),
            "held out": _held_out(item),
            "cost": duration(item.row.cost_seconds),
            "device": item.row.device or "–",
            "best within": ", ".join(f"{hours:g} h" for hours in item.best_under_hours),
            "training": _training(item.row.budget),
        }
        for item in report.recommended
    ]
    return grid(rows, left=["recommended", "device", "best within", "training"])


def _held_out(item: Recommendation) -> str:
    return "–" if item.held_out is None else number(item.held_out.correlation)


def _name(item: Recommendation) -> str:
    """Return a setting's label, or what it is if the label only repeats its values."""
    if not item.measured:
        return "(predicted)"
    return "(trained)" if "=" in item.row.label else item.row.label


def _training(budget: Budget) -> str:
    parts = [shape(budget)]
    parts += ["?" if v is None else str(v) for v in (budget.batch_size, budget.precision)]
    if budget.data_fraction is not None and budget.data_fraction < 1:
        parts.append(f"{budget.data_fraction:.0%} of the images")
    if budget.cutout:
        parts.append(f"cutout {budget.cutout}")
    return ", ".join(parts)
