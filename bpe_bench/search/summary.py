"""Summaries of repeated searches: quality, spread, time, and speed-up."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SelectionError
from ..estimators.base import Estimator, Outcome
from ..files import Shown, to_json_object
from ..inference import check_confidence
from ..randomness import settled
from ..spaces import Architecture, get_space
from ..tables.curves import FloatArray
from .answers import answer_of
from .chance import Chance, chance_of
from .speedup import Speedup, speedup_of
from .trace import SearchTrace

if TYPE_CHECKING:
    import pandas as pd

_NEAR = 0.005
"""Default target: so far below the optimum counts as reaching it."""
_GRID = 200


@dataclass(frozen=True)
class BestSoFar:
    """Final accuracy of the best so far, over G moments of the simulated clock."""

    seconds: FloatArray
    """From the beginning to the end of the longest search, shape (G,)."""
    median: FloatArray
    """Median over the repeats, shape (G,): of an even number the mean of the two in the middle. NaN
    where that takes a repeat that has found nothing yet."""
    low: FloatArray
    """First quartile likewise, interpolated linearly between two repeats."""
    high: FloatArray
    """Third quartile likewise."""


@dataclass(frozen=True, repr=False)
class SearchReport(Shown):
    """Summary of repeated searches by one searcher. Accuracies are fractions in [0, 1]."""

    _columns = (
        "validation_mean", "validation_std", "test_mean", "test_std", "regret_mean",
        "evaluations_mean", "simulated_seconds", "repeats",
    )  # fmt: skip

    searcher: str
    parameters: dict[str, Any]
    space: str
    table: str
    dataset: str
    """Data set of the signal."""
    report_dataset: str
    """Data set of the final figures."""
    split: str
    """Split of the signal."""
    report_split: str
    """Split of the final accuracies that regret, target and comparisons are about: validation,
    or test where only test accuracies of full training are known."""
    estimator: str
    budget: dict[str, Any] | None
    repeats: int
    evaluations_mean: float
    simulated_seconds: float
    """Mean over the repeats."""
    validation_mean: float
    validation_std: float
    """Standard deviation over the repeats, with n - 1; NaN for one repeat."""
    test_mean: float
    test_std: float
    final_low: float
    """Interval of the mean final accuracy on the ``report_split`` (Student's t); NaN for one
    repeat, and where all repeats found the same."""
    final_high: float
    confidence: float
    """Nominal coverage of that interval."""
    regret_mean: float
    """Best accuracy that a search can find minus the one found; NaN if unknown."""
    optimum: Outcome | None
    target: float
    """The target, an accuracy; NaN without a target."""
    seconds_to_target: float
    """Median simulated seconds to the target; infinite if half of the searches did not reach it."""
    target_reached: float
    """Share of the searches that reached the target."""
    speedup: Speedup
    failed_evaluations: int
    """Trainings that diverged or failed, or that a table lacks, over all repeats."""
    known_architectures: int | None
    """Number of architectures whose signal the table has; None without a table."""
    space_size: int
    """Number of architectures of the whole space."""
    missing: str | None
    """Whether those that the table lacks are ``never`` proposed or count as ``failed``; None
    without a table."""
    evaluated_mean: float
    """Mean signal of all evaluations that ended well, over all repeats."""
    chance: Chance | None
    """What chance finds; None if that is not known."""
    best: str
    """The architecture found, as text: the one with the best final accuracy of the repeats."""
    warnings: tuple[str, ...]
    validation: FloatArray = dataclasses.field(repr=False, compare=False)
    """Of each repeat, shape (R,)."""
    test: FloatArray = dataclasses.field(repr=False, compare=False)
    """Of each repeat, shape (R,)."""
    curve: BestSoFar = dataclasses.field(repr=False, compare=False)
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What `run_plan` searched with, and under ``by_default`` what of it was not asked for."""

    @property
    def answer(self) -> str:
        """What was found and what it is worth against chance, in a sentence or two."""
        return answer_of(self)

    @property
    def final_mean(self) -> float:
        """Mean final accuracy on the ``report_split``; NaN if none is known."""
        return _mean_of_known(self.final)

    @property
    def is_predicted(self) -> bool:
        """Whether the final figures are predictions of a surrogate."""
        return self.estimator == "surrogate" and self.optimum is None

    @property
    def final(self) -> FloatArray:
        """Final accuracies on the ``report_split`` of each repeat, shape (R,)."""
        return self.test if self.report_split == "test" else self.validation

    def to_frame(self) -> pd.DataFrame:
        """Return one line."""
        return _to_frame([self])

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values; unknown numbers are null."""
        left_out = ("validation", "test", "curve")
        shown = {name: value for name, value in vars(self).items() if name not in left_out}
        return {"answer": self.answer, **to_json_object(shown)}


def summarise(
    traces: Sequence[SearchTrace],
    estimator: Estimator,
    *,
    table: str = "",
    target: float | None = None,
    confidence: float = 0.95,
) -> SearchReport:
    """Summarise repeats of one searcher.

    Parameters
    ----------
    traces
        Finished searches with their outcomes (`repeat_search`).
    estimator
        Their estimator, which has the final figures of intermediate bests, and the optimum.
    table
        The table's name, for the report.
    target
        An accuracy in (0, 1]; by default half a point below the optimum, if that is known.
    confidence
        Nominal coverage of the interval of the mean.

    Raises
    ------
    SelectionError
        If there are no traces, traces of several searchers, or the target is not a fraction.
    """
    if len({trace.searcher for trace in traces}) != 1:
        raise SelectionError(
            "a report summarises traces of one searcher, found no searcher or several"
        )
    if target is not None and not 0 < target <= 1:
        raise SelectionError(
            f"the target is an accuracy in (0, 1], found {target:g}; 93 % is written 0.93"
        )
    optimum = estimator.optimum()
    split = _report_split(optimum)
    best = math.nan if optimum is None else _of(optimum, split)
    if target is None:
        target = best - _NEAR
    known: dict[Architecture, float] = {}
    steps = [_final_steps(trace, estimator, split, known) for trace in traces]
    reached = np.array([_first_at(times, values, target) for times, values in steps])
    outcomes = [trace.outcome or Outcome(math.nan, math.nan) for trace in traces]
    validation = np.array([outcome.validation for outcome in outcomes])
    test = np.array([outcome.test for outcome in outcomes])
    final = test if split == "test" else validation
    seconds = float(np.mean([trace.seconds for trace in traces]))
    evaluations = float(np.mean([trace.evaluations for trace in traces]))
    low, high = _mean_interval(final[np.isfinite(final)], confidence)
    signals = np.array([step.accuracy for trace in traces for step in trace.steps])
    first = traces[0]
    return SearchReport(
        searcher=first.searcher,
        parameters=dict(first.parameters),
        space=first.space,
        table=table,
        **_facts(estimator),
        report_split=split,
        repeats=len(traces),
        evaluations_mean=evaluations,
        simulated_seconds=seconds,
        validation_mean=_mean_of_known(validation),
        validation_std=_deviation(validation),
        test_mean=_mean_of_known(test),
        test_std=_deviation(test),
        final_low=low,
        final_high=high,
        confidence=confidence,
        regret_mean=best - _mean_of_known(final),
        optimum=optimum,
        target=target,
        seconds_to_target=math.nan if math.isnan(target) else float(np.median(reached)),
        # Reached at an unknown time is reached.
        target_reached=math.nan if math.isnan(target) else float((reached != math.inf).mean()),
        speedup=speedup_of(first, evaluations, seconds, estimator),
        failed_evaluations=sum(s.state != "done" for trace in traces for s in trace.steps),
        evaluated_mean=_mean_of_known(signals),
        chance=chance_of(estimator, evaluations),
        best=_best(traces, final),
        warnings=(*_warnings(traces, final, estimator), *getattr(estimator, "notes", ())),
        validation=validation,
        test=test,
        curve=_curve(steps, [trace.seconds for trace in traces]),
    )


def _to_frame(reports: Sequence[SearchReport]) -> pd.DataFrame:
    """Return a line per searcher, indexed by its name."""
    import pandas as pd

    rows = []
    for report in reports:
        values: dict[str, Any] = {}
        for name, value in report.to_json().items():
            parts = value if isinstance(value, dict) else {"": value}
            for key, part in parts.items():
                values[f"{name}_{key}" if key else name] = part
        rows.append(values)
    return pd.DataFrame(rows).set_index("searcher")


def _facts(estimator: Estimator) -> dict[str, Any]:
    """Return what a report says of the estimator."""
    return {
        "dataset": estimator.dataset,
        "report_dataset": estimator.report_dataset,
        "split": str(getattr(estimator, "split", "validation")),
        "estimator": estimator.source,
        "budget": None if estimator.budget is None else estimator.budget.to_dict(),
        "known_architectures": getattr(estimator, "known", None),
        "space_size": get_space(estimator.space).size,
        "missing": getattr(estimator, "missing", None),
    }


def _report_split(optimum: Outcome | None) -> str:
    """Return test if no final accuracy on validation images is known, but some on test images."""
    if optimum is None or math.isfinite(optimum.validation) or math.isnan(optimum.test):
        return "validation"
    return "test"


def _of(outcome: Outcome, split: str) -> float:
    return outcome.test if split == "test" else outcome.validation


def _final_steps(
    trace: SearchTrace, estimator: Estimator, split: str, known: dict[Architecture, float]
) -> tuple[list[float], list[float]]:
    """Return the times of new bests of a search, and their final accuracies."""
    times, values = [], []
    for step in trace.incumbents():
        if step.architecture not in known:
            known[step.architecture] = _of(estimator.outcome(step.architecture), split)
        times.append(step.clock)
        values.append(known[step.architecture])
    return times, values


def _first_at(times: Sequence[float], values: Sequence[float], target: float) -> float:
    return next((t for t, value in zip(times, values, strict=True) if value >= target), math.inf)


def _curve(steps: Sequence[tuple[list[float], list[float]]], ends: Sequence[float]) -> BestSoFar:
    """Return the quartiles of the best so far, until the last search has ended.

    Parameters
    ----------
    steps
        Of each search the times of new bests, and their final validation accuracies.
    ends
        The seconds that each search took.
    """
    found = any(times for times, _ in steps)
    last = max(ends) if found and all(map(math.isfinite, ends)) else math.nan
    moments = np.linspace(0.0, last, _GRID) if math.isfinite(last) else np.zeros(0)
    table = np.full((len(steps), len(moments)), -math.inf)
    for row, (times, values) in zip(table, steps, strict=True):
        places = np.searchsorted(times, moments, side="right") - 1
        known = np.where(np.isnan(values), -math.inf, values)  # final figures may be missing
        row[places >= 0] = known[places[places >= 0]]
    # Those that have nothing yet count as worst, not as absent, or the curve could fall.
    with np.errstate(invalid="ignore"):  # between two repeats without anything there is nothing
        quartiles = np.quantile(table, (0.25, 0.5, 0.75), axis=0)
    low, median, high = np.where(np.isfinite(quartiles), quartiles, np.nan)
    return BestSoFar(moments, median, low, high)


def _warnings(traces: Sequence[SearchTrace], final: FloatArray, estimator: Estimator) -> list[str]:
    found, source = [], estimator.source
    nothing = sum(trace.found is None for trace in traces)
    if nothing:
        found.append(
            f"{nothing} of {len(traces)} searches found nothing: no evaluation ended well, or "
            "the allowance was too small for one"
        )
    unknown = int(np.isnan(final).sum()) - nothing
    if unknown:
        found.append(
            f"{unknown} of {len(traces)} searches found an architecture whose final accuracy is "
            "not known; means leave them out"
        )
    known, most = getattr(estimator, "known", 0), max(trace.evaluations for trace in traces)
    if getattr(estimator, "missing", None) == "never" and most > known:
        found.append(
            f"searches made up to {most:,} evaluations of the {known:,} architectures that the "
            "table holds: some were evaluated, and paid for, again"
        )
    if any(trace.parameters.get("score") == "full" for trace in traces):
        found.append(
            "cells with all edges were scored, and the reported cell is pruned to two inputs per "
            "node: it is not the cell that was "
            "scored"
        )
    diverged = sum(bool(trace.parameters.get("diverged")) for trace in traces)
    if diverged:
        found.append(
            f"the supernets of {diverged} of {len(traces)} searches diverged: what they found was "
            "derived before"
        )
    darts = [trace for trace in traces if trace.searcher == "darts"]
    if source != "training" and any(trace.parameters.get("images") is None for trace in darts):
        found.append(
            "the supernet was trained on the digits that come with scikit-learn, and what it "
            f"derived was evaluated by a {source} of other images; name the images with --data"
        )
    if source == "table" and darts:
        found.append(
            "the clock adds the seconds that the supernet took on this machine to the table's "
            "seconds, which were measured on another device"
        )
    return found


def _best(traces: Sequence[SearchTrace], final: FloatArray) -> str:
    if not np.isfinite(final).any():
        return ""
    trace = traces[int(np.nanargmax(final))]
    assert trace.found is not None
    return get_space(trace.space).format(trace.found)


def _mean_of_known(values: FloatArray) -> float:
    """Return the mean of the values that are not missing; NaN if all are."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _mean_interval(values: FloatArray, confidence: float) -> tuple[float, float]:
    """Return Student's t interval of a mean accuracy; NaN without two different values."""
    from scipy import stats

    check_confidence(confidence)
    if len(values) < 2 or values.min() == values.max():
        return math.nan, math.nan
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    mean = float(values.mean())
    return max(settled(mean - half), 0.0), min(settled(mean + half), 1.0)


def _deviation(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else math.nan
