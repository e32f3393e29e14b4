"""Real training as the source of correlations: settings are trained when they are needed."""

from __future__ import annotations

import math
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..budget import Budget, BudgetSpace
from ..correlation.candidates import Candidate, Cost, Measured, Ranked
from ..correlation.correlating import correlate
from ..correlation.evidence import Design, Evidence
from ..correlation.holdout import HalfCorrelations
from ..correlation.prediction import CostModel
from ..correlation.selection import Selection
from ..errors import JournalError, MissingReferenceError, RankingError, SelectionError
from ..execution import Executor, Progress, run_local
from ..execution.campaign import make_trials, run_campaign
from ..execution.journal import FINAL_STATES, Journal, JournalEntry
from ..execution.journal_table import read
from ..inference import FloatArray
from ..randomness import settled
from ..spaces import Architecture
from ..tables.curves import Split
from ..tables.table import Table
from ..training.own_trainer import OwnTrainer
from ..training.trial import Trial
from .answers import brief
from .objective import ObjectiveKind, _check_varied, _describe, _halves_of, _usable_row

_MOST_SETTINGS = 512
"""So many settings of a space can be evaluated; of a larger space, a random sample."""
_FEWEST_ARCHITECTURES = 3
_WEIGHED = 3
"""The multiply-adds of so many architectures are averaged."""

Watch = Callable[[str], AbstractContextManager[Callable[[float], None]]]
"""Shows the progress of a step: called with its name, it gives a function to call with the
share that is done."""


@contextmanager
def _unwatched(_: str) -> Iterator[Callable[[float], None]]:
    """Show no progress."""
    yield lambda share: None


@dataclass(frozen=True)
class _Workplace:
    """Where networks are trained, and on which images."""

    store: str | Path
    """The store, made if it does not exist. Finished trainings in it are not repeated."""
    dataset: str
    """Name of the images (`bpe_bench.execution.campaign.dataset_name`)."""
    source: str | Path | None = None
    """Path of the images; None for the bundled digits."""
    device: str = "cpu"
    jobs: int | None = None
    """Trainings at a time (`bpe_bench.execution.campaign.run_campaign`)."""
    trainer: OwnTrainer | None = None
    """One's own trainer, if it is to train."""
    executor: Executor = run_local
    seed: int = 0
    """Seed of the trainings."""


@dataclass
class Trained:
    """Trains a set of architectures under the settings that pruning needs, through the journal.

    The seed and the results of whole rounds decide what comes next, so the same command continues.

    Raises
    ------
    SelectionError
        For fewer than 3 architectures, a space with nothing to vary, or an allowance that
        is not above 0.
    """

    settings: BudgetSpace
    """The budgets that can be evaluated."""
    reference: Budget
    """The budget that counts as full training."""
    architectures: Sequence[Architecture]
    """The architectures to rank, all of one space."""
    workplace: _Workplace
    rng: np.random.Generator
    """Draws the settings of a space that is too large to list."""
    statistic: str = "spearman"
    confidence: float = 0.95
    max_device_hours: float = math.inf
    """Training ends when the store holds so many device hours."""
    watch: Watch = _unwatched
    notes: list[str] = field(default_factory=list)
    stopped: str = ""
    kind: ObjectiveKind = "train"
    predicts_beyond: bool = False
    known: Evidence = field(default_factory=lambda: Evidence(()))
    _table: Table | None = None
    _asked: list[Budget] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.architectures = tuple(dict.fromkeys(self.architectures))
        if len(self.architectures) < _FEWEST_ARCHITECTURES:
            raise SelectionError(
                f"a rank correlation needs at least {_FEWEST_ARCHITECTURES} different "
                f"architectures, found {len(self.architectures)}; name more with --architectures"
            )
        if not self.max_device_hours > 0:
            raise SelectionError(
                f"the allowance must be above 0 device hours, found {self.max_device_hours:g}"
            )
        _check_varied(self.pool)

    @property
    def space(self) -> str:
        """Name of the search space."""
        return self.architectures[0].space

    @property
    def name(self) -> str:
        """Name of the store."""
        return Path(self.workplace.store).name

    @property
    def choices(self) -> Mapping[str, Any]:
        """Images, device or trainer, reference of the trainings, and the values that vary."""
        place = self.workplace
        by = {"trainer": place.trainer.name} if place.trainer else {"device": place.device}
        return {
            "dataset": self.workplace.dataset,
            "split": Split.VALIDATION.value,
            "reference": brief(self.reference),
            "architectures": len(self.architectures),
            **by,
            "max_device_hours": most if math.isfinite(most := self.max_device_hours) else None,
            "vary": {name: list(self.settings.values[name]) for name in self.settings.free},
        }

    @cached_property
    def pool(self) -> Design:
        """The settings of the space, with costs in multiply-adds, or relative ones."""
        budgets = self.settings.select(_MOST_SETTINGS, self.rng)
        budgets = [budget for budget in budgets if budget != self.reference]
        costs = self._work(budgets)
        return Design(
            tuple(
                Candidate(label=_describe(budget, self.settings.free), budget=budget, cost=cost)
                for budget, cost in zip(budgets, costs, strict=True)
            )
        )

    @property
    def costs(self) -> CostModel:
        """The cost model of the settings.

        In seconds once enough settings were measured; before that in proportion to
        multiply-adds, and in multiply-adds before the first measurement.
        """
        if len(self.known.rows) >= 2 * (len(self.pool.varied) + 1):
            return CostModel.fit(self.known.rows)
        planned = CostModel.fit(self.pool.rows)
        if not self.known.rows:
            return planned
        ratios = [np.log(r.cost_seconds / self._expected[r.budget]) for r in self.known.rows]
        shift = np.zeros(len(planned.coefficients))
        shift[0] = settled(float(np.mean(ratios)))
        like = Cost(device=self.known.rows[0].device)
        return replace(planned, coefficients=planned.coefficients + shift, like=like)

    def evaluate(self, rows: Sequence[Candidate]) -> list[Ranked]:
        """Train settings on all architectures, as far as the allowance goes.

        Raises
        ------
        MissingReferenceError
            If the allowance ends before all architectures have their reference.
        """
        if self._table is None:
            self._check_store()
            self._train([self.reference], "the reference")
            if not self._finished(self.reference):
                raise MissingReferenceError(
                    f"the allowance of {self.max_device_hours:g} device hours ends before all "
                    f"{len(self.architectures)} architectures have their reference "
                    f"({self.reference}); the same command with a larger --max-device-hours "
                    "continues"
                )
            trained = sum(e.state == "done" for e in self._entries([self.reference]))
            if trained < _FEWEST_ARCHITECTURES:
                raise MissingReferenceError(
                    f"{trained} of {len(self.architectures)} architectures could be trained under "
                    f"the reference ({self.reference}), at least {_FEWEST_ARCHITECTURES} are "
                    f"needed; the reasons: bpe-bench train status --store "
                    f"{shlex.quote(str(self.workplace.store))}"
                )
        affordable = self._affordable(rows)
        if affordable:
            self._train([row.budget for row in affordable], f"{len(affordable)} settings")
        finished = [row for row in affordable if self._finished(row.budget)]
        if len(finished) < len(rows):
            self.stopped = (
                f"the allowance of {self.max_device_hours:g} device hours is used up; the same "
                "command with a larger one continues"
            )
        self._asked += [row.budget for row in finished]
        return self._correlated(finished)

    @property
    def precedents(self) -> Sequence[Budget]:
        """The reference, whose values count as the common ones."""
        return [self.reference]

    def draw(self, evidence: Evidence, resamples: int, rng: np.random.Generator) -> FloatArray:
        """Draw correlations as other architectures might have given them."""
        return evidence.draw(resamples, rng)

    def offers(self, space: BudgetSpace, rng: np.random.Generator) -> Sequence[Ranked]:
        """Return all settings that were trained."""
        return self.known.rows

    def hours(self, rows: Sequence[Candidate]) -> float:
        """Return the device hours of all completely trained settings and of the reference."""
        return self._seconds([self.reference, *self._asked]) / 3600

    def halves(self, rng: np.random.Generator) -> HalfCorrelations | None:
        """Return correlations on halves of the architectures; None if too few were trained."""
        if self._table is None or not self.known.rows:
            return None
        truth = self._table.accuracy(self._table.reference().label, Split.VALIDATION)
        return _halves_of(self._table, self.known.rows, truth, self.statistic, rng)

    # What is trained, and what it took

    def _trials(self, budgets: Sequence[Budget]) -> list[Trial]:
        return make_trials(
            self.architectures,
            budgets,
            dataset=self.workplace.dataset,
            seeds=(self.workplace.seed,),
            trainer=self.workplace.trainer,
        )

    def _check_store(self) -> None:
        """Raise `JournalError` if the store has other planned trials, which would run, too."""
        own = {t.id for t in self._trials([self.reference, *self.pool.budgets])}
        with Journal(self.workplace.store) as journal:
            planned = [entry.trial.id for entry in journal.entries(("planned", "running"))]
        foreign = sum(identity not in own for identity in planned)
        if foreign:
            store = self.workplace.store
            raise JournalError(
                f"the store {store} has {foreign} unfinished trainings that are not "
                "of this pruning, and would be trained at its expense; finish them with: bpe-bench "
                f"train --store {shlex.quote(str(store))}, or give another file with --store"
            )

    def _train(self, budgets: Sequence[Budget], what: str) -> None:
        if all(map(self._finished, budgets)) or self._spent() >= self.max_device_hours * 3600:
            return
        place, trials = self.workplace, self._trials(budgets)
        epochs = sum(trial.budget.epochs for trial in trials)
        stop, before = threading.Event(), self._epochs()
        with self.watch(f"training {what} x {len(self.architectures)} networks") as told:

            def watched(now: Progress) -> None:
                told(min(1.0, (now.epochs - before) / epochs))
                if now.device_seconds >= self.max_device_hours * 3600:
                    stop.set()

            run_campaign(
                place.store, trials, source=place.source, device=place.device, jobs=place.jobs,
                executor=place.executor, trainer=place.trainer, on_progress=watched, stop=stop,
            )  # fmt: skip

    def _affordable(self, rows: Sequence[Candidate]) -> list[Candidate]:
        """Return the settings that the rest of the allowance should pay for, in order."""
        left = self.max_device_hours * 3600 - self._spent()
        seconds_per_unit = self._rate()
        chosen = []
        for row in rows:
            whole = self._expected[row.budget] * seconds_per_unit * len(self.architectures)
            rest = max(0.0, whole - self._seconds([row.budget]))  # what was begun is paid for
            if self._finished(row.budget):
                chosen.append(row)
            elif rest <= left:
                left -= rest
                chosen.append(row)
        return chosen

    @cached_property
    def _expected(self) -> dict[Budget, float]:
        """Multiply-adds per network under the reference and every setting."""
        (full,) = self._work([self.reference])
        return {self.reference: full.amount, **{r.budget: r.cost.amount for r in self.pool.rows}}

    def _work(self, budgets: Sequence[Budget]) -> list[Cost]:
        """Return the relative work of training under B budgets."""
        if self.workplace.trainer is None:
            return _multiply_adds(budgets, self.architectures)
        return [Cost(_relative_work(budget), "relative") for budget in budgets]

    def _rate(self) -> float:
        """Return device seconds per unit of work, measured on completely trained settings."""
        done = [self.reference, *self._asked]
        units = sum(self._expected[budget] for budget in done) * len(self.architectures)
        return self._seconds(done) / units

    def _seconds(self, budgets: Sequence[Budget]) -> float:
        return sum(record.seconds for e in self._entries(budgets) for record in e.records)

    def _entries(self, budgets: Sequence[Budget]) -> list[JournalEntry]:
        with Journal(self.workplace.store) as journal:
            found = [journal.find(trial) for trial in self._trials(budgets)]
        return [entry for entry in found if entry is not None]

    def _finished(self, budget: Budget) -> bool:
        entries = self._entries([budget])
        ended = sum(entry.state in FINAL_STATES for entry in entries)
        return ended == len(self.architectures)

    def _spent(self) -> float:
        with Journal(self.workplace.store) as journal:
            return journal.device_seconds()

    def _epochs(self) -> int:
        with Journal(self.workplace.store) as journal:
            return journal.epochs_recorded()

    # What it says

    def _correlated(self, asked: Sequence[Candidate]) -> list[Ranked]:
        """Read the journal, and return the given settings that have a correlation."""
        trials = self._trials([self.reference, *self._asked])
        table = read(self.workplace.store, lambda share: None, {trial.id for trial in trials})
        labels = {setting.budget: setting.label for setting in table.settings}
        self._table = table = table.with_reference(labels[self.reference])
        self.notes += [caveat for caveat in table.caveats if caveat not in self.notes]
        ranking = [labels[b] for b in self._asked if self._ranks(table, labels.get(b))]
        rows: Sequence[Measured] = ()
        if ranking:
            wanted = Selection(split=Split.VALIDATION, labels=ranking, epochs="last")
            rows = correlate(
                table, wanted, statistic=self.statistic, confidence=self.confidence
            ).rows
        names = {row.budget: row.label for row in self.pool.rows}
        found = {r.budget: replace(r, label=names[r.budget]) for r in rows if _usable_row(r)}
        self.known = Evidence(tuple(found[b] for b in self._asked if b in found))
        new = [row.budget for row in asked]
        self.notes += [
            f"{names[budget]} has no correlation, because its networks are all equally good or "
            "were not trained to the end; it is left out"
            for budget in new
            if budget not in found
        ]
        return [found[budget] for budget in new if budget in found]

    def _ranks(self, table: Table, label: str | None) -> bool:
        """Return whether enough networks of a setting were trained to the end and differ."""
        truth = table.accuracy(table.reference().label, Split.VALIDATION)
        if len(set(truth[np.isfinite(truth)])) < 2:
            raise RankingError(
                f"all networks are equally good under the reference ({self.reference}), so there "
                "is no ranking to compare with; train it longer (--reference)"
            )
        if label is None:
            return False
        own = table.accuracy(label, Split.VALIDATION)[np.isfinite(truth)]
        known = own[np.isfinite(own)]
        return known.size >= _FEWEST_ARCHITECTURES and len(set(known)) > 1


def _relative_work(budget: Budget) -> float:
    """Return how work grows under an unknown trainer; it only orders what has no cost yet."""
    shape = (budget.layers, budget.channels, budget.channels, budget.image_size, budget.image_size)
    known = [float(value) for value in shape if value is not None]
    return budget.epochs * (budget.data_fraction or 1.0) * math.prod(known)


def _multiply_adds(budgets: Sequence[Budget], architectures: Sequence[Architecture]) -> list[Cost]:
    """Return the relative work of training under B budgets.

    Multiply-adds per image times epochs times the share of the images.
    """
    from ..training.networks.network import flops_of

    shapes: dict[tuple[int, int, int], float] = {}
    found = []
    for budget in budgets:
        shape = (budget.layers, budget.channels, budget.image_size)
        if shape not in shapes:
            chosen = architectures[:_WEIGHED]
            shapes[shape] = float(np.mean([flops_of(a, budget) for a in chosen]))
        amount = shapes[shape] * budget.epochs * budget.data_fraction
        found.append(Cost(amount, "multiply-adds"))
    return found
