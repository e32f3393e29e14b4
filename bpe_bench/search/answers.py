"""What searches found and what it is worth, in a sentence or two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import duration, listed

if TYPE_CHECKING:
    from .comparison import SearcherComparison
    from .summary import SearchReport


def answer_of(report: SearchReport) -> str:
    """Return what one searcher found, and what that is worth against chance."""
    if math.isnan(report.final_mean):
        return _nothing(report)
    return f"{_found(report)}. {_worth(report)}"


def answer_of_several(
    reports: Sequence[SearchReport], comparisons: Sequence[SearcherComparison]
) -> str:
    """Return which searcher found the best, and from which others the test separates it."""
    able = [report for report in reports if not math.isnan(report.final_mean)]
    if not able:
        return _nothing(*reports)
    best = max(able, key=lambda report: report.final_mean)
    own = [c for c in comparisons if best.searcher in (c.first, c.second)]
    said = [_compared(own, best.searcher)] if own else []
    if best.searcher != "random" and not any("random" in (c.first, c.second) for c in own):
        said.append(_worth(best))
    return " ".join([f"The best of {len(reports)} searchers: {_found(best)}.", *said])


def _nothing(report: SearchReport, *others: SearchReport) -> str:
    names = ", ".join(r.searcher for r in (report, *others))
    if not all(math.isnan(r.evaluated_mean) for r in (report, *others)):
        return f"What {names} found cannot be judged: its final accuracy is not known."
    return (
        f"{names} found nothing in {_searches(report.repeats)}: no evaluation ended "
        "well, or the allowance was too small for one."
    )


def _found(report: SearchReport) -> str:
    kind = "predicted" if report.is_predicted else report.report_split
    mean = report.repeats > 1
    text = f"{report.searcher} found {_percent(report.final_mean)} {kind} accuracy"
    text += " on average" * mean
    details = []
    if not math.isnan(report.final_low):
        low, high = 100 * report.final_low, 100 * report.final_high
        details.append(f"{report.confidence:.0%} interval {low:.2f} to {high:.2f}")
    if report.report_split == "validation" and not math.isnan(report.test_mean):
        details.append(f"test {_percent(report.test_mean)}")
    if details:
        text += f" ({', '.join(details)})"
    count = f"{report.evaluations_mean:.0f} evaluation"
    unknown = int(np.isnan(report.final).sum())
    without = f" ({unknown:,} without a known result)" if unknown else ""
    text += (
        f" in {_searches(report.repeats)}{without} of {count}{'s' * (not count.startswith('1 '))}"
    )
    if not math.isnan(report.simulated_seconds):
        text += f" and {duration(report.simulated_seconds)}" + " each" * mean
    if not math.isnan(report.regret_mean):
        text += f", {100 * report.regret_mean:.2f} points below the best of {_all(report)}"
    return text


def _worth(report: SearchReport) -> str:
    """Say what one searcher's result is worth against chance, or why that is not known."""
    chance = report.chance
    if chance is None or math.isnan(chance.architecture):
        if report.is_predicted:
            return "Nothing was trained, so neither its regret nor a chance level is known."
        if math.isnan(report.evaluated_mean):
            return "What chance finds is not known."
        return (
            f"All that it evaluated had {_percent(report.evaluated_mean)} on average; what the "
            "rest of the space has is not known."
        )
    single = _percent(chance.architecture)
    if report.searcher == "random" or math.isnan(chance.random_search) or chance.evaluations < 2:
        return f"A single random architecture has {single} on average."
    ahead = 100 * (report.final_mean - chance.random_search)
    draws = f"as many random draws find {_percent(chance.random_search)} (a single one {single})"
    if math.isnan(report.final_low):
        known = int(np.isfinite(report.final).sum())
        if known > 1:
            return (
                f"All {known:,} found equally good ones, so it has no interval; {draws} on average."
            )
        return f"One search does not tell it from random search: {draws} on average."
    if report.final_low <= chance.random_search <= report.final_high:
        return f"These searches do not separate it from random search: {draws} on average."
    if ahead > 0:
        return f"It beats random search by {ahead:.2f} points: {draws} on average."
    return f"Random search is better by {-ahead:.2f} points: {draws} on average."


def _compared(comparisons: Sequence[SearcherComparison], best: str) -> str:
    """Say from which other searchers the best one is separated."""
    better: list[str] = []
    same: list[str] = []
    unknown: list[str] = []
    few = False
    for one in comparisons:
        other = one.second if one.first == best else one.first
        if one.separated:
            size, p = 100 * abs(one.difference), one.p_adjusted
            better.append(f"{other} by {size:.2f} points (p = {p:.2g})")
        elif math.isnan(one.difference):
            unknown.append(other)
        else:
            same.append(other)
            few = few or one.too_few or math.isnan(one.p_adjusted)
    parts = [f"It is better than {listed(better)}"] * bool(better)
    if same:
        parts.append(f"these {'few ' * few}repeats do not separate it from {listed(same)}")
    if unknown:
        parts.append(f"how good the finds of {listed(unknown)} are is not known")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _all(report: SearchReport) -> str:
    known = report.known_architectures
    if known is None or known >= report.space_size:
        return "the space"
    return f"the {known:,} architectures that the table holds"


def _searches(repeats: int) -> str:
    return "one search" if repeats == 1 else f"{repeats:,} searches"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
