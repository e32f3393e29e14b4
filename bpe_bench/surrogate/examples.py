"""What surrogates learn from: rows of numbers with their results in a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..budget import BudgetSpace
from ..correlation.correlating import correlate
from ..correlation.selection import Selection
from ..errors import SelectionError, unknown_name
from ..spaces import Architecture, get_space
from ..tables.table import Setting, Split, Table
from .columns import _Columns
from .crossfit import Grouping, _Folds, _IntArray
from .question import TARGETS, FloatArray, Question, TargetName

_DEFAULT_FOLDS = 10
"""Number of folds of architectures, to fit or to judge a surrogate."""
_FEWEST_COSTS = 9
"""With fewer known costs, costs are not fitted: a 90 % interval needs so many."""
_LEFT_OUT_SINGLY = 40
"""Up to so many settings, each is a fold of its own."""


@dataclass(frozen=True)
class _Examples:
    """Rows to learn from, n of them."""

    target: TargetName
    columns: _Columns
    x: FloatArray
    """Shape (n, d)."""
    y: FloatArray
    """Shape (n,), on the scale on which the target is learned."""
    architecture: _IntArray
    """Shape (n,): the place of each row's architecture in the table; -1 for all together."""
    budget: _IntArray
    """Shape (n,): the place of each row's setting in `settings`."""
    settings: tuple[Setting, ...]
    split: str
    """Where accuracy was measured; empty for costs."""
    notes: tuple[str, ...] = ()
    trained: int | None = None
    """If rows are settings: number of architectures behind each value; None if all."""

    @property
    def by_setting(self) -> bool:
        """Whether a row is a setting, for all architectures together."""
        return not self.columns.encoding

    def folds(self, grouping: Grouping, count: int, rng: np.random.Generator) -> _Folds:
        """Divide the rows into folds by architecture, by budget or by both.

        Raises
        ------
        SelectionError
            If there are fewer groups than folds.
        """
        axes = {
            "architecture": ("architectures", self.architecture),
            "budget": ("settings", self.budget),
        }
        chosen = list(axes.values()) if grouping == "both" else [axes[grouping]]
        return _Folds.deal(chosen, count, rng)

    def n_architectures(self, table: Table) -> int:
        """Return how many architectures the rows have."""
        if self.by_setting:
            return len(table.architectures) if self.trained is None else self.trained
        return len(set(self.architecture.tolist()))

    def twins(self, table: Table) -> npt.NDArray[np.bool_]:
        """Return which rows (n,) are of an architecture that another one is isomorphic to.

        Isomorphic architectures compute the same function, so one that was held out is no new
        one if the other was learned from.
        """
        space = get_space(table.space)
        places = np.unique(self.architecture[self.architecture >= 0]).tolist()
        shape = {place: space.canonical(table.architectures[place]) for place in places}
        count = Counter(shape.values())
        many = [place for place in places if count[shape[place]] > 1]
        return np.isin(self.architecture, many)

    def usual_model(self) -> str:
        """Return the default model: for few rows, the smoothest one."""
        return "forest" if self.by_setting else "xgboost"

    def usual_folds(self) -> int:
        """Return the default number of folds.

        If rows are settings, there are only tens of them, so each is a fold of its own.
        """
        if self.by_setting and len(self.settings) <= _LEFT_OUT_SINGLY:
            return len(self.settings)
        return _DEFAULT_FOLDS

    def groupings(self, folds: int) -> tuple[Grouping, ...]:
        """Return the groupings that have enough settings for so many folds."""
        if self.by_setting:
            return ("budget",)
        if np.unique(self.budget).size < folds:
            return ("architecture",)
        return ("architecture", "budget", "both")


def _gather(table: Table, question: Question, rng: np.random.Generator) -> _Examples:
    """Return the rows of a table that a question is learned from.

    Raises
    ------
    UnknownNameError
        For a name that does not exist.
    SelectionError
        If no value is known, or all known values are equal.
    """
    if question.target == "correlation":
        examples = _of_correlation(table, question)
    else:
        places = _places(table, question.architectures, rng)
        settings = _settings(table, question)
        make = _of_accuracy if question.target == "accuracy" else _of_cost
        examples = make(table, question, places, settings)
    _check_varied(examples)
    return examples


def _gather_costs(table: Table, found: _Examples, question: Question) -> _Examples | None:
    """Return costs of the same settings and architectures; None if too few are known.

    If values are known by setting only, these are the settings' mean costs.
    """
    if found.by_setting:
        costs = _of_mean_cost(table, found.settings)
    else:
        places = sorted(set(found.architecture.tolist()))
        asked = replace(question, target="cost", given=())
        costs = _of_cost(table, asked, places, list(found.settings))
    enough = costs.y.size >= _FEWEST_COSTS and costs.y.min() < costs.y.max()
    return costs if enough else None


def _given_accuracies(
    table: Table, labels: Sequence[str], split: Split, places: Sequence[int]
) -> FloatArray:
    """Return accuracies under ``LABEL`` or ``LABEL@EPOCH``, mean over seeds, (A, G).

    NaN where missing.
    """
    asked = [table.setting_at(name) for name in labels]
    columns = [table.accuracy(s.label, split, epoch=epoch)[list(places)] for s, epoch in asked]
    return np.array(columns).reshape(len(labels), len(places)).T


def _given_name(table: Table, name: str) -> str:
    """Return ``LABEL`` for the last epoch, ``LABEL@EPOCH`` for others."""
    setting, epoch = table.setting_at(name)
    last = epoch is None or epoch >= setting.budget.epochs
    return setting.label if last else f"{setting.label}@{epoch}"


def _usual_device(settings: Sequence[Setting]) -> str:
    """Return the device on which most settings of known cost were measured; empty if none."""
    counts = Counter(s.device for s in settings if math.isfinite(s.seconds))
    return counts.most_common(1)[0][0] if counts else ""


def _check_varied(examples: _Examples) -> None:
    units = TARGETS[examples.target].units
    if not examples.y.size:
        raise SelectionError(f"the table has no {units} to learn from; widen the selection")
    if examples.y.min() == examples.y.max():
        value = TARGETS[examples.target].back(examples.y[:1])[0]
        raise SelectionError(
            f"all {examples.y.size} {units} to learn from are {value:.6g}: there is nothing to "
            "learn"
        )


def _places(
    table: Table, wanted: int | Sequence[int] | None, rng: np.random.Generator
) -> list[int]:
    known = len(table.architectures)
    if wanted is None:
        return list(range(known))
    if isinstance(wanted, int):
        if wanted < 1:
            raise SelectionError(f"at least 1 architecture is needed, found {wanted}")
        if wanted >= known:
            return list(range(known))
        return sorted(rng.choice(known, wanted, replace=False).tolist())
    places = sorted({int(place) for place in wanted})
    if not places or places[0] < 0 or places[-1] >= known:
        raise SelectionError(f"architectures must be places from 0 to {known - 1} of the table")
    return places


def _settings(table: Table, question: Question) -> list[Setting]:
    """Return the settings to learn from."""
    given = {_given_name(table, name) for name in question.given}
    if question.budgets is not None:
        chosen = [table.setting(label) for label in dict.fromkeys(question.budgets)]
        both = [s.label for s in chosen if s.label in given]
        if both:
            raise SelectionError(f"{both[0]} cannot be both given and predicted")
        return chosen
    dataset = question.dataset or table.dataset
    known = sorted({s.dataset for s in table.settings})
    if dataset not in known:
        raise unknown_name("data set", dataset, known)
    return [s for s in table.settings if s.dataset == dataset and s.label not in given]


def _split(table: Table, question: Question, settings: Sequence[Setting]) -> Split:
    if question.split is not None:
        return question.split
    may_steer = any((s.label, Split.VALIDATION) in table.curves for s in settings)
    return Split.VALIDATION if may_steer else Split.TEST


def _of_accuracy(
    table: Table, question: Question, places: list[int], settings: list[Setting]
) -> _Examples:
    split = _split(table, question, settings)
    notes = []
    if not split.may_steer:
        notes.append(
            f"fitted to {split} accuracies: architectures found with it were chosen on "
            f"{split} images"
        )
    without = [s.label for s in settings if (s.label, split) not in table.curves]
    if without and (question.budgets is not None or len(without) == len(settings)):
        table.curves_of(without[0], split)  # says what there is
    if without:
        notes.append(f"left out, because they have no {split} accuracies: {', '.join(without)}")
    settings = [s for s in settings if s.label not in without]
    rows = [table.accuracy(s.label, split)[places] for s in settings]
    accuracy = np.array(rows).reshape(len(settings), len(places))
    given = _given_accuracies(table, question.given, split, places)
    known = np.isfinite(accuracy) & np.isfinite(given).all(axis=1)
    if not known.all():
        notes.append(f"{int((~known).sum())} of {known.size} trainings are missing and left out")
    return _crossed(table, question, places, settings, accuracy, known, given, str(split), notes)


def _of_cost(
    table: Table, question: Question, places: list[int], settings: list[Setting]
) -> _Examples:
    measured = all(
        (s.label, "seconds") in table.measures for s in settings if math.isfinite(s.seconds)
    )
    if not measured:
        return _of_mean_cost(table, settings)
    with_costs = [s for s in settings if (s.label, "seconds") in table.measures]
    rows = [table.measure(s.label, "seconds")[places] for s in with_costs]
    seconds = np.array(rows).reshape(len(with_costs), len(places))
    known = np.isfinite(seconds) & (seconds > 0)
    none = np.zeros((len(places), 0))
    return _crossed(table, question, places, with_costs, seconds, known, none, "", [])


def _of_mean_cost(table: Table, settings: Sequence[Setting]) -> _Examples:
    """Return the settings' mean costs, for a table without costs of each network."""
    known = [s for s in settings if math.isfinite(s.seconds)]
    columns = _Columns(table.space, "", (), _varied(known), _other_devices(known))
    x = columns.of_budgets([s.budget for s in known], [s.device for s in known])
    y = TARGETS["cost"].learned(np.array([s.seconds for s in known]))
    places = np.arange(len(known))
    return _Examples("cost", columns, x, y, np.full(len(known), -1), places, tuple(known), "")


def _of_correlation(table: Table, question: Question) -> _Examples:
    wanted = Selection(
        dataset=question.dataset, split=question.split, labels=question.budgets, epochs="last"
    )
    report = correlate(table, wanted, statistic=question.statistic)
    rows = [row for row in report.rows if math.isfinite(row.correlation)]
    undefined = [row.label for row in report.rows if not math.isfinite(row.correlation)]
    notes = []
    if undefined:
        notes.append(f"left out, because their correlation is not defined: {', '.join(undefined)}")
    settings = tuple(table.setting(row.setting) for row in rows)
    columns = _Columns(table.space, "", (), _varied(settings))
    x = columns.of_budgets([s.budget for s in settings])
    y = np.array([row.correlation for row in rows])
    places = np.arange(len(rows))
    full = table.accuracy(report.reference, Split(report.reference_split))
    return _Examples(
        "correlation",
        columns,
        x,
        y,
        np.full(len(rows), -1),
        places,
        settings,
        report.split,
        tuple(notes),
        int(np.isfinite(full).sum()),
    )


def _crossed(
    table: Table,
    question: Question,
    places: list[int],
    settings: list[Setting],
    values: FloatArray,
    known: npt.NDArray[np.bool_],
    given: FloatArray,
    split: str,
    notes: list[str],
) -> _Examples:
    """Return a row per architecture and setting with a known value, (B, A)."""
    labels = tuple(_given_name(table, n) for n in question.given) if given.shape[1] else ()
    # What a network costs depends on the device, how good it gets does not.
    devices = _other_devices(settings) if question.target == "cost" else ()
    columns = _Columns(table.space, question.encoding, labels, _varied(settings), devices)
    chosen: list[Architecture] = [table.architectures[place] for place in places]
    of_architectures = columns.of_architectures(chosen, given)
    of_budgets = columns.of_budgets([s.budget for s in settings], [s.device for s in settings])
    budget, architecture = np.nonzero(known)
    return _Examples(
        question.target,
        columns,
        np.hstack([of_architectures[architecture], of_budgets[budget]]),
        TARGETS[question.target].learned(values[known]),
        np.array(places, dtype=np.int64)[architecture],
        budget,
        tuple(settings),
        split,
        tuple(notes),
    )


def _varied(settings: Sequence[Setting]) -> tuple[str, ...]:
    return BudgetSpace.of([s.budget for s in settings]).free if settings else ()


def _other_devices(settings: Sequence[Setting]) -> tuple[str, ...]:
    """Return the devices other than the one on which most settings were measured."""
    known = {s.device for s in settings if math.isfinite(s.seconds)}
    return tuple(sorted(known - {_usual_device(settings)}))
