"""What a pruning says in a few sentences: which budgets to use, and what was pruned and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..budget import NAMED_BUDGETS, Budget
from ..correlation.answers import hint
from ..correlation.candidates import Measured, Ranked
from ..errors import duration, interval, number
from ..hyper_parameters import Value, written

if TYPE_CHECKING:
    from .report import PruningReport, Recommendation


def _answer(report: PruningReport) -> str:
    """Return a line per allowance, and one on what was pruned."""
    return "\n".join([*_what_to_use(report), _what_was_pruned(report)])


def published_name(budget: Budget) -> str | None:
    """Return the name that a budget has in the literature; None if it has none."""
    return next((name for name, known in NAMED_BUDGETS.items() if known == budget), None)


def brief(budget: Budget) -> str:
    """Return the shortest text that `bpe_bench.budget.parse_budget` reads as a budget.

    Values that are unknown are left out, as one's own trainer may have no use for them; such a
    text is read with ``complete=False``.

    Examples
    --------
    >>> from bpe_bench.budget import BPE_2
    >>> brief(BPE_2.replace(epochs=60, precision="fp16"))
    'BPE-2,epochs=60,precision=fp16'
    """
    values = budget.to_dict()
    if None in values.values():
        usual = {f.name: f.default for f in dataclasses.fields(Budget)}
        left_out = {k for k, v in values.items() if v == usual[k]}
        left_out |= {k for k, v in values.items() if v is None and usual[k] is dataclasses.MISSING}
        return _said({k: v for k, v in values.items() if k not in left_out})
    texts = [str(budget)]
    for name, known in NAMED_BUDGETS.items():
        changed = {k: v for k, v in values.items() if v != getattr(known, k)}
        texts.append(f"{name},{_said(changed)}".rstrip(","))
    return min(texts, key=len)


def _said(values: Mapping[str, Value]) -> str:
    return ",".join(f"{name}={written(value)}" for name, value in values.items())


def _name_of(report: PruningReport, row: Ranked) -> str:
    """Return a label of the table with its published name, else the budget as text."""
    if report.objective != "replay" or not isinstance(row, Measured):
        return brief(row.budget)
    published = published_name(row.budget)
    return f"{row.label} ({published})" if published else row.label


def _what_to_use(report: PruningReport) -> list[str]:
    if not report.recommended:
        return [_nothing(report)]
    if not report.allowances:
        best = report.best()
        if best is None:
            return []
        why = "--max-cost-hours names the best within an allowance."
        if best.row.cost_seconds <= report.little:
            limit = f"{duration(report.little)}, a tenth of the dearest"
            why = f"It ranks best of those that cost at most {limit}; {why}"
        return [f"{_use(report, best, '')}. {why}"]
    named = [r for r in report.recommended if r.best_under_hours]
    said = [
        f"{_use(report, r, f' within {_hours(r.best_under_hours)} per network')}." for r in named
    ]
    met = {hours for r in named for hours in r.best_under_hours}
    unmet = tuple(hours for hours in report.allowances if hours not in met)
    if unmet:
        known = [r for r in report.recommended if r.measured] or list(report.recommended)
        cheapest = min(known, key=lambda r: r.row.cost_seconds)
        least = min(r.cost_seconds for r in [cheapest.row, *report.rows])
        reason = "no interval of a budget that costs so little lies above 0"
        if least > max(unmet) * 3600:
            reason = f"no budget costs so little, the cheapest costs {duration(least)}"
        said.append(
            f"Nothing can be recommended within {_hours(unmet)} per network: {reason}; the "
            f"cheapest {'' if cheapest.measured else 'predicted '}one whose interval lies above 0 "
            f"is {_name_of(report, cheapest.row)} at {duration(cheapest.row.cost_seconds)}."
        )
    return said


def _use(report: PruningReport, item: Recommendation, within: str) -> str:
    row = item.row
    predicted = "" if item.measured else "predicted "
    said = (
        f"Use {_name_of(report, row)}{within}: {duration(row.cost_seconds)}"
        f"{f' on {row.device}' if row.device else ''}, {predicted}{_figure(report, row)} "
        "(chance: 0)"
    )
    if item.held_out is not None:
        said += f", {number(item.held_out.correlation)} held out"
    return said if item.measured else f"{said}; it was never trained"


def _nothing(report: PruningReport) -> str:
    if not report.rows:
        return "Nothing here can be recommended: no setting has a correlation."
    best = max(report.rows, key=lambda row: row.correlation)
    over = f" over {best.n_architectures} architectures" if isinstance(best, Measured) else ""
    return (
        "Nothing here can be recommended: no interval lies above 0 (chance). The best is "
        f"{_name_of(report, best)} with {_figure(report, best)}{over}; {hint(best)}."
    )


def _what_was_pruned(report: PruningReport) -> str:
    if not report.pruning_order:
        return f"Nothing is pruned: {report.stop_reason}."
    order = ", then ".join("+".join(r.pruned) for r in report.rounds if r.pruned)
    said = f"Pruned: {order}"
    done = [r for r in report.rounds if r.pruned]
    unsure = sum(not r.separable for r in done)
    if unsure:
        said += (
            f"; in {unsure} of {len(done)} rounds only because of --force, as the data do not "
            "separate it from what stays"
        )
    outside = sum(not r.in_remaining_space for r in report.recommended)
    if outside:
        said += (
            f". {outside} of the {len(report.recommended)} budgets below lie outside the pruned "
            "space, as they have other values of what was pruned"
        )
    return f"{said}."


def _figure(report: PruningReport, row: Ranked) -> str:
    """Return the correlation with its interval."""
    return (
        f"{report.statistic.capitalize()} {number(row.correlation)} {interval(row.low, row.high)}"
    )


def _hours(allowances: tuple[float, ...]) -> str:
    return " and ".join(f"{hours:g} h" for hours in allowances)
