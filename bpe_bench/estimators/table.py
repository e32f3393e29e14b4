"""Evaluations by a table: of its whole space, or of those architectures that it holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from ..budget import NAMED_BUDGETS, Budget, BudgetSpace, encode, parse_budget
from ..errors import LeakError, SelectionError, UnknownNameError
from ..hyper_parameters import HYPER_PARAMETERS, written
from ..randomness import settled
from ..spaces import AnyArchitecture, PartialSpace, SearchSpace, get_space, given_architecture
from ..tables.catalog import TableLike, given_table
from ..tables.curves import FloatArray, Split
from ..tables.table import Setting, Table
from .base import Evaluation, Outcome, Source

_SEEDS = ("mean", "random")
_MISSING = ("never", "failed")
_NEAREST = 3


class TableEstimator:
    """Looks up accuracy and cost under a cheap setting of a table.

    Parameters
    ----------
    table
        It may hold a part of its space, see ``missing``.
    budget
        The setting that is the signal: its label, ``LABEL@EPOCH`` for a recorded epoch,
        which costs its share of the setting's seconds, the name of a published budget, or
        hyper-parameters (``epochs=12,...``). By default the cheapest of the data set.
    dataset
        Data set of the signal; by default the table's.
    report_dataset
        Data set of the final figures; by default the same, or that of the table's only
        reference.
    seeds
        ``"mean"``: the mean over the recorded seeds; ``"random"``: one of them,
        drawn for each evaluation.
    split
        Split of the signal; by default validation. Test accuracies steer a search only if
        they are asked for here, and the notes then say so.
    missing
        ``"never"``: searches propose only architectures whose signal the table has, and the
        optimum is theirs. ``"failed"``: searches take place in the whole space, and an
        architecture whose signal is missing is a failed evaluation, which costs what is usual.

    Raises
    ------
    SelectionError
        If the table lacks the budget, every signal under it, or a reference to report by.
    LeakError
        If the setting has test accuracies only, and they are not asked for.
    """

    source: Source = "table"

    def __init__(
        self,
        table: TableLike,
        budget: str | None = None,
        *,
        dataset: str | None = None,
        report_dataset: str | None = None,
        seeds: str = "mean",
        split: Split | str | None = None,
        missing: str = "never",
    ) -> None:
        table, _ = given_table(table)
        for name, value, known in (("seeds", seeds, _SEEDS), ("missing", missing, _MISSING)):
            if value not in known:
                raise SelectionError(f"{name} must be one of {', '.join(known)}, found {value!r}")
        space, asked = get_space(table.space), None if split is None else Split.of(split)
        self.space, self.missing = space.name, missing
        self.dataset = dataset or table.dataset
        reference = _reference(table, self.dataset, report_dataset)
        self.report_dataset = reference.dataset
        self.full_seconds = _full_seconds(table, self.dataset)
        self.setting, epoch = _find_setting(table, budget, self.dataset, asked)
        self.budget = self.setting.budget
        self.budget_name = _name(table, self.setting.label, epoch)
        """Of the setting of the signal, with the name of the budget if it is a published one."""
        self.split = asked or _steering_split(table, self.setting.label)
        self._signal = _signal(table, self.setting.label, self.split, epoch, seeds, asked)
        self._seconds = table.seconds_of(self.setting.label, epoch)
        self._places = {a.genes: place for place, a in enumerate(table.architectures)}
        self._final = _final(table, reference)
        usable = np.asarray(np.isfinite(self._signal).any(axis=0))
        self.known = int(usable.sum())
        """Number of architectures whose signal the table has."""
        if not self.known:
            raise SelectionError(
                f"the table has no {self.split} accuracy of any architecture under "
                f"{self.setting.label!r}; take another budget"
            )
        self.is_exact = len(self._signal) == 1 and (missing == "never" or self.known == space.size)
        """Whether all that a search proposes has a signal, always the same."""
        self.search_space: SearchSpace = space
        self._can_be_found = np.full(len(usable), fill_value=True)
        if missing == "never" and self.known < space.size:
            self._can_be_found = usable
            held = itertools.compress(table.architectures, usable)
            self.search_space = PartialSpace(space, list(held))
        self.notes = tuple(_notes(self, epoch))

    def __reduce__(self) -> tuple[object, ...]:
        # As arrays to other processes: the table itself may be an open file.
        return _remade, (self.__dict__,)

    def expected_seconds(self, architecture: AnyArchitecture) -> float:
        """Return what the evaluation costs in the table."""
        place = self._place(architecture)
        return self._usual_seconds if place is None else float(self._seconds[place])

    def evaluate(self, architecture: AnyArchitecture, rng: np.random.Generator) -> Evaluation:
        """Look an architecture up; one whose accuracy is missing has failed."""
        place, cost = self._place(architecture), self.expected_seconds(architecture)
        values = self._signal[:, [] if place is None else place].ravel()
        if len(values) > 1:
            values = values[~np.isnan(values)]
        accuracy = values[0] if len(values) == 1 else _one_of(values, rng)
        if math.isnan(accuracy):
            return Evaluation(
                math.nan, cost, "table", "failed", f"missing under {self.setting.label}"
            )
        return Evaluation(float(accuracy), cost, "table")

    def outcome(self, architecture: AnyArchitecture) -> Outcome:
        """Return the accuracies of full training, means over seeds."""
        validation, test = self._final
        place = self._place(architecture)
        if place is None:
            return Outcome(math.nan, math.nan)
        return Outcome(float(validation[place]), float(test[place]))

    def optimum(self) -> Outcome:
        """Return the largest validation and test accuracy of what a search can find."""
        return Outcome(*(_largest(values[self._can_be_found]) for values in self._final))

    @cached_property
    def figures(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean signal, seconds and final accuracy of all architectures, each (A,).

        The final accuracy is that on validation images, or on test images if no other is known.
        """
        known = (~np.isnan(self._signal)).sum(axis=0)
        with np.errstate(invalid="ignore"):
            mean = np.nansum(self._signal, axis=0) / known  # NaN where there is none
        validation, test = self._final
        return mean, self._seconds, test if math.isnan(self.optimum().validation) else validation

    @cached_property
    def _usual_seconds(self) -> float:
        known = self._seconds[np.isfinite(self._seconds)]
        return float(known.mean()) if len(known) else math.nan

    def _place(self, architecture: AnyArchitecture) -> int | None:
        """Return the place of an architecture; None if it is missing and counts as failed."""
        if isinstance(architecture, int | np.integer):
            if not 0 <= architecture < len(self._seconds):
                raise SelectionError(
                    f"the table counts its {len(self._seconds)} architectures from 0, found "
                    f"{architecture}"
                )
            return int(architecture)
        architecture = given_architecture(architecture, self.space)
        place = self._places.get(architecture.genes)
        same = architecture.space == self.space
        if same and (place is not None or self.missing == "failed"):
            return place
        raise SelectionError(
            f"the table of {self.space} does not hold this architecture of "
            f"{architecture.space}: {architecture.genes[:12]}; take a table of the whole "
            "space, another searcher, or --estimator train"
        )


def _notes(estimator: TableEstimator, epoch: int | None) -> Iterator[str]:
    """Yield what a user of the estimator has to know."""
    if not estimator.split.may_steer:
        yield (
            f"{estimator.split} accuracies steered the search, as asked, so what it found looks "
            f"better on {estimator.split} images than it is"
        )
    if epoch is not None:
        yield f"evaluations stop after epoch {epoch} of {estimator.setting.budget.epochs}"


def _reference(table: Table, dataset: str, wanted: str | None) -> Setting:
    """Return full training to report by; the only one may be on another data set."""
    known = any(s.dataset == dataset for s in table.settings)
    if wanted is None and known and len(table.references) == 1:
        return table.setting(table.references[0])
    return table.reference(wanted or dataset)


def _name(table: Table, label: str, epoch: int | None) -> str:
    name = label if epoch is None else f"{label}@{epoch}"
    published = table.published_names().get(label)
    return f"{name} ({published})" if published else name


def _full_seconds(table: Table, dataset: str) -> float:
    full = [s for s in map(table.setting, table.references) if s.dataset == dataset]
    return full[0].seconds if full else math.nan


def _steering_split(table: Table, label: str) -> Split:
    return Split.VALIDATION if (label, Split.VALIDATION) in table.curves else Split.TEST


def _signal(
    table: Table, label: str, split: Split, epoch: int | None, seeds: str, asked: Split | None
) -> FloatArray:
    """Return what a search looks at, shape (seeds or 1, A)."""
    read = table.steering_accuracy if asked is None else table.accuracy
    mean = read(label, split, epoch=epoch)
    own = table.curves_of(label, split).accuracy(epoch=epoch) if seeds == "random" else mean[None]
    return own if len(own) else mean[None]


def _find_setting(
    table: Table, budget: str | None, dataset: str, asked: Split | None
) -> tuple[Setting, int | None]:
    """Return the setting and epoch of a table that a budget means; by default the cheapest.

    Raises
    ------
    SelectionError
        If the table has no such setting; the message names the nearest ones.
    """
    settings = [s for s in table.settings if s.dataset == dataset]
    steering = [s for s in settings if (s.label, asked or Split.VALIDATION) in table.curves]
    if budget is None and settings and not steering:
        splits = sorted({str(s) for setting in settings for s in table.splits(setting.label)})
        raise LeakError(
            f"the table has no {asked or Split.VALIDATION} accuracies on {dataset} to steer a "
            f"search by; there are: {', '.join(splits)}; name one with --split, which the report "
            "then says, or take another table"
        )
    if budget is None:
        known = [s for s in steering if math.isfinite(s.seconds)] or steering
        return min(known, key=lambda s: s.seconds), None
    try:
        found, epoch = table.setting_at(budget)
    except UnknownNameError:
        if "@" in budget:
            raise
        wanted = _wanted(budget, settings)
        for setting in settings:
            if setting.budget == wanted:
                return setting, None
        near = sorted(steering or settings, key=lambda s: _distance(s.budget, wanted))[:_NEAREST]
        names = ", ".join(f"{s.label} ({_differences(s.budget, wanted)})" for s in near)
        raise SelectionError(
            f"the table was not trained under budget {budget!r} on {dataset}; the nearest that it "
            f"has: {names}"
        ) from None
    if found.dataset != dataset:
        raise SelectionError(
            f"budget {budget!r} is of data set {found.dataset}, the search is on {dataset}; there "
            f"are: {', '.join(s.label for s in settings)}"
        )
    return found, epoch


def _wanted(budget: str, settings: list[Setting]) -> Budget:
    try:
        return parse_budget(budget)
    except UnknownNameError:
        if "=" in budget:
            raise  # it says which of the parts is unknown
        names = [*NAMED_BUDGETS, *(s.label for s in settings)]
        raise SelectionError(
            f"unknown budget {budget!r}; there are: {', '.join(names)}; or give name=value,..."
        ) from None


def _distance(budget: Budget, wanted: Budget) -> float:
    """Return how far apart two budgets are: by hyper-parameter, factors on a logarithmic scale.

    What is unknown of one of them does not count.
    """
    unknown = BudgetSpace.of([budget, wanted]).unknown
    known = [name for name in HYPER_PARAMETERS if name not in unknown]
    ours, theirs = (np.log2(1 + row) for row in encode([budget, wanted], known))
    return settled(float(np.abs(ours - theirs).sum()))


def _differences(budget: Budget, wanted: Budget) -> str:
    pairs = zip(budget.to_dict().items(), wanted.to_dict().values(), strict=True)
    return ", ".join(f"{name}={written(value)}" for (name, value), other in pairs if value != other)


def _final(table: Table, reference: Setting) -> tuple[FloatArray, FloatArray]:
    """Return validation and test accuracy of full training, means over seeds, each (A,)."""
    missing = np.full(len(table.architectures), np.nan)
    validation = missing
    if (reference.label, Split.VALIDATION) in table.curves:
        validation = table.accuracy(reference.label, Split.VALIDATION)
    # The test accuracy may be that of a training on more images: NAS-Bench-201 trains on all
    # of CIFAR-10 for it.
    tested = [
        s
        for s in table.settings
        if s.dataset == reference.dataset
        and s.budget.replace(data_fraction=1.0) == reference.budget.replace(data_fraction=1.0)
        and (s.label, Split.TEST) in table.curves
    ]
    if not tested:
        return validation, missing
    label = max(
        tested, key=lambda s: (s.budget.data_fraction or 0, s.label == reference.label)
    ).label
    return validation, table.accuracy(label, Split.TEST)


def _one_of(values: FloatArray, rng: np.random.Generator) -> float:
    return float(values[int(rng.integers(len(values)))]) if len(values) else math.nan


def _largest(values: FloatArray) -> float:
    return math.nan if np.isnan(values).all() else float(np.nanmax(values))


def _remade(state: dict[str, object]) -> TableEstimator:
    made = TableEstimator.__new__(TableEstimator)
    made.__dict__.update(state)
    return made
