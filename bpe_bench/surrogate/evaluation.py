"""Surrogates judged on held-out architectures and budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..correlation.topk import default_k
from ..errors import RankingError, SelectionError, unknown_name
from ..inference import check_confidence, noise_ceiling
from ..randomness import settled
from ..tables.catalog import TableLike, given_table
from ..tables.table import Split, Table
from .crossfit import GROUPINGS, Grouping, _fewest_residuals, _Folds, _IntArray, _judge, _Judged
from .examples import _Examples, _gather
from .fitting import _member_fitter, _share_of
from .forecast import CONFIDENCE
from .metrics import (
    _UNKNOWN,
    _Clusters,
    _r2,
    _rank_correlation,
    _rank_difference,
    _share,
    _top_metrics,
)
from .models import _get_model, _Trend
from .question import TARGETS, FloatArray, Question
from .report import SurrogateReport, SurrogateRow

_FEWEST_SETTINGS = 3
"""One is judged, one says how wide intervals are, and the others are learned from."""


def evaluate_surrogates(
    table: TableLike,
    question: Question | None = None,
    *,
    rng: np.random.Generator,
    name: str = "",
    models: Sequence[str] | None = None,
    groupings: Sequence[Grouping] | None = None,
    folds: int | None = None,
    top_k: int | None = None,
    confidence: float = 0.95,
    resamples: int = 200,
    progress: Callable[[float], None] | None = None,
) -> SurrogateReport:
    """Judge surrogates of a table by cross-validation over architectures, budgets, and both.

    By architecture: new architectures under known settings. By budget: known architectures
    under new settings. By both: neither was seen. Each fold is predicted by the ensemble that
    `fit_surrogate` would fit to the other folds, so intervals are judged as predictions are.

    Parameters
    ----------
    table
        The finished trainings: the object, its name or its path.
    question
        What to predict, and from what; by default accuracies under all settings.
    rng
        Draws architectures, folds, seeds of the models, and resamples.
    name
        What to call the table in the report; by default how it was given.
    models
        Keys of `bpe_bench.surrogate.models.MODELS`; by default the one that suits the quantity.
    groupings
        Some of `GROUPINGS`; by default all that the table has enough groups for.
    folds
        Number of folds; by default as for `fit_surrogate`.
    top_k
        How many of the best count for precision, regret and best rank; by default a third
        of what is ranked, at most 10.
    confidence
        Nominal coverage of the intervals of the figures.
    resamples
        Resamples of the groups, for the intervals of the top-k figures.
    progress
        Called with the share of the work that is done.

    Raises
    ------
    UnknownNameError
        For a name that does not exist.
    SelectionError
        If there is too little to learn from, or fewer groups than folds.
    RankingError
        For a k below 1, or a confidence outside (0, 1).
    """
    table, name = given_table(table, name)
    question = question or Question()
    check_confidence(confidence)
    if top_k is not None and top_k < 1:
        raise RankingError(f"k must be at least 1, found {top_k}")
    if resamples < 1:
        raise SelectionError(f"at least 1 resample is needed, found {resamples}")
    for model in models or ():
        _get_model(model)
    examples = _gather(table, question, rng)
    if examples.by_setting and len(examples.settings) < _FEWEST_SETTINGS:
        raise SelectionError(
            f"judging surrogates of {TARGETS[examples.target].units} needs at least "
            f"{_FEWEST_SETTINGS} settings that have one, found {len(examples.settings)}; widen the "
            "selection"
        )
    folds = folds or examples.usual_folds()
    ranked = len(examples.settings) if examples.by_setting else examples.n_architectures(table)
    k = default_k(ranked) if top_k is None else top_k
    chosen_models = tuple(dict.fromkeys(models or (examples.usual_model(),)))
    chosen = _groupings(examples, groupings, folds)
    ceiling, twins = _ceiling(table, examples), examples.twins(table)
    jobs = [(model, grouping) for model in chosen_models for grouping in chosen]
    rows, notes = [], list(examples.notes)
    for place, (model, grouping) in enumerate(jobs):
        dealt = examples.folds(grouping, folds, rng)
        judged = _judge(
            examples.x,
            examples.y,
            dealt,
            _member_fitter(examples, model, rng),
            confidence=CONFIDENCE,
            progress=_share_of(progress, place, len(jobs)),
        )
        line = _straight_line(examples, dealt)[judged.place]
        known = twins[judged.place] & (grouping != "budget")  # all were learned from by budget
        rows.append(
            _row(
                examples,
                judged,
                line,
                known,
                model,
                grouping,
                ceiling,
                k,
                confidence,
                resamples,
                rng,
            )
        )
        notes += _without_intervals(judged, grouping)
    missing = [g for g in GROUPINGS if g not in chosen and groupings is None]
    if missing and not examples.by_setting:
        notes.append(
            f"not judged by {' nor '.join(missing)}: that takes at least {folds} settings, one per "
            f"fold, found {len(examples.settings)}"
        )
    return SurrogateReport(
        table=name,
        space=table.space,
        dataset=examples.settings[0].dataset,
        split=examples.split,
        target=question.target,
        statistic=question.statistic if question.target == "correlation" else "",
        encoding=examples.columns.encoding,
        given=examples.columns.given,
        n_architectures=examples.n_architectures(table),
        n_budgets=len(examples.settings),
        folds=folds,
        confidence=confidence,
        top_k=k,
        noise_ceiling=ceiling,
        rows=tuple(rows),
        warnings=tuple(dict.fromkeys(notes)),
        settings=tuple(s.label for s in examples.settings),
    )


def _groupings(
    examples: _Examples, wanted: Sequence[Grouping] | None, folds: int
) -> Sequence[Grouping]:
    if wanted is None:
        return examples.groupings(folds)
    for grouping in wanted:
        if grouping not in GROUPINGS:
            raise unknown_name("grouping", grouping, GROUPINGS)
        if examples.by_setting and grouping != "budget":
            raise SelectionError(
                f"{TARGETS[examples.target].units} are known by setting only, so they can be "
                f"judged by budget, not by {grouping}"
            )
    return tuple(dict.fromkeys(wanted))


def _straight_line(examples: _Examples, folds: _Folds) -> FloatArray:
    """Predict every fold by a straight line fitted to the others, on the learned scale, (n,)."""
    found = np.full(examples.y.size, np.nan)
    for fold in range(folds.count):
        learned, judged = folds.learned(fold), folds.judged(fold)
        x, y = examples.x[learned], examples.y[learned]
        found[judged] = settled(_Trend.fit(x, y).settled(x, y).predict(examples.x[judged]))
    return found


def _without_intervals(judged: _Judged, grouping: Grouping) -> list[str]:
    """Warn that coverage is unknown if too few rows were held out for intervals."""
    wanted = _fewest_residuals(CONFIDENCE)
    if judged.residuals >= wanted:
        return []
    return [
        f"no coverage by {grouping}: {judged.residuals} residuals are known, and "
        f"a {CONFIDENCE:.0%} interval takes {wanted}; widen the selection"
    ]


def _row(
    examples: _Examples,
    judged: _Judged,
    line: FloatArray,
    twins: npt.NDArray[np.bool_],
    model: str,
    grouping: Grouping,
    ceiling: float,
    top_k: int,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> SurrogateRow:
    target, is_cost = TARGETS[examples.target], examples.target == "cost"
    learned = examples.y[judged.place]
    y, value, low, high = (
        target.bounded(part) for part in (learned, judged.value, judged.low, judged.high)
    )
    budget = examples.budget[judged.place]
    axes = {"architecture": examples.architecture[judged.place], "budget": budget}
    of_groups = tuple(axes.values()) if grouping == "both" else (axes[grouping],)
    clusters = _Clusters(of_groups)
    covered, width, inside = _UNKNOWN, math.nan, None
    if judged.residuals >= _fewest_residuals(CONFIDENCE):
        inside = ((judged.low <= learned) & (learned <= judged.high)).astype(float)
        covered = _share(inside, clusters, confidence)
        width = settled(float(((high - low) / value if is_cost else high - low).mean()))
    # Where a row is a setting, there is nothing within one.
    within = np.zeros(y.size, dtype=np.int64) if examples.by_setting else budget
    scales = (learned, judged.value) if is_cost else (y, value)
    inner, sparse = _UNKNOWN, _UNKNOWN
    if not examples.by_setting:
        inner = _rank_correlation(y, value, clusters, confidence, within=within)
    if not is_cost:
        sparse = _rank_correlation(y, value, clusters, confidence, rounded=True)
    # Of costs the lowest are the best.
    sign = -1.0 if is_cost else 1.0
    top = _top_metrics(
        sign * y, sign * value, clusters, within, top_k, confidence, resamples=resamples, rng=rng
    )
    return SurrogateRow(
        model=model,
        grouping=grouping,
        n_rows=y.size,
        n_groups=tuple(np.unique(axis).size for axis in of_groups),
        r2=_r2(*scales, clusters, confidence),
        kendall=_rank_correlation(y, value, clusters, confidence),
        sparse_kendall=sparse,
        kendall_within_budget=inner,
        share_of_ceiling=inner.scaled(1 / ceiling) if ceiling > 0 else _UNKNOWN,
        coverage_90=covered,
        width=width,
        straight_line=_rank_correlation(learned, line, clusters, confidence, within=within),
        above_straight_line=_rank_difference(
            learned, judged.value, line, clusters, confidence, within
        ),
        n_twins=np.unique(axes["architecture"][twins]).size,
        **_without(twins, y, value, within, inside, clusters, confidence),
        **top,
    )


def _without(
    twins: npt.NDArray[np.bool_],
    y: FloatArray,
    value: FloatArray,
    within: _IntArray,
    inside: FloatArray | None,
    clusters: _Clusters,
    confidence: float,
) -> dict[str, Any]:
    """Return the figures over the rows that are of no twin; unknown if there are no twins."""
    found = {"without_twins": _UNKNOWN, "coverage_without_twins": _UNKNOWN}
    new = ~twins
    if not twins.any() or not new.any():
        return found
    apart = _Clusters(tuple(axis[new] for axis in clusters.axes))
    found["without_twins"] = _rank_correlation(
        y[new], value[new], apart, confidence, within=within[new]
    )
    if inside is not None:
        found["coverage_without_twins"] = _share(inside[new], apart, confidence)
    return found


def _ceiling(table: Table, examples: _Examples) -> float:
    """Return Kendall's noise ceiling, mean over the settings that have seeds; NaN if none has."""
    if examples.target != "accuracy":
        return math.nan
    ceilings = [
        noise_ceiling(_seeds(table, setting.label, examples.split), "kendall")
        for setting in examples.settings
    ]
    known = [ceiling for ceiling in ceilings if math.isfinite(ceiling)]
    return float(np.mean(known)) if known else math.nan


def _seeds(table: Table, label: str, split: str) -> FloatArray:
    return table.curves_of(label, Split(split)).accuracy()
