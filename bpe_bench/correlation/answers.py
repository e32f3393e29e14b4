"""What a correlation report says in a few sentences: which cheap budget to use, and how sure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import duration, interval, number
from .candidates import Measured, Ranked
from .choice import Choice, comparable
from .comparison import FEWEST_TESTED

if TYPE_CHECKING:
    from .report import CorrelationReport


def _answer(report: CorrelationReport) -> str:
    """Return the comparisons that were asked for, else which budget to use."""
    if report.comparisons:
        return "\n".join(comparison.verdict for comparison in report.comparisons)
    if report.recommended is None:
        return _nothing(report)
    row = _row_of(report, report.recommended.label)
    said = [_use(report, row), _why(report, row, report.recommended)]
    if row.top is not None:
        said.append(_worth(row))
    return " ".join(said)


def _row_of(report: CorrelationReport, label: str) -> Measured:
    return next(row for row in report.rows if row.label == label)


def _named(report: CorrelationReport, label: str) -> str:
    """Return a label with its published name, if it has one."""
    published = report.names.get(label)
    return f"{label} ({published})" if published else label


def _figure(report: CorrelationReport, row: Measured) -> str:
    return (
        f"{report.statistic.capitalize()} {number(row.correlation)} {interval(row.low, row.high)}"
    )


def _use(report: CorrelationReport, row: Measured) -> str:
    cost = "its cost is not known"
    if duration(row.cost_seconds) != "–":
        cost = (
            f"{duration(row.cost_seconds)} per network{f' on {row.device}' if row.device else ''}"
        )
    said = f"Use {_named(report, row.label)}: {cost}, {_figure(report, row)} (chance: 0)"
    if report.recommended and report.recommended.held_out:
        said += f", {number(report.recommended.held_out.correlation)} held out"
    return f"{said}."


def _why(report: CorrelationReport, row: Measured, choice: Choice) -> str:
    """Return what it was chosen from, and what speaks against the choice."""
    parts = [_chosen_from(report, choice)]
    if choice.compared > 1 and row.n_architectures < FEWEST_TESTED:
        parts.append(f"{row.n_architectures} architectures are too few to test it against others")
    elif choice.cheaper is not None:
        other = _row_of(report, choice.cheaper)
        parts.append(
            f"the cheapest that {row.n_architectures:,} architectures do not separate from it is "
            f"{_named(report, other.label)} ({duration(other.cost_seconds)}, "
            f"{number(other.correlation)})"
        )
    if row.setting == report.reference:
        parts.append("it is an earlier epoch of full training itself, and shares its luck")
    if choice.left_out:
        those = "budget rests" if choice.left_out == 1 else "budgets rest"
        parts.append(f"{choice.left_out} {those} on fewer architectures and cannot be compared")
    return f"{'; '.join(parts)}."


def _chosen_from(report: CorrelationReport, choice: Choice) -> str:
    if choice.compared == 1 and len(report.rows) == 1:
        return "There is no other budget to compare it with"
    if choice.limit_of is None:
        return f"It ranks best of {choice.compared} budgets, whose costs are not known"
    dear = "full training" if choice.limit_of == report.reference else "the dearest"
    tenth = f"{duration(choice.limit_seconds)}, a tenth of {dear} ({choice.limit_of})"
    if choice.is_cheap and choice.compared == 1:
        return f"It is the only budget that costs at most {tenth}"
    if choice.is_cheap:
        return f"It ranks best of the {choice.compared} budgets that cost at most {tenth}"
    return (
        f"It ranks best of all {choice.compared} budgets, as none that costs at most {tenth}, "
        "is shown to rank better than chance"
    )


def _worth(row: Measured) -> str:
    """Return what its shortlist is worth against one at random."""
    top = row.top
    assert top is not None
    lost, by_chance = (f"{100 * x:.2f}" for x in (top.regret_at_k, top.regret_at_k_chance))
    random = f"the best of {top.k} random ones {by_chance}"
    if top.regret_at_k >= top.regret_at_k_chance:
        random += ", so here it does no better than chance"
    return (
        f"The best of its first {top.k} is {lost} points of accuracy below the best of all, "
        f"{random}."
    )


def hint(best: Ranked) -> str:
    """Say what may help if even the best budget is not shown to rank."""
    if best.high < 0:
        return "even that ranks the wrong way round, so look whether full training is the right one"
    return "more architectures make intervals narrower"


def _nothing(report: CorrelationReport) -> str:
    rows = comparable(report.rows)
    best = max(rows, key=lambda row: row.correlation)
    lucky = [row for row in rows if row.above_chance]
    reason = "no interval lies above 0 (chance)"
    if lucky:
        best = max(lucky, key=lambda row: row.correlation)
        perfect = " or a perfect order" if any(math.isnan(row.low) for row in lucky) else ""
        reason = (
            f"of {len(rows)} budgets {len(lucky)} {'has' if len(lucky) == 1 else 'have'} an "
            f"interval above 0{perfect}, which can be luck: p-values corrected for their number "
            "(Holm) show nothing"
        )
    return (
        f"Nothing here can be recommended: {reason}. The best is {_named(report, best.label)} with "
        f"{_figure(report, best)} over {best.n_architectures:,} architectures; {hint(best)}."
    )
