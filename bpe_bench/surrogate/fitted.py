"""Fitted surrogates: what they answer, how sure they are, and where they refuse."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from ..budget import Budget, Value
from ..errors import SelectionError, SurrogateFileError
from ..estimators import Prediction
from ..inference import check_confidence
from ..spaces import Architecture, NasBench201Space, get_space
from ..storage import content_hash
from ..table import Setting, Split, Table
from .columns import Columns, check_inside, outside, ranges_of
from .crossfit import CrossFitted, Grouping, Member, crossfit
from .examples import Examples, gather, given_accuracies, has_costs
from .models import get_model
from .question import TARGETS, FloatArray, Question, TargetName

DEFAULT_FOLDS = 10
"""Folds that a surrogate is fitted and judged with."""
CONFIDENCE = 0.9
"""Nominal coverage of a prediction's interval."""
_LIBRARIES = ("bpe-bench", "numpy", "scikit-learn", "xgboost")


@dataclass(frozen=True)
class Forecast:
    """What a surrogate expects, and the interval that it will probably lie in."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    """Shape (N,); NaN where nothing is known, and for the bounds where no interval can be given."""


@dataclass(frozen=True)
class TargetModel:
    """The ensembles that answer for one quantity."""

    target: TargetName
    columns: Columns
    ensembles: Mapping[Grouping, CrossFitted]
    """By what is new in a question: an architecture, a budget, or both."""

    def forecast(
        self, architecture: FloatArray, budget: FloatArray, grouping: Grouping, confidence: float
    ) -> Forecast:
        """Predict N rows.

        Parameters
        ----------
        architecture, budget
            Their columns, (N, d₁) and (N, d₂); one of them may have a single row for all.
        grouping
            What is new in them.
        confidence
            Nominal coverage of the intervals.
        """
        rows = max(len(architecture), len(budget)) if len(architecture) and len(budget) else 0
        x = np.hstack([np.broadcast_to(p, (rows, p.shape[1])) for p in (architecture, budget)])
        known = np.isfinite(x).all(axis=1)
        parts = np.full((3, rows), np.nan)
        parts[:, known] = self.ensembles[grouping].forecast(x[known], confidence)
        return Forecast(*(TARGETS[self.target].bounded(part) for part in parts))


@dataclass(frozen=True)
class FittedSurrogate:
    """A surrogate of a table: answers for architectures and budgets that nobody trained.

    Raises
    ------
    SelectionError
        By every method that predicts: for a quantity that it was not fitted to, an
        architecture of another space, known accuracies that are missing, or a budget
        that it cannot judge.
    """

    models: Mapping[TargetName, TargetModel]
    """By quantity: accuracy and cost, or correlation."""
    model: str
    """Its kind, a key of `bpe_bench.surrogate.models.MODELS`."""
    space: str
    dataset: str
    split: str
    """Where accuracy was measured."""
    statistic: str
    """Which correlation; empty if it predicts none."""
    settings: tuple[Setting, ...]
    """What it learned from."""
    ranges: Mapping[str, tuple[Value, ...]]
    """By hyper-parameter the least and the largest number, or the categories, of `settings`."""
    n_architectures: int
    table: str
    """What the table was called."""
    table_sha256: str
    """Hash of the table's content."""
    versions: Mapping[str, str]
    """Of the libraries that it was fitted with."""
    notes: tuple[str, ...] = ()
    """What its user must know, a sentence each."""

    def accuracy(
        self,
        architectures: Sequence[Architecture],
        budget: Budget,
        *,
        given: FloatArray | None = None,
        confidence: float = CONFIDENCE,
        extrapolate: bool = False,
    ) -> Forecast:
        """Predict accuracies, fractions in [0, 1].

        Parameters
        ----------
        architectures
            A architectures of its space.
        budget
            How they would be trained.
        given
            Accuracies under the settings that it was fitted with as known, shape (A, G)
            (`given_from` looks them up); NaN gives NaN.
        confidence
            Nominal coverage of the intervals, each for a new architecture, and for a
            new budget if it was not fitted to this one.
        extrapolate
            Allow hyper-parameters outside of what it was fitted on. There are no
            intervals then: what was held out says nothing of them.
        """
        return self._forecast("accuracy", architectures, budget, given, confidence, extrapolate)

    def cost(
        self,
        architectures: Sequence[Architecture],
        budget: Budget,
        *,
        confidence: float = CONFIDENCE,
        extrapolate: bool = False,
    ) -> Forecast:
        """Predict device seconds of trainings; parameters as for `accuracy`."""
        return self._forecast("cost", architectures, budget, None, confidence, extrapolate)

    def correlation(
        self,
        budgets: Sequence[Budget],
        *,
        confidence: float = CONFIDENCE,
        extrapolate: bool = False,
    ) -> Forecast:
        """Predict how B budgets correlate with full training; parameters as for `accuracy`."""
        check_confidence(confidence)
        model = self._model("correlation")
        if not extrapolate:
            for budget in budgets:
                check_inside(budget, self.ranges)
        x = model.columns.of_budgets(budgets)
        found = model.forecast(np.zeros((len(x), 0)), x, "budget", confidence)
        far = np.array([bool(outside(budget, self.ranges)) for budget in budgets], dtype=bool)
        return _without_intervals(found, far)

    def at(
        self,
        budget: Budget,
        *,
        table: Table | None = None,
        confidence: float = CONFIDENCE,
        extrapolate: bool = False,
    ) -> BudgetSurrogate:
        """Return the surrogate of one budget, which searches can use.

        Parameters
        ----------
        budget
            How architectures would be trained.
        table
            Where accuracies that it was fitted with as known are looked up.
        confidence, extrapolate
            As for `accuracy`.
        """
        return BudgetSurrogate(
            self, budget, table=table, confidence=confidence, extrapolate=extrapolate
        )

    def setting(self, name: str) -> Setting | None:
        """Return one of its settings by label, or None."""
        return next((s for s in self.settings if s.label == name), None)

    @property
    def given(self) -> tuple[str, ...]:
        """Settings whose accuracies must be known."""
        model = self.models.get("accuracy")
        return model.columns.given if model is not None else ()

    def given_from(self, table: Table, architectures: Sequence[Architecture]) -> FloatArray:
        """Look up the accuracies that must be known, (A, G); NaN where missing.

        Raises
        ------
        SurrogateFileError
            If it was fitted to another table.
        SelectionError
            If the table does not hold an architecture.
        """
        self.check_table(table)
        return given_accuracies(
            table, self.given, Split(self.split), [table.index(a) for a in architectures]
        )

    def check_table(self, table: Table) -> None:
        """Raise `SurrogateFileError` unless it was fitted to a table of this content."""
        found = content_hash(table)
        if found != self.table_sha256:
            raise SurrogateFileError(
                f"the surrogate was fitted to table {self.table!r} with content SHA-256 "
                f"{self.table_sha256}, the table given has {found}; fit it again with: bpe-bench "
                "surrogate fit"
            )

    def _model(self, target: TargetName) -> TargetModel:
        if target not in self.models:
            raise SelectionError(
                f"the surrogate predicts {' and '.join(self.models)}, not {target}; fit one with: "
                f"bpe-bench surrogate fit {self.table} --target {target} -o FILE"
            )
        return self.models[target]

    def _forecast(
        self,
        target: TargetName,
        architectures: Sequence[Architecture],
        budget: Budget,
        given: FloatArray | None,
        confidence: float,
        extrapolate: bool,
    ) -> Forecast:
        check_confidence(confidence)
        model = self._model(target)
        if not extrapolate:
            check_inside(budget, self.ranges)
        for architecture in architectures:
            if architecture.space != self.space:
                raise SelectionError(
                    f"the surrogate is of space {self.space!r}, not of {architecture.space!r}"
                )
        wanted = (len(architectures), len(model.columns.given))
        known = np.zeros(wanted) if given is None and not wanted[1] else given
        if known is None or known.shape != wanted:
            raise SelectionError(
                f"accuracies under {', '.join(model.columns.given) or 'no setting'} must be given, "
                f"shape {wanted}, found {None if known is None else known.shape}; name the table "
                "that has them (--table)"
            )
        grouping = self._new_in(model, budget, extrapolate)
        rows = model.columns.of_architectures(architectures, known)
        columns = model.columns.of_budgets([budget])
        found = model.forecast(rows, columns, grouping or "architecture", confidence)
        far = grouping is None or bool(outside(budget, self.ranges))
        return _without_intervals(found, np.full(len(architectures), far))

    def _new_in(self, model: TargetModel, budget: Budget, extrapolate: bool) -> Grouping | None:
        """Return what is new in a question about any architecture under a budget.

        None if the budget is new, and there were too few settings to say how far off
        predictions of new ones are.
        """
        if "budget" in model.ensembles:
            return "budget"
        if any(setting.budget == budget for setting in self.settings):
            return "architecture"
        if "both" in model.ensembles:
            return "both"
        if extrapolate:
            return None
        raise SelectionError(
            f"the surrogate was fitted to {len(self.settings)} settings "
            f"({', '.join(s.label for s in self.settings)}), too few to judge another budget by; "
            "ask for one of them, or allow it (--extrapolate)"
        )


class BudgetSurrogate:
    """A fitted surrogate at one budget; fulfils `bpe_bench.estimators.Surrogate`.

    What was asked is remembered; of a space that can be listed all is asked at once.
    Where accuracies must be known, it answers for the architectures of the table only.
    """

    def __init__(
        self,
        fitted: FittedSurrogate,
        budget: Budget,
        *,
        table: Table | None = None,
        confidence: float = CONFIDENCE,
        extrapolate: bool = False,
    ) -> None:
        self.fitted, self.budget = fitted, budget
        self.confidence, self.extrapolate = confidence, extrapolate
        self._known: dict[tuple[int, ...], tuple[float, ...]] = {}
        self._closed = bool(fitted.given)
        if self._closed:
            if table is None:
                raise SelectionError(
                    f"accuracies under {', '.join(fitted.given)} must be known; name the table "
                    "that has them (--table)"
                )
            everything = list(table.architectures)
            self._ask(everything, fitted.given_from(table, everything))
        else:
            self._ask([])  # refuses what cannot be asked, before a search begins

    @property
    def space(self) -> str:
        """Name of the search space."""
        return self.fitted.space

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Predict accuracy, and seconds if the surrogate knows costs, else NaN."""
        answers = self._answers(architectures)
        return Prediction(answers[:, 0], answers[:, 3])

    def predict_interval(
        self, architectures: Sequence[Architecture]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the bounds of the accuracies' intervals at its confidence, two of shape (A,)."""
        answers = self._answers(architectures)
        return answers[:, 1], answers[:, 2]

    def _answers(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return accuracy, its bounds, and seconds, (A, 4)."""
        new = [a for a in dict.fromkeys(architectures) if a.genes not in self._known]
        if new and self._closed:
            raise SelectionError(
                "the table does not hold this architecture, so its accuracy under "
                f"{', '.join(self.fitted.given)} is not known: {new[0].genes[:12]}"
            )
        if new:
            self._ask(new if self._known else list(dict.fromkeys([*new, *_listed(self.space)])))
        rows = [self._known[architecture.genes] for architecture in architectures]
        return np.array(rows).reshape(len(rows), 4)

    def _ask(self, architectures: Sequence[Architecture], given: FloatArray | None = None) -> None:
        far = self.extrapolate
        found = self.fitted.accuracy(
            architectures, self.budget, given=given, confidence=self.confidence, extrapolate=far
        )
        seconds = np.full(len(architectures), np.nan)
        if "cost" in self.fitted.models:
            seconds = self.fitted.cost(architectures, self.budget, extrapolate=far).value
        rows = np.column_stack([found.value, found.low, found.high, seconds]).tolist()
        for architecture, row in zip(architectures, rows, strict=True):
            self._known[architecture.genes] = tuple(row)


def fit_surrogate(
    table: Table,
    question: Question | None = None,
    *,
    rng: np.random.Generator,
    name: str = "",
    model: str | None = None,
    folds: int = DEFAULT_FOLDS,
    progress: Callable[[float], None] | None = None,
) -> FittedSurrogate:
    """Fit a surrogate to a table.

    Parameters
    ----------
    table
        The finished trainings.
    question
        What to predict, and from what; by default accuracies under all settings of the
        table's data set. Where the table has costs, they are fitted beside.
    rng
        Draws the architectures, deals the folds and seeds the models.
    name
        What to call the table.
    model
        A key of `bpe_bench.surrogate.models.MODELS`; by default what suits the quantity.
    folds
        Members of the ensemble, each fitted without one fold.
    progress
        Called with the share that is done.

    Raises
    ------
    UnknownNameError
        For a name that does not exist.
    SelectionError
        If there is too little to learn from, or nothing varies.
    """
    question = question or Question()
    examples = gather(table, question, rng)
    chosen = model or TARGETS[question.target].model
    todo = [examples]
    if question.target == "accuracy" and has_costs(table, question):
        # Of the same architectures: they need not be described, nor drawn, again.
        places = sorted(set(examples.architecture.tolist()))
        todo.append(gather(table, replace(question, target="cost", architectures=places), rng))
    models = {}
    for place, rows in enumerate(todo):
        told = share_of(progress, place, len(todo))
        models[rows.target] = _fit_target(rows, chosen, folds, rng, told)
    return FittedSurrogate(
        models=models,
        model=chosen,
        space=table.space,
        dataset=examples.settings[0].dataset,
        split=examples.split,
        statistic=question.statistic if question.target == "correlation" else "",
        settings=examples.settings,
        ranges=ranges_of([setting.budget for setting in examples.settings]),
        n_architectures=_count(examples, table),
        table=name,
        table_sha256=content_hash(table),
        versions={"python": platform.python_version(), **{n: version(n) for n in _LIBRARIES}},
        notes=examples.notes,
    )


def member_fitter(
    examples: Examples, model: str, rng: np.random.Generator
) -> Callable[[npt.NDArray[np.bool_]], Member]:
    """Return what fits a member to those of the examples that a mask (n,) names."""
    get_model(model)
    trend = TARGETS[examples.target].trend

    def fit(learned: npt.NDArray[np.bool_]) -> Member:
        return Member.fit(examples.x[learned], examples.y[learned], model, rng, trend=trend)

    return fit


def _fit_target(
    examples: Examples,
    model: str,
    folds: int,
    rng: np.random.Generator,
    progress: Callable[[float], None],
) -> TargetModel:
    """Fit the ensembles that a fitted surrogate answers by: all but known cells, new budgets."""
    groupings = [g for g in examples.groupings(folds) if g != "budget" or examples.by_setting]
    fit = member_fitter(examples, model, rng)
    ensembles: dict[Grouping, CrossFitted] = {}
    for place, grouping in enumerate(groupings):
        dealt = examples.folds(grouping, folds, rng)
        told = share_of(progress, place, len(groupings))
        ensembles[grouping] = crossfit(examples.x, examples.y, dealt, fit, told)
    return TargetModel(examples.target, examples.columns, ensembles)


def share_of(
    progress: Callable[[float], None] | None, place: int, count: int
) -> Callable[[float], None]:
    """Return what tells the progress of one of several steps as that of the whole."""

    def tell(share: float) -> None:
        if progress is not None:
            progress((place + share) / count)

    return tell


def _count(examples: Examples, table: Table) -> int:
    places = np.unique(examples.architecture)
    return len(table.architectures) if examples.by_setting else int(places.size)


def _without_intervals(found: Forecast, far: npt.NDArray[np.bool_]) -> Forecast:
    """Return a forecast without bounds where nothing was held out that they could rest on."""
    return Forecast(
        found.value, *(np.where(far, np.nan, bound) for bound in (found.low, found.high))
    )


def _listed(space: str) -> list[Architecture]:
    """Return all architectures of a space that can be listed; none of another."""
    known = get_space(space)
    if isinstance(known, NasBench201Space):
        return [known.from_index(index) for index in range(known.size)]
    return []
