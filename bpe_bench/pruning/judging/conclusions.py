"""Conclusions in sentences that are computed from the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import interval
from .methods import _SIMPLE

if TYPE_CHECKING:
    from .report import JudgingReport, MethodResult

_CALLED = {
    "random": "random sampling",
    "cheapest-first": "cheapest-first",
    "covering": "the covering design without pruning",
    "halving": "successive halving",
    "tpe": "TPE",
}


def _conclude(report: JudgingReport) -> tuple[str, ...]:
    """Return the conclusions, each sentence with its figures."""
    pruning, simple = _kinds(report)
    said = [_better(report, pruning, simple)]
    said += [_against(report, pruning, one) for one in simple if pruning]
    if len(pruning) > 1:
        said.append(_estimators(report, pruning))
    return (*said, *_at_allowances(report), _optimism(report))


def _answer(report: JudgingReport) -> str:
    """Return whether pruning finds better budgets, and what it is worth against chance."""
    pruning, simple = _kinds(report)
    said = [_better(report, pruning, simple)]
    best = (pruning or list(report.methods))[0]
    chance = [m for m in simple if m.name == "random"]
    if chance and best.name != "random":
        said.append(
            f"Against a random order ({_figure(chance[0])}) {best.name} has {_figure(best)}: "
            f"{_test(report, best, chance[0])}."
        )
    return "\n".join(said)


def _kinds(report: JudgingReport) -> tuple[list[MethodResult], list[MethodResult]]:
    """Return pruning by each estimator, and the simpler ways."""
    pruning = [m for m in report.methods if m.name.startswith("mip-")]
    return pruning, [m for m in report.methods if m.name in _SIMPLE]


def _level(report: JudgingReport) -> float:
    return 1 - report.confidence


def _apart(report: JudgingReport, first: MethodResult, second: MethodResult) -> bool:
    """Return whether the corrected test separates two methods."""
    return report.compare(first.name, second.name).p_adjusted < _level(report)


def _better(report: JudgingReport, pruning: list[MethodResult], simple: list[MethodResult]) -> str:
    """Say whether pruning finds better budgets at equal hours."""
    best = report.methods[0]
    if not pruning or not simple:
        follows = report.methods[1]
        does = "separates them" if _apart(report, best, follows) else "does not separate them"
        return (
            f"{best.name} comes closest to the best budget: its regret is {_figure(best)} "
            f"{interval(best.regret.low, best.regret.high)}, followed by {follows.name}, "
            f"{_figure(follows)}; the test {does}."
        )
    own, rival = pruning[0], simple[0]
    apart = _apart(report, own, rival)
    figures = f"{_figure(own)} against {_figure(rival)}, {_test(report, own, rival)}"
    if own.regret.mean < rival.regret.mean:
        answer = "Yes" if apart else "Not shown"
        end = "" if apart else ", but the test does not separate them"
        return (
            f"{answer}: at equal device hours minimum importance pruning ({own.name}) has a lower "
            f"mean regret than the best of the simpler ways, {_CALLED[rival.name]}: {figures}{end}."
        )
    end = "and the test separates them" if apart else "though the test does not separate them"
    return (
        f"No: at equal device hours {_CALLED[rival.name]} has a lower mean regret than the best "
        f"minimum importance pruning ({own.name}): "
        f"{_figure(rival)} against {_figure(own)}, {_test(report, own, rival)}, {end}."
    )


def _against(report: JudgingReport, pruning: list[MethodResult], rival: MethodResult) -> str:
    """Compare pruning by each estimator with one of the simpler methods."""
    lower = [m for m in pruning if m.regret.mean < rival.regret.mean]
    higher = [m for m in pruning if m not in lower]
    parts = []
    for group, what in ((lower, "lower"), (higher, "higher")):
        if group:
            apart = sum(_apart(report, m, rival) for m in group)
            parts.append(
                f"a {what} mean regret with {len(group)} of {len(pruning)} importance estimators, "
                f"{apart} of them separated by the test"
            )
    best = pruning[0]
    return (
        f"Against {_CALLED[rival.name]} ({_figure(rival)}) pruning has {' and '.join(parts)}; "
        f"{best.name}, the best: {_figure(best)}, {_test(report, best, rival)}."
    )


def _estimators(report: JudgingReport, pruning: list[MethodResult]) -> str:
    """Say which importance estimator did best, and whether the test separates it."""
    best, worst = pruning[0], pruning[-1]
    apart = [m for m in pruning[1:] if _apart(report, best, m)]
    said = (
        f"Of the importance estimators {best.name.removeprefix('mip-')} does best "
        f"({_figure(best)}) and {worst.name.removeprefix('mip-')} worst ({_figure(worst)}); "
    )
    if not apart:
        return said + (
            "the test does not separate the best from any other, so there is no reason to "
            "prefer one."
        )
    names = ", ".join(m.name.removeprefix("mip-") for m in apart)
    return said + f"the test separates the best from {len(apart)} of {len(pruning) - 1}: {names}."


def _at_allowances(report: JudgingReport) -> list[str]:
    """Say which method leads at each allowance, and the place of pruning."""
    parts = []
    for hours in report.methods[0].regret_at:
        ordered = sorted(report.methods, key=lambda m: m.regret_at[hours])
        said = f"{ordered[0].name} ({ordered[0].regret_at[hours]:.3f}"
        own = [m for m in ordered if m.name.startswith("mip-")]
        if own and own[0] is not ordered[0]:
            said += f"; best of pruning {own[0].name}, {own[0].regret_at[hours]:.3f}"
        parts.append(f"at {hours:g} h {said})")
    return [f"Lowest regret at single allowances: {', '.join(parts)}."] if parts else []


def _optimism(report: JudgingReport) -> str:
    """Say how optimistic the correlation is that a setting was chosen by."""
    ordered = sorted(report.methods, key=lambda m: m.optimism)
    least, most = ordered[0], ordered[-1]
    return (
        "The correlation by which a setting was chosen is higher than its correlation on the other "
        f"half by {least.optimism:+.3f} ({least.name}) to {most.optimism:+.3f} ({most.name}), mean "
        f"over the hours; at the end by {_optimism_at_end(report, least):+.3f} and "
        f"{_optimism_at_end(report, most):+.3f}."
    )


def _optimism_at_end(report: JudgingReport, method: MethodResult) -> float:
    return float(method.curve.seen[-1] - method.curve.held_out[-1])


def _figure(method: MethodResult) -> str:
    return f"{method.regret.mean:.3f}"


def _test(report: JudgingReport, first: MethodResult, second: MethodResult) -> str:
    found = report.compare(first.name, second.name)
    return (
        f"difference {found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], "
        f"p = {found.p_adjusted:.2g}"
    )
