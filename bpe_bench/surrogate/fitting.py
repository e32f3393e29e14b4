"""Fitting surrogates to tables."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from ..tables.catalog import TableLike, given_table
from ..tables.storage import content_hash
from .crossfit import Grouping, _crossfit, _CrossFitted, _Member
from .examples import _Examples, _gather, _gather_costs
from .fitted import FittedSurrogate
from .forecast import _TargetModel
from .models import _get_model
from .question import TARGETS, Question

_LIBRARIES = ("bpe-bench", "numpy", "scikit-learn", "xgboost")


def fit_surrogate(
    table: TableLike,
    question: Question | None = None,
    *,
    rng: np.random.Generator,
    name: str = "",
    model: str | None = None,
    folds: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> FittedSurrogate:
    """Fit a surrogate to a table.

    Parameters
    ----------
    table
        The finished trainings: the object, its name or its path.
    question
        What to predict, and from what; by default accuracies under all settings of the
        table's data set. Costs of the same settings are fitted as well, if there are any.
    rng
        Draws architectures, folds and seeds of the models.
    name
        What to call the table; by default how it was given.
    model
        A key of `bpe_bench.surrogate.models.MODELS`; by default the one that suits the quantity.
    folds
        Members of the ensemble, each fitted without one fold; by default 10, or one per setting
        if rows are settings and there are at most 40.
    progress
        Called with the share of the work that is done.

    Raises
    ------
    UnknownNameError
        For a name that does not exist.
    SelectionError
        If there are too few rows to learn from, or nothing varies.
    """
    table, name = given_table(table, name)
    question = question or Question()
    examples = _gather(table, question, rng)
    costs = _gather_costs(table, examples, question) if question.target != "cost" else None
    todo = [rows for rows in (examples, costs) if rows is not None]
    models = {}
    for place, rows in enumerate(todo):
        told = _share_of(progress, place, len(todo))
        models[rows.target] = _fit_target(rows, model, folds, rng, told)
    return FittedSurrogate(
        models=models,
        space=table.space,
        dataset=examples.settings[0].dataset,
        split=examples.split,
        statistic=question.statistic if question.target == "correlation" else "",
        settings=examples.settings,
        n_architectures=examples.n_architectures(table),
        table=name,
        table_sha256=content_hash(table),
        versions={"python": platform.python_version(), **{n: version(n) for n in _LIBRARIES}},
        notes=examples.notes,
    )


def _member_fitter(
    examples: _Examples, model: str, rng: np.random.Generator
) -> Callable[[npt.NDArray[np.bool_]], _Member]:
    """Return a function that fits a member to the examples in a mask (n,)."""
    _get_model(model)
    trend = TARGETS[examples.target].trend

    def fit(learned: npt.NDArray[np.bool_]) -> _Member:
        return _Member.fit(examples.x[learned], examples.y[learned], model, rng, trend=trend)

    return fit


def _share_of(
    progress: Callable[[float], None] | None, place: int, count: int
) -> Callable[[float], None]:
    """Return a function that reports the progress of one of several steps."""

    def tell(share: float) -> None:
        if progress is not None:
            progress((place + share) / count)

    return tell


def _fit_target(
    examples: _Examples,
    model: str | None,
    folds: int | None,
    rng: np.random.Generator,
    progress: Callable[[float], None],
) -> _TargetModel:
    """Fit the ensembles of a surrogate, for each kind of new question."""
    count = folds or examples.usual_folds()
    chosen = model or examples.usual_model()
    groupings = [g for g in examples.groupings(count) if g != "budget" or examples.by_setting]
    fit = _member_fitter(examples, chosen, rng)
    ensembles: dict[Grouping, _CrossFitted] = {}
    for place, grouping in enumerate(groupings):
        dealt = examples.folds(grouping, count, rng)
        told = _share_of(progress, place, len(groupings))
        ensembles[grouping] = _crossfit(examples.x, examples.y, dealt, fit, told)
    known = tuple(examples.settings[place] for place in np.unique(examples.budget))
    return _TargetModel(examples.target, chosen, examples.columns, ensembles, known)
