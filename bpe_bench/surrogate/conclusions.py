"""What reports, surrogates and predictions answer, in a sentence or two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..budget import NAMED_BUDGETS, Budget
from ..errors import duration, interval, listed, number
from .forecast import CONFIDENCE

if TYPE_CHECKING:
    from .answers import Answers
    from .fitted import FittedSurrogate
    from .metrics import Figure
    from .report import SurrogateReport, SurrogateRow

_NEW = {
    "architecture": "new architectures under known settings",
    "budget": "known architectures under new settings",
    "both": "new architectures under new settings",
}
"""What was held out, where a row is an architecture under a setting."""


def published(label: str, budget: Budget) -> str:
    """Return a label with the published name of its budget, if it has one.

    Examples
    --------
    >>> from bpe_bench.budget import BPE_1
    >>> published("test5", BPE_1), published("BPE-1", BPE_1)
    ('test5 (BPE-1)', 'BPE-1')
    >>> published("longer", BPE_1.replace(epochs=30))
    'longer'
    """
    name = next((name for name, known in NAMED_BUDGETS.items() if known == budget), label)
    return label if name == label else f"{label} ({name})"


def answer_of_report(report: SurrogateReport) -> str:
    """Return how well the best model ranks what it never saw, and what that is worth."""
    best = max(report.rows, key=lambda row: _known(row.skill.value)).model
    rows = [row for row in report.rows if row.model == best]
    # Rows that say nothing about the order are no answer.
    rows = [row for row in rows if math.isfinite(row.skill.value)]
    if not rows:
        return (
            f"How well {best} ranks what it never saw is not known: too few rows were held out, "
            "or all are equal."
        )
    better = any(row.skill.low > 0 for row in report.rows)
    parts = "; ".join(_ranked(report, row) + _worth(row, len(rows) > 1, better) for row in rows)
    said = f"{best} ranks {parts}. A random order has 0."
    if not better:
        said = (
            f"No model is shown to rank better than a random order: {best} ranks {parts}, where a "
            "random order has 0."
        )
    if all(math.isfinite(row.coverage_90.value) for row in rows):
        shares = listed([_coverage(row) for row in rows])
        said += f" Its {CONFIDENCE:.0%} intervals hold for {shares} of what was held out."
    return said


def _coverage(row: SurrogateRow) -> str:
    said = f"{row.coverage_90.value:.0%}"
    without = row.coverage_without_twins.value
    return said if math.isnan(without) else f"{said} ({without:.0%} without a twin)"


def _ranked(report: SurrogateReport, row: SurrogateRow) -> str:
    what = _NEW[row.grouping]
    if report.target == "correlation":
        what = f"settings that it never saw by their {report.statistic.capitalize()} correlation"
    elif not report.encoding:
        what = "settings that it never saw by their cost"
    skill = row.skill
    said = f"{what} with Kendall {_figure(skill)}"
    if row.n_twins:
        others = report.n_architectures - row.n_twins
        said += f" ({_figure(row.without_twins)} for the {others} without an isomorphic twin)"
    return said


def _worth(row: SurrogateRow, short: bool, better: bool) -> str:
    """Say how a row compares with a straight line, where it is better than a random order.

    Parameters
    ----------
    row
        The row.
    short
        Without the interval of the difference, as there are more rows.
    better
        Whether any row is better than a random order; else that is said of all.
    """
    if not row.skill.low > 0:
        return ", not shown to be better than a random order" if better else ""
    line, above = row.straight_line.value, row.above_straight_line
    if math.isnan(line):
        return ""
    worth = "not shown to differ from"
    if above.low > 0 or above.high < 0:
        worth = "better than" if above.low > 0 else "worse than"
    if short:
        return f", {worth} a straight line's {line:.2f}"
    gap, low, high = (_signed(bound) for bound in (above.value, above.low, above.high))
    return f", {worth} a straight line's {line:.2f} ({gap} [{low}, {high}])"


def _signed(value: float) -> str:
    return number(round(value, 2) + 0.0, "{:+.2f}")  # plus 0: minus 0 is a plain 0


def _figure(figure: Figure) -> str:
    return f"{number(figure.value, '{:.2f}')} {interval(figure.low, figure.high)}"


def answer_of_surrogate(fitted: FittedSurrogate) -> str:
    """Return what a surrogate was fitted to, and by how much it misses what it did not see."""
    count = len(fitted.settings)
    settings = f"{count} setting{'s' * (count != 1)}"
    cells = f"{fitted.n_architectures} {fitted.space} architectures"
    residuals = fitted.residuals
    miss = float(np.median(residuals)) if residuals.size else math.nan
    if fitted.target == "correlation":
        what, by = f"the {fitted.statistic.capitalize()} correlations of {settings}", number(miss)
        unseen = "settings"
    else:
        what = f"the costs of {settings}"
        if not fitted.by_setting:
            kind = f"{fitted.split} accuracies" if fitted.target == "accuracy" else "costs"
            what = f"the {kind} of {cells} under {settings}"
        unseen = "settings" if fitted.by_setting else "architectures"
        rate = " of the error rate" if fitted.target == "accuracy" else ""
        by = f"{math.expm1(miss):.1%}{rate}"
    more = " Costs are predicted, too." if len(fitted.models) > 1 else ""
    return (
        f"Fitted {fitted.model} to {what} of {fitted.table or 'a table'}: half of the {unseen} "
        f"that it did not see are missed by at most {by}.{more}"
    )


def answer_of_predictions(answers: Answers) -> str:
    """Return the prediction; of several the best one."""
    target = answers.fitted.target
    name = "cost_seconds" if target == "cost" else target
    rows = [row for row in answers.rows if row.get(name) is not None]
    if not rows:
        return f"No {target} can be predicted here: an accuracy that must be given is missing."
    best = (min if target == "cost" else max)(rows, key=lambda row: float(row[name]))
    settings = {row["label"] for row in rows}
    ranked, of = len(rows), "budgets" if "architecture" not in best else "architectures"
    if len(settings) > 1 and of == "architectures":
        of = f"predictions for architectures under {len(settings)} budgets"
    label = published(best["label"], answers.budget(best))
    which = _which(answers, best, label)
    lead = which
    if ranked > 1:
        first = {"cost": "cheapest", "accuracy": "best"}.get(target, "best")
        lead = f"The {first} of {ranked} {of} is {which}"
    said = f"{lead}: {_value(answers, best, name)}"
    if name == "correlation" and best["correlation_low"] is not None:
        chance = best["correlation_low"] <= 0
        said += ", not shown to be better than a random order" if chance else ""
    if name != "cost_seconds" and best.get("cost_seconds") is not None:
        said += f"; cost {_value(answers, best, 'cost_seconds')}"
    return f"{said}."


def _which(answers: Answers, row: dict[str, Any], label: str) -> str:
    if "architecture" not in row:
        return label
    texts = list(dict.fromkeys(r["architecture"] for r in answers.rows))
    return f"architecture {1 + texts.index(row['architecture'])} under {label}"


def _value(answers: Answers, row: dict[str, Any], name: str) -> str:
    """Return a prediction with its interval."""
    value, low, high = (figure_text(name, row[name + end]) for end in ("", "_low", "_high"))
    of = {
        "correlation": f"{answers.fitted.statistic.capitalize()} correlation ",
        "accuracy": "",
    }.get(name, "")
    kind = f"{answers.fitted.split} accuracy " if name == "accuracy" else of
    if row[f"{name}_low"] is None:
        recorded = name == "cost_seconds" and "cost" not in answers.fitted.models
        return f"{kind}{value}, {'as recorded' if recorded else 'without an interval'}"
    return f"{kind}{value} ({answers.confidence:.0%} interval {low} to {high})"


def figure_text(name: str, value: float | None) -> str:
    """Return a predicted cost, accuracy or correlation as text, or a dash where there is none."""
    if value is None:
        return "–"
    if name == "cost_seconds":
        return duration(value)
    return f"{100 * value:.2f} %" if name == "accuracy" else f"{value:.3f}"


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value
