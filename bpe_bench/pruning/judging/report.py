"""Results of judging the methods: frozen, with `to_json` and `to_frame`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...files import Shown, to_json_value
from ...inference import FloatArray
from .conclusions import _answer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Interval:
    """A mean over the repeats with its interval (`resampled_mean`)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class _BestOverHours:
    """Correlation of the setting that a method had found, by hours spent: shape (G,) each."""

    seen: FloatArray
    """Correlation on the choosing half, mean over the repeats; 0 before a setting was found."""
    held_out: FloatArray
    """Correlation on the other half, mean over the repeats."""
    low: FloatArray
    high: FloatArray
    """Quartiles of ``held_out``: half of the repeats lie between them. They show how much one
    run varies, not how well the mean is known."""


@dataclass(frozen=True)
class MethodResult:
    """Results of one method."""

    name: str
    summary: str
    regret: Interval
    """Correlation below that of the pool's best setting on the scoring half: mean over the
    repeats and over the logarithm of the hours."""
    regret_at: Mapping[float, float]
    """Regret at single allowances, by hours."""
    held_out: float
    """Correlation on the scoring half at the end of the hours, mean over the repeats."""
    optimism: float
    """Choosing minus held-out correlation, mean over repeats and over hours with a setting
    found."""
    p_against_best: float
    """p-value of the hypothesis that it is as good as the method with the lowest regret,
    Holm-corrected over all pairs; NaN for that method itself."""
    curve: _BestOverHours

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        values = to_json_value(vars(self))
        curve = {name: _short(points) for name, points in vars(self.curve).items()}
        regret_at = {f"{hours:g}": value for hours, value in values["regret_at"].items()}
        return {**values, "regret_at": regret_at, "curve": curve}


@dataclass(frozen=True)
class _MethodComparison:
    """Two methods compared over the same halves."""

    first: str
    second: str
    difference: float
    """Mean regret of the first minus that of the second; negative if the first is better."""
    low: float
    high: float
    p_value: float
    """Corrected resampled test of the hypothesis that both have the same mean regret."""
    p_adjusted: float
    """After Holm's correction over all pairs."""


@dataclass(frozen=True, repr=False)
class JudgingReport(Shown):
    """Methods of finding a budget, judged at equal device hours."""

    table: str
    space: str
    dataset: str
    statistic: str
    confidence: float
    settings: int
    architectures: int
    choosing: int
    """Number of architectures of the choosing half."""
    repeats: int
    seed: int
    best: str
    """The setting with the best correlation over all architectures; regret is measured from it."""
    best_correlation: float
    """Its correlation on the scoring halves, mean over the repeats."""
    hours: FloatArray
    """Device hours at which the curves are known, shape (G,), evenly in the logarithm."""
    methods: tuple[MethodResult, ...]
    """Results by mean regret, the best first."""
    comparisons: tuple[_MethodComparison, ...]
    """All pairs, in the order of the methods."""
    conclusion: tuple[str, ...] = ()
    """Conclusions from the figures, one sentence each."""
    warnings: tuple[str, ...] = ()
    rules: Mapping[str, int] = field(default_factory=dict)
    """Rules of minimum importance pruning: keep, initial, per_round, resamples."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What the correlations rest on, given or by default: split, reference, allowances."""

    @property
    def answer(self) -> str:
        """Whether pruning finds better budgets than simpler ways, and than a random order."""
        return _answer(self)

    def method(self, name: str) -> MethodResult:
        """Return the result of a method by name."""
        return next(m for m in self.methods if m.name == name)

    def compare(self, first: str, second: str) -> _MethodComparison:
        """Return the comparison of two methods, seen from the first."""
        for c in self.comparisons:
            if (c.first, c.second) == (first, second):
                return c
            if (c.second, c.first) == (first, second):
                return dataclasses.replace(
                    c, first=first, second=second, difference=-c.difference, low=-c.high,
                    high=-c.low,
                )  # fmt: skip
        raise KeyError((first, second))

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "answer": self.answer,
            **to_json_value(vars(self)),
            "hours": _short(self.hours),
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one line per method, by rank."""
        import pandas as pd

        rows = []
        for rank, m in enumerate(self.methods, 1):
            row: dict[str, Any] = {"method": m.name, "rank": rank, "regret": m.regret.mean}
            row |= {"regret_low": m.regret.low, "regret_high": m.regret.high}
            row |= {f"regret_at_{hours:g}h": v for hours, v in m.regret_at.items()}
            row |= {"held_out": m.held_out, "optimism": m.optimism}
            rows.append({**row, "p_against_best": m.p_against_best})
        return pd.DataFrame(rows).set_index("method")


def _short(values: FloatArray) -> list[float | None]:
    """Return numbers for JSON, with six digits that count: more would be noise in a kept file."""
    return [to_json_value(float(f"{value:.6g}")) for value in values]
