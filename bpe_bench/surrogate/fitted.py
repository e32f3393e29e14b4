"""Fitted surrogates: predictions with intervals, and the questions that they refuse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..budget import Budget, parse_budget
from ..errors import SelectionError, SurrogateFileError, UnknownNameError, unknown_name
from ..estimators import Prediction
from ..files import Shown
from ..inference import check_confidence
from ..spaces import AnyArchitecture, Architecture, get_space, given_architecture
from ..tables.catalog import TableLike, given_table
from ..tables.storage import content_hash
from ..tables.table import Setting, Split, Table, settings_frame
from .columns import _check_inside, _outside, _Ranges
from .conclusions import answer_of_surrogate
from .crossfit import Grouping, _fewest_residuals
from .examples import _given_accuracies, _usual_device
from .forecast import CONFIDENCE, Forecast, _TargetModel
from .question import FloatArray, TargetName

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class FittedSurrogate(Shown):
    """A surrogate of a table: predicts architectures and budgets that nobody trained.

    Raises
    ------
    SelectionError
        By every method that predicts: for a quantity that it was not fitted to, an
        architecture of another space, known accuracies that are missing, or a budget
        that it cannot judge.
    """

    models: Mapping[TargetName, _TargetModel]
    """By quantity: first the target, then cost if the table has costs."""
    space: str
    dataset: str
    split: str
    """Split that accuracy was measured on."""
    statistic: str
    """The predicted correlation; empty for other targets."""
    settings: tuple[Setting, ...]
    """The settings that it learned from."""
    n_architectures: int
    table: str
    """Name of the table."""
    table_sha256: str
    """Hash of the table's content."""
    versions: Mapping[str, str]
    """Versions of the libraries that it was fitted with."""
    notes: tuple[str, ...] = ()
    """What its user has to know, one sentence each."""

    def _line(self) -> str:
        return (
            f"{' and '.join(self.models)} in {self.space} by {self.model}, fitted to "
            f"{self.n_architectures} architectures under {len(self.settings)} settings of "
            f"{self.table or 'a table'}"
        )

    def _frame(self) -> pd.DataFrame:
        return settings_frame(self.settings)

    def accuracy(
        self,
        architectures: Sequence[AnyArchitecture],
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
            A architectures of its space: objects, texts, or indices of the space.
        budget
            The budget of their training.
        given
            Accuracies under the given settings, shape (A, G) (`given_from` looks them up); NaN
            gives NaN.
        confidence
            Nominal coverage of the intervals, each for a new architecture, and for a
            new budget if it was not fitted to this one.
        extrapolate
            Allow hyper-parameters outside of the ranges that it was fitted to. There are no
            intervals then, because no such budget was held out.
        """
        return self._forecast("accuracy", architectures, budget, given, confidence, extrapolate)

    def cost(
        self,
        architectures: Sequence[AnyArchitecture],
        budget: Budget,
        *,
        confidence: float = CONFIDENCE,
        extrapolate: bool = False,
    ) -> Forecast:
        """Predict device seconds of trainings; parameters as for `accuracy`.

        If too few settings have costs to learn from, this is the recorded mean of the setting.
        NaN if the budget lies outside of the ranges of the settings with known cost, even if
        accuracy or correlation can be predicted.
        """
        recorded = self._recorded_cost(budget)
        if "cost" not in self.models and math.isfinite(recorded):
            none = Forecast.unknown(len(architectures))
            return Forecast(np.full(len(architectures), recorded), none.low, none.high)
        return self._forecast("cost", architectures, budget, None, confidence, extrapolate)

    def knows_cost(self, budget: Budget, *, extrapolate: bool = False) -> bool:
        """Return whether `cost` can predict a budget; to extrapolate, it must have learned costs.

        Without extrapolation a budget must lie within the settings of known cost.
        """
        if "cost" not in self.models:
            return math.isfinite(self._recorded_cost(budget))
        return extrapolate or not _outside(budget, self.models["cost"].ranges)

    def correlation(
        self,
        budgets: Sequence[Budget],
        *,
        confidence: float = CONFIDENCE,
        extrapolate: bool = False,
    ) -> Forecast:
        """Predict how B budgets correlate with full training; parameters as for `accuracy`."""
        return self._by_budget("correlation", budgets, confidence, extrapolate)

    def bare(self, target: TargetName, budget: Budget, confidence: float = CONFIDENCE) -> str:
        """Return why a prediction under a budget has no interval; empty if it has one."""
        if target not in self.models:
            recorded = math.isfinite(self._recorded_cost(budget))
            return (
                "it is the mean that the table records"
                if recorded
                else "the table records none, and too few others to learn from"
            )
        model = self.models[target]
        faults = _outside(budget, model.ranges)
        if faults:
            return f"the budget is outside of what was seen: {', '.join(faults)}"
        grouping = self._new_in(model, budget)
        if grouping is None:
            return f"{len(model.settings)} settings are too few to judge another budget by"
        found, wanted = model.ensembles[grouping].residuals.size, _fewest_residuals(confidence)
        if found < wanted:
            return f"{found} rows were held out, and the confidence needs {wanted}"
        return ""

    def at(
        self,
        budget: Budget,
        *,
        table: TableLike | None = None,
        confidence: float = CONFIDENCE,
        extrapolate: bool = False,
    ) -> _BudgetSurrogate:
        """Return the surrogate of one budget, which searches can use.

        The table has the accuracies that must be given; `SurrogateFileError` if it is not the
        one that the surrogate was fitted to.
        """
        return _BudgetSurrogate(
            self,
            budget,
            table=None if table is None else given_table(table)[0],
            confidence=confidence,
            extrapolate=extrapolate,
        )

    def budget_cost(
        self,
        budgets: Sequence[Budget],
        *,
        confidence: float = CONFIDENCE,
        extrapolate: bool = False,
    ) -> Forecast:
        """Predict mean device seconds per network under B budgets; parameters as for `accuracy`.

        For surrogates that learned the settings' mean costs: those of correlations, and those
        of tables without costs of each network. Seconds are on `device`. NaN outside of the
        settings of known cost, as for `cost`.
        """
        if self._model("cost").columns.encoding:
            raise SelectionError(
                "the surrogate predicts the cost of each architecture; ask for the cost of "
                "architectures, or fit one with --target correlation"
            )
        return self._by_budget("cost", budgets, confidence, extrapolate)

    @property
    def answer(self) -> str:
        """What it was fitted to, and by how much it misses what it did not see."""
        return answer_of_surrogate(self)

    def describe(self) -> dict[str, Any]:
        """Return its description as JSON values."""
        model = self.models[self.target]
        return {
            "answer": self.answer,
            "target": self.target,
            "predicts": list(self.models),
            "model": model.model,
            "table": self.table,
            "table_sha256": self.table_sha256,
            "space": self.space,
            "dataset": self.dataset,
            "split": self.split,
            "statistic": self.statistic,
            "encoding": model.columns.encoding,
            "given": list(self.given),
            "n_architectures": self.n_architectures,
            "n_budgets": len(self.settings),
            "settings": [setting.label for setting in self.settings],
            "device": self.device,
            "members": sum(len(one.members) for one in model.ensembles.values()),
            "versions": dict(self.versions),
            "warnings": list(self.notes),
        }

    def budget_of(self, text: str) -> Budget:
        """Return the budget of one of its settings by label, or the one that a text describes.

        Raises
        ------
        UnknownNameError
            If the text is neither a label nor a budget.
        """
        budgets = {s.label: s.budget for s in self.settings}
        if text in budgets:
            return budgets[text]
        try:
            return parse_budget(text)
        except UnknownNameError:
            if "=" in text:
                raise  # it says which of the parts is unknown
            raise unknown_name(
                "setting", text, budgets, hint="or give BPE-1, BPE-2, full or name=value,..."
            ) from None

    @property
    def target(self) -> TargetName:
        """The target that it was fitted for."""
        return next(iter(self.models))

    @property
    def by_setting(self) -> bool:
        """Whether it predicts settings, not single architectures."""
        return not self.models[self.target].columns.encoding

    @property
    def model(self) -> str:
        """The model of the target, a key of `bpe_bench.surrogate.models.MODELS`."""
        return self.models[self.target].model

    @property
    def ranges(self) -> _Ranges:
        """Ranges of the hyper-parameters for the target; costs have their own."""
        return self.models[self.target].ranges

    @property
    def device(self) -> str:
        """The device of the costs, that of most settings; empty if unknown."""
        return _usual_device(self.settings)

    @property
    def error(self) -> float:
        """Root mean square error of the correlations of left-out settings."""
        self._model("correlation")
        return float(np.sqrt(np.mean(self.residuals**2)))

    @property
    def residuals(self) -> FloatArray:
        """How far each left-out row of the target was missed, on the scale that it is learned on.

        Shape (n,): correlations as they are, of costs the logarithm, of accuracies that of the
        error rate; of new settings if it predicts settings, else of new architectures.
        """
        grouping: Grouping = "budget" if self.by_setting else "architecture"
        ensemble = self.models[self.target].ensembles.get(grouping)
        return np.zeros(0) if ensemble is None else ensemble.residuals

    @property
    def given(self) -> tuple[str, ...]:
        """Settings whose accuracies must be given."""
        model = self.models.get("accuracy")
        return model.columns.given if model is not None else ()

    def given_from(self, table: TableLike, architectures: Sequence[AnyArchitecture]) -> FloatArray:
        """Look up the accuracies that must be given, (A, G); NaN where missing.

        Raises
        ------
        SurrogateFileError
            If it was fitted to another table.
        SelectionError
            If the table does not hold an architecture.
        """
        table, _ = given_table(table)
        self.check_table(table)
        return _given_accuracies(
            table, self.given, Split(self.split), [table.index(a) for a in architectures]
        )

    def check_table(self, table: TableLike) -> None:
        """Raise `SurrogateFileError` unless it was fitted to a table of this content."""
        found = content_hash(given_table(table)[0])
        if found != self.table_sha256:
            raise SurrogateFileError(
                f"the surrogate was fitted to table {self.table!r} with content SHA-256 "
                f"{self.table_sha256}, the table given has {found}; fit it again with: bpe-bench "
                "surrogate fit"
            )

    def _recorded_cost(self, budget: Budget) -> float:
        return next((s.seconds for s in self.settings if s.budget == budget), math.nan)

    def _model(self, target: TargetName) -> _TargetModel:
        if target not in self.models:
            raise SelectionError(
                f"the surrogate predicts {' and '.join(self.models)}, not {target}; fit one with: "
                f"bpe-bench surrogate fit {self.table} --target {target} -o FILE"
            )
        return self.models[target]

    def _by_budget(
        self, target: TargetName, budgets: Sequence[Budget], confidence: float, extrapolate: bool
    ) -> Forecast:
        check_confidence(confidence)
        model = self._model(target)
        if not extrapolate:
            for budget in budgets:
                _check_inside(budget, self.ranges)
        x = model.columns.of_budgets(budgets)
        found = model.forecast(np.zeros((len(x), 0)), x, "budget", confidence)
        far = np.array([bool(_outside(budget, model.ranges)) for budget in budgets], dtype=bool)
        return found.without_intervals(far) if extrapolate else found.unknown_at(far)

    def _forecast(
        self,
        target: TargetName,
        asked: Sequence[AnyArchitecture],
        budget: Budget,
        given: FloatArray | None,
        confidence: float,
        extrapolate: bool,
    ) -> Forecast:
        check_confidence(confidence)
        model = self._model(target)
        if not extrapolate:
            _check_inside(budget, self.ranges)
        architectures = [given_architecture(a, self.space) for a in asked]
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
        grouping = self._new_in(model, budget)
        if grouping is None and target == self.target and not extrapolate:
            raise SelectionError(
                f"the surrogate was fitted to {len(self.settings)} settings "
                f"({', '.join(s.label for s in self.settings)}), too few to judge another budget "
                "by; ask for one of them, or allow it (--extrapolate)"
            )
        rows = model.columns.of_architectures(architectures, known)
        columns = model.columns.of_budgets([budget])
        found = model.forecast(rows, columns, grouping or "architecture", confidence)
        far = np.full(len(architectures), grouping is None or bool(_outside(budget, model.ranges)))
        return found.without_intervals(far) if extrapolate else found.unknown_at(far)

    def _new_in(self, model: _TargetModel, budget: Budget) -> Grouping | None:
        """Return what is new in a question about any architecture under a budget.

        None if the budget is new and there were too few settings to estimate the error on new
        ones.
        """
        if "budget" in model.ensembles:
            return "budget"
        if any(setting.budget == budget for setting in model.settings):
            return "architecture"
        return "both" if "both" in model.ensembles else None


class _BudgetSurrogate:
    """A fitted surrogate at one budget; fulfils `bpe_bench.estimators.Surrogate`.

    Predictions are kept; those of a space that can be listed are made all at once. If
    accuracies must be given, it predicts only the architectures of the table.
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
        """Predict accuracy with its interval, and seconds if the surrogate knows costs."""
        accuracy, low, high, seconds = self._answers(architectures).T
        return Prediction(accuracy, seconds, low, high)

    def _answers(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return accuracy, its bounds, and seconds, (A, 4)."""
        new = [a for a in dict.fromkeys(architectures) if a.genes not in self._known]
        if new and self._closed:
            text = get_space(self.space).format(new[0])
            raise SelectionError(
                f"the table does not hold {text}, so its accuracy under "
                f"{', '.join(self.fitted.given)} is not known; ask for architectures of the table"
            )
        if new:
            self._ask(new if self._known else list(dict.fromkeys([*new, *self._all()])))
        rows = [self._known[architecture.genes] for architecture in architectures]
        return np.array(rows).reshape(len(rows), 4)

    def _ask(self, architectures: Sequence[Architecture], given: FloatArray | None = None) -> None:
        far = self.extrapolate
        found = self.fitted.accuracy(
            architectures, self.budget, given=given, confidence=self.confidence, extrapolate=far
        )
        seconds = np.full(len(architectures), np.nan)
        if self.fitted.knows_cost(self.budget, extrapolate=far):
            seconds = self.fitted.cost(architectures, self.budget, extrapolate=far).value
        rows = np.column_stack([found.value, found.low, found.high, seconds]).tolist()
        for architecture, row in zip(architectures, rows, strict=True):
            self._known[architecture.genes] = tuple(row)

    def _all(self) -> Iterable[Architecture]:
        """Return all architectures of the space if it can be listed, else an empty list."""
        space = get_space(self.space)
        return space if space.listed else ()
