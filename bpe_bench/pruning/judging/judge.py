"""Methods of finding a good budget compared at equal device hours, on held-out architectures."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...errors import SelectionError
from ...inference import FloatArray, check_confidence, holm
from ...randomness import settled
from .conclusions import _conclude
from .methods import Method
from .mip import _MinimumImportancePruning
from .pool import Pool, _IntArray
from .report import Interval, JudgingReport, MethodResult, _BestOverHours, _MethodComparison
from .resampled import _resampled_mean, _ResampledMean
from .runs import _run_all, _Runs

_POINTS = 100
"""Number of points of the curves."""
_MOST_ALLOWANCES = 4


def judge(
    pool: Pool,
    methods: Sequence[Method],
    *,
    repeats: int = 200,
    seed: int = 0,
    hours: float | None = None,
    allowances: Sequence[float] | None = None,
    jobs: int = 1,
    confidence: float = 0.95,
    on_progress: Callable[[float], None] | None = None,
) -> JudgingReport:
    """Compare methods of finding a good setting.

    In every repeat the architectures are divided into two halves. A method sees correlations on
    one half and pays for them; the best setting that it has seen is scored on the other half.
    See ``docs/mip-judged.md``.

    Parameters
    ----------
    pool
        Settings to choose among.
    methods
        At least two, with different names.
    repeats
        R, at least 2.
    seed
        The n-th repeat of a method is the same whatever ``repeats``, ``jobs`` and the other
        methods are.
    hours
        End of the axis of device hours; by default the cost of evaluating the whole pool on
        half of the architectures.
    allowances
        Hours at which regret is reported; by default the last four of 1, 3, 10, 30, ...
    jobs
        Number of processes that share the repeats.
    confidence
        Nominal coverage of the intervals.
    on_progress
        Called from time to time with the share of the work that is done.

    Raises
    ------
    SelectionError
        For fewer than two repeats or methods, no process, or hours that pay for no setting.
    RankingError
        For a confidence that is not between 0 and 1.
    """
    check_confidence(confidence)
    _check(methods, repeats, jobs)
    grid = _grid(pool, hours)
    marks = _marks(grid) if allowances is None else [float(hour) for hour in allowances]
    looked = np.array(sorted({*grid.tolist(), *marks}))
    runs = _run_all(
        pool, methods, looked, repeats=repeats, seed=seed, jobs=jobs, on_progress=on_progress
    )
    on_grid = np.flatnonzero(np.isin(looked, grid))
    places = {mark: int(np.searchsorted(looked, mark)) for mark in marks}
    share = (len(pool.truth) - pool.choosing) / pool.choosing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN
        judged = _Judged(runs, on_grid, places, share, confidence)
        report = _report(pool, methods, judged, grid, repeats, seed)
    return replace(
        report,
        conclusion=_conclude(report),
        warnings=(*_caveats(runs), *pool.notes),
        choices={**pool.choices, "hours": hours},
    )


class _Judged:
    """Runs, with summaries over repeats, runs and the grid of hours."""

    def __init__(
        self,
        runs: _Runs,
        on_grid: _IntArray,
        places: dict[float, int],
        share: float,
        confidence: float,
    ) -> None:
        self.runs, self.places, self.confidence = runs, places, confidence
        self._share, self._grid = share, on_grid
        methods = range(len(runs.held_out))
        self.regret = [runs.regret(m)[:, :, on_grid].mean(axis=(1, 2)) for m in methods]
        """Regret by method, mean over runs and the logarithm of hours, shape (R,)."""

    def mean(self, method: int, other: int | None = None) -> _ResampledMean:
        """Return the mean regret of a method, or how much larger it is than another's."""
        values = self.regret[method]
        if other is not None:
            values = values - self.regret[other]
        return _resampled_mean(values, self._share, self.confidence)

    def regret_at(self, method: int) -> dict[float, float]:
        regret = self.runs.regret(method)
        return {mark: float(np.nanmean(regret[:, :, at])) for mark, at in self.places.items()}

    def optimism(self, method: int) -> float:
        difference = self.runs.seen[method] - self.runs.held_out[method]
        return float(np.nanmean(difference[:, :, self._grid]))

    def curve(self, method: int) -> _BestOverHours:
        seen = self.runs.seen[method][:, :, self._grid]
        held_out = self.runs.held_out[method][:, :, self._grid]
        low, high = np.nanquantile(held_out, [0.25, 0.75], axis=(0, 1))
        middle = np.nanmean(held_out, axis=(0, 1))
        return _BestOverHours(np.nan_to_num(seen).mean(axis=(0, 1)), middle, low, high)

    def end(self, method: int) -> float:
        return float(np.nanmean(self.runs.held_out[method][:, :, -1]))


def _report(
    pool: Pool,
    methods: Sequence[Method],
    judged: _Judged,
    grid: FloatArray,
    repeats: int,
    seed: int,
) -> JudgingReport:
    means = [judged.mean(m) for m in range(len(methods))]
    order = sorted(range(len(methods)), key=lambda m: means[m].mean)
    comparisons = _comparisons(methods, judged, order)
    against = {c.second: c.p_adjusted for c in comparisons if c.first == methods[order[0]].name}
    results = tuple(
        MethodResult(
            name=methods[m].name,
            summary=methods[m].summary,
            regret=Interval(means[m].mean, means[m].low, means[m].high),
            regret_at=judged.regret_at(m),
            held_out=judged.end(m),
            optimism=judged.optimism(m),
            p_against_best=against.get(methods[m].name, math.nan),
            curve=judged.curve(m),
        )
        for m in order
    )
    pruning = [m for m in methods if isinstance(m, _MinimumImportancePruning)]
    names = ("keep", "initial", "per_round", "resamples")
    return JudgingReport(
        table=pool.name,
        space=pool.space,
        dataset=pool.dataset,
        statistic=pool.statistic,
        confidence=judged.confidence,
        settings=len(pool.rows),
        architectures=len(pool.truth),
        choosing=pool.choosing,
        repeats=repeats,
        seed=seed,
        best=pool.rows[pool.best].label,
        best_correlation=float(np.nanmean(judged.runs.best)),
        hours=grid,
        methods=results,
        comparisons=tuple(comparisons),
        rules={name: getattr(pruning[0], name) for name in names} if pruning else {},
    )


def _comparisons(
    methods: Sequence[Method], judged: _Judged, order: Sequence[int]
) -> list[_MethodComparison]:
    pairs = list(itertools.combinations(order, 2))
    found = [judged.mean(*pair) for pair in pairs]
    adjusted = holm([one.p_value for one in found])
    return [
        _MethodComparison(
            methods[i].name, methods[j].name, one.mean, one.low, one.high, one.p_value, p
        )
        for (i, j), one, p in zip(pairs, found, adjusted, strict=True)
    ]


def _check(methods: Sequence[Method], repeats: int, jobs: int) -> None:
    for name, value, least in (("repeats", repeats, 2), ("jobs", jobs, 1)):
        if value < least:
            raise SelectionError(f"{name} must be at least {least}, found {value}")
    names = [method.name for method in methods]
    if len(set(names)) < max(2, len(names)):
        raise SelectionError(
            f"at least 2 methods with different names are compared, found "
            f"{', '.join(names) or 'none'}"
        )


def _grid(pool: Pool, hours: float | None) -> FloatArray:
    """Return hours evenly in the logarithm, from the cheapest setting to the end, shape (G,)."""
    first = float(pool.seconds.min()) * pool.choosing / 3600
    last = pool.hours if hours is None else hours
    if not 0 < last < math.inf:
        raise SelectionError(f"hours must be above 0 and finite, found {last:g}")
    if not first < last:
        raise SelectionError(
            f"the cheapest setting costs {first:.3g} device hours on {pool.choosing} "
            f"architectures, but the axis ends at {last:g}; give more --hours"
        )
    return settled(np.geomspace(first, last, _POINTS))


def _marks(grid: FloatArray) -> list[float]:
    """Return up to four of 1, 3, 10, 30, ... hours within the grid, the largest."""
    low, high = math.floor(math.log10(grid[0])), math.ceil(math.log10(grid[-1]))
    candidates = [digit * 10.0**power for power in range(low, high + 1) for digit in (1, 3)]
    return [hour for hour in candidates if grid[0] <= hour <= grid[-1]][-_MOST_ALLOWANCES:]


def _caveats(runs: _Runs) -> list[str]:
    lost = np.zeros(len(runs.best), dtype=bool)
    for method in range(len(runs.held_out)):
        lost |= ~np.isfinite(runs.regret(method)).all(axis=(1, 2))
    if not lost.any():
        return []
    return [
        f"in {lost.sum()} of {len(lost)} repeats a chosen setting, or the best one, has no "
        "correlation on the scoring half; means leave them out"
    ]
