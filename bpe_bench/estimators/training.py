"""Evaluations by real training, through the journal: nothing is trained twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..budget import Budget
from ..execution import OWN_TASK, TRAINING_TASK, run_trial
from ..execution.campaign import dataset_name, make_trials
from ..execution.journal import FINAL_STATES, Journal, JournalEntry
from ..spaces import AnyArchitecture, given_architecture
from ..tables.curves import Split
from ..training.own_trainer import AnyTrainer, OwnTrainer
from ..training.trial import Trial
from .base import Evaluation, Outcome, Source, State


@dataclass(frozen=True)
class ProxyEstimator:
    """Trains an architecture under a budget and takes its last validation accuracy.

    The cost is what the training took on the device, read from the journal: a
    search that is run again on the same journal sees the same clock.
    """

    space: str
    """Name of the search space."""
    budget: Budget
    store: str | Path
    """The journal's file; made if it is not there."""
    dataset: str = ""
    """Name of the images (`bpe_bench.execution.campaign.dataset_name`); by default that of one's
    own trainer, or the digits."""
    images: str | Path | None = None
    """Folder of the images; None for the bundled digits."""
    device: str = "cpu"
    seed: int = 0
    """Seed of the trainings: weights, batches, augmentation."""
    trainer: AnyTrainer | None = None
    """One's own trainer, if it is to train (`bpe_bench.training.own_trainer`)."""
    task: str = TRAINING_TASK
    stale_after: float = 60.0
    """Seconds without a heartbeat after which a trial's worker counts as dead."""

    source: Source = "training"
    full_seconds: float = math.nan
    """Mean device seconds of full training, if known."""

    def __post_init__(self) -> None:
        if self.trainer is not None:
            own = OwnTrainer.of(self.trainer)
            object.__setattr__(self, "trainer", own)
            object.__setattr__(self, "dataset", self.dataset or own.dataset)
        object.__setattr__(self, "dataset", self.dataset or dataset_name(None))

    @property
    def report_dataset(self) -> str:
        """Name of the data set, the same for signal and report."""
        return self.dataset

    def expected_seconds(self, architecture: AnyArchitecture) -> float:
        """Return the seconds of this training, or of similar ones; NaN if there are none."""
        trial = self._trial(architecture)
        with Journal(self.store) as journal:
            entry = journal.find(trial)
            if entry is not None and entry.state in FINAL_STATES:
                return _seconds(entry)
            expected = journal.expected_seconds(trial)
        return math.nan if expected is None else expected

    def evaluate(self, architecture: AnyArchitecture, rng: np.random.Generator) -> Evaluation:
        """Train an architecture, or read its training from the journal."""
        entry = self._entry(architecture)
        if entry.state == "done":
            return Evaluation(_accuracy(entry, Split.VALIDATION), _seconds(entry), "training")
        state: State = "diverged" if entry.state == "diverged" else "failed"
        return Evaluation(math.nan, _seconds(entry), "training", state, entry.message)

    def outcome(self, architecture: AnyArchitecture) -> Outcome:
        """Return accuracies after the last epoch under the budget; test is looked at only here."""
        entry = self._entry(architecture)
        if entry.state != "done":
            return Outcome(math.nan, math.nan)
        return Outcome(_accuracy(entry, Split.VALIDATION), _accuracy(entry, Split.TEST))

    def optimum(self) -> None:
        """Return None: nobody has trained the whole space."""

    def _entry(self, architecture: AnyArchitecture) -> JournalEntry:
        options: dict[str, Any] = {"source": self.images, "device": self.device, "threads": 1}
        task = self.task
        if self.trainer is not None:
            task, options = OWN_TASK, {"trainer": self.trainer}
        trial = self._trial(architecture)
        return run_trial(self.store, trial, task, options, stale_after=self.stale_after)

    def _trial(self, architecture: AnyArchitecture) -> Trial:
        (trial,) = make_trials(
            [given_architecture(architecture, self.space)],
            [self.budget],
            dataset=self.dataset,
            seeds=[self.seed],
            trainer=self.trainer,
        )
        return trial


def _accuracy(entry: JournalEntry, split: Split) -> float:
    result = entry.records[-1].results.get(split)
    return math.nan if result is None else result.correct / result.size


def _seconds(entry: JournalEntry) -> float:
    return sum(record.seconds for record in entry.records)
