"""How ``bpe-bench mip`` shows a pruning and the search that followed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._output import (
    duration,
    grid,
    interval,
    number,
    titled,
    training_notes,
    usual_trainings,
    whole,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.correlation.candidates import Ranked
    from bpe_bench.pruning import PruningReport, Recommendation, Round
    from bpe_bench.search import SearchReport


_UNNAMED = ("predicted", "trained")
"""What stands for a label where no table has one."""
_MOST_ROUNDS = 5
"""So many rounds fit beside one another; the last ones are shown."""


def pruning_tables(report: PruningReport, found: SearchReport | None) -> list[RenderableType]:
    """Return the answer, what a search found, the rounds, the budgets and the choices."""
    source = "" if report.objective == "replay" else f"{report.objective}, "
    title = titled(
        f"{report.table}",
        f": minimum importance pruning by {report.importance_estimator}, {source}"
        f"{report.evidence} evidence worth {_hours(report.cost_hours)}",
    )
    order = " → ".join("+".join(r.pruned) for r in report.rounds if r.pruned)
    parts = [whole_answer(report, found), *_search_lines(report, found), "", title, _rounds(report)]
    if any(not i.eligible for r in report.rounds for i in r.importances.values()):
        parts.append("*: hardly varies, so it is not eligible for pruning")
    if order:
        parts += [titled("pruned: ", order), titled("ended:  ", report.stop_reason)]
    parts += [titled("kept:   ", ", ".join(report.kept) or "nothing"), ""]
    if report.recommended:
        parts += _recommended(report)
    if report.not_shown_to_rank:
        parts += _not_shown(report)
    return [
        *parts,
        titled("choices: ", chosen_text({**report.choices, "resamples": report.resamples})),
    ]


def chosen_text(choices: Mapping[str, Any]) -> str:
    """Return what figures rest on; a limit that there is not is left out."""
    known = {name: value for name, value in choices.items() if value is not None}
    return "; ".join(f"{name.replace('_', ' ')} {_choice(v)}" for name, v in known.items())


def _choice(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={','.join(map(str, values))}" for name, values in value.items())
    return str(value)


def whole_answer(report: PruningReport, found: SearchReport | None) -> str:
    """Return the answer of a pruning, and that of the search that followed it."""
    best = report.best()
    if found is None or best is None:
        return report.answer
    return f"{report.answer}\nWith {report.name_of(best.row)} {found.answer}"


def _search_lines(report: PruningReport, found: SearchReport | None) -> list[RenderableType]:
    """Return what a search with the recommended budget found, and both costs."""
    if found is None:
        return []
    return [
        f"found: {found.best}",
        f"cost: the pruning rests on {_hours(report.cost_hours)}, the search took "
        f"{_hours(found.simulated_seconds / 3600)}",
    ]


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{duration(3600 * hours)} of device time"
    return f"{hours:,.0f} device hours" if hours >= 10 else f"{hours:.1f} device hours"


def _rounds(report: PruningReport) -> RenderableType:
    """Return a line per hyper-parameter and a column per round; why, if there was no round."""
    if not report.rounds:
        return f"no importances: {report.stop_reason}"
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


def _recommended(report: PruningReport) -> list[RenderableType]:
    """Return the recommended budgets, and what the columns mean."""
    from bpe_bench.pruning.answers import brief

    differ, usual = usual_trainings([item.row.budget for item in report.recommended])
    rows, texts = [], list[str]()
    for item, training in zip(report.recommended, differ, strict=True):
        label = _label(report, item.row)
        if label in _UNNAMED:
            label = f"{label} {len(texts) + 1}"
            texts.append(f"{label}: --budget {brief(item.row.budget)}")
        cells = {"recommended": label, **_figures(report, item.row)}
        cells["held out"] = _held_out(item)
        cells["cost"] = duration(item.row.cost_seconds)
        cells["device"] = item.row.device or "–"
        if report.allowances:
            cells["best within"] = ", ".join(f"{hours:g} h" for hours in item.best_under_hours)
        if report.pruning_order:
            cells["pruned space"] = "inside" if item.in_remaining_space else "outside"
        rows.append({**cells, "training": training})
    parts: list[RenderableType] = [
        grid(rows, left=["recommended", "device", "best within", "pruned space", "training"]),
        "held out: chosen among budgets of at most this cost on half of the architectures, ranked "
        "on the other half",
        *training_notes(differ, usual),
        *map(whole, texts),
    ]
    if any(not item.measured for item in report.recommended):
        parts.append("predicted budgets were never trained")
    return parts


def _not_shown(report: PruningReport) -> list[RenderableType]:
    """Return the budgets whose interval does not lie above 0."""
    from bpe_bench.pruning.answers import brief

    rows = [
        {
            "not shown to rank": _label(report, row),
            **_figures(report, row),
            "cost": duration(row.cost_seconds),
            "training": brief(row.budget),
        }
        for row in report.not_shown_to_rank
    ]
    return [grid(rows, left=["not shown to rank", "training"])]


def _figures(report: PruningReport, row: Ranked) -> dict[str, str]:
    return {
        report.statistic.capitalize(): number(row.correlation),
        f"{report.confidence:.0%} interval": interval(row.low, row.high),
    }


def _held_out(item: Recommendation) -> str:
    return "–" if item.held_out is None else number(item.held_out.correlation)


def _label(report: PruningReport, row: Ranked) -> str:
    """Return a setting's name, or what it is if no table has a label for it."""
    from bpe_bench.correlation.candidates import Predicted

    if isinstance(row, Predicted):
        return "predicted"
    return "trained" if report.objective == "train" else report.name_of(row)
