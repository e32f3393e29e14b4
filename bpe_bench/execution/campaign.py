"""A campaign: the trials to run, their expected cost, and running them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..budget import BPE_1, Budget
from ..correlation.correlating import correlate
from ..correlation.prediction import CostModel
from ..correlation.selection import Selection
from ..errors import BpeBenchError, JournalError, SelectionError, duration
from ..processes import pack
from ..spaces import Architecture, get_space
from ..tables.catalog import entries, open_table, open_table_of
from ..training.images.data import load_images
from ..training.own_trainer import AnyTrainer, OwnTrainer
from ..training.trial import Protocol, Trial
from . import OWN_TASK, TRAINING_TASK, Executor, Progress, run_local
from .journal import Journal
from .readiness import check_ready, check_space

_LARGEST_SAMPLE = 1_000_000
_STALE_AFTER = 20.0
"""Seconds without a heartbeat after which a worker counts as dead; it sends five in that time."""
_RANGE = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")
_DIGITS_BUDGETS = (
    "epochs=2,batch_size=64,learning_rate=0.05,layers={layers},channels=4,image_size=8",
    "epochs=7,batch_size=64,learning_rate=0.05,layers={layers},channels=8,image_size=8",
)
_FEWEST_FOR_COSTS = 8
"""A table needs so many settings to show how cost grows."""


@dataclass(frozen=True)
class Status:
    """Progress of a journal's trials."""

    store: str
    counts: dict[str, int]
    """Trials by state."""
    device_seconds: float
    """Device seconds of the epochs recorded."""
    estimated_seconds_left: float | None
    """Expected device seconds of the remaining trials; None if unknown."""
    failures: tuple[str, ...]
    """What went wrong, a line per failed trial."""

    @property
    def answer(self) -> str:
        """Say how far the trainings are, and what to do next."""
        done, store = self.counts["done"], shlex.quote(self.store)
        unsuccessful = self.counts["failed"] + self.counts["diverged"]
        waiting = self.counts["planned"] + self.counts["running"]
        total = done + unsuccessful + waiting
        if not total:
            return "No trainings are planned in this store; plan some with: bpe-bench train"
        said = f"{done} of {total} trainings are done"
        if unsuccessful:
            said += (
                f", {unsuccessful} failed or diverged; start them over with: bpe-bench train retry "
                f"--store {store}"
            )
        if waiting:
            left = self.estimated_seconds_left
            rest = f", about {duration(left)} of device time" if left else ""
            return f"{said}; {waiting} are left{rest}: `bpe-bench train` as it was called goes on."
        if not done:
            return f"{said}."
        return f"{said}; make a table of them with: bpe-bench tables import journal {store} -o FILE"

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        values = dataclasses.asdict(self)
        return {**values.pop("counts"), **values, "failures": list(self.failures)}


def choose_architectures(
    text: str, space: str, rng: np.random.Generator
) -> tuple[Architecture, ...]:
    """Return the architectures that a text names.

    Parameters
    ----------
    text
        ``TABLE:0-19`` or ``TABLE:3`` (places in a table), ``sample:N`` (drawn from
        the space), or the path of a file with one architecture per line.
    space
        The search space.
    rng
        Draws the sample.

    Raises
    ------
    SelectionError
        If the text names no architectures, or those of another space.
    GenotypeError
        For a malformed line of a file, with its number.
    """
    name, colon, places = text.rpartition(":")
    if colon and name == "sample":
        if not places.isdigit() or not 1 <= int(places) <= _LARGEST_SAMPLE:
            raise SelectionError(
                f"sample:N wants a number of at least 1 and at most {_LARGEST_SAMPLE}, found "
                f"{places!r}"
            )
        return tuple(get_space(space).sample(rng) for _ in range(int(places)))
    if colon and (found := _RANGE.fullmatch(places)):
        table = open_table(name)
        if table.space != space:
            raise SelectionError(f"table {name!r} is of space {table.space!r}, not of {space!r}")
        first = int(found["first"])
        last = int(found["last"] or first)
        if not first <= last < len(table.architectures):
            raise SelectionError(
                f"table {name!r} has architectures 0-{len(table.architectures) - 1}, found "
                f"{places!r}"
            )
        return tuple(table.architectures[place] for place in range(first, last + 1))
    return _from_file(Path(text), space)


def _from_file(path: Path, space: str) -> tuple[Architecture, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SelectionError(
            "give architectures as TABLE:0-19, sample:N or a file with one per line; "
            f"{str(path)!r} is "
            "none of these"
        ) from error
    chosen = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            try:
                chosen.append(get_space(space).parse(line.strip()))
            except BpeBenchError as error:
                raise type(error)(f"{path}, line {number}: {error}") from error
    if not chosen:
        raise SelectionError(f"{path} names no architecture")
    return tuple(chosen)


def make_trials(
    architectures: Sequence[Architecture],
    budgets: Sequence[Budget],
    *,
    dataset: str = "",
    seeds: Sequence[int] = (0,),
    protocol: Protocol = "split",
    trainer: AnyTrainer | None = None,
) -> list[Trial]:
    """Return a trial for every budget, seed and architecture, in the order of the budgets.

    Parameters
    ----------
    architectures, budgets, seeds, protocol
        What to combine; see `Trial`.
    dataset
        Name of the images; by default that of the trainer, or the digits.
    trainer
        One's own trainer, if it is to train them; as for `run_campaign`.
    """
    own = None if trainer is None else OwnTrainer.of(trainer)
    dataset = dataset or (own.dataset if own else dataset_name(None))
    name = own.name if own else ""
    return [
        Trial(architecture, budget, dataset, seed, protocol, trainer=name)
        for budget, seed, architecture in itertools.product(budgets, seeds, architectures)
    ]


def default_budgets(space: str, source: str | Path | None) -> tuple[str, ...]:
    """Return the default budgets of trainings as text: two small ones on the digits.

    The first is cheap, the second is the reference. On other images it is BPE-1.
    """
    known = get_space(space)
    layers = known.default_layers
    if source not in (None, "digits"):
        return ("BPE-1" if BPE_1.layers in known.layers_to_vary else f"BPE-1,layers={layers}",)
    return tuple(text.format(layers=layers) for text in _DIGITS_BUDGETS)


def dataset_name(source: str | Path | None) -> str:
    """Load the images of a source and return their name."""
    return load_images(source).name


@dataclass(frozen=True)
class Expected:
    """Expected cost of the trainings of one budget."""

    budget: Budget
    dataset: str
    trainings: int
    seconds_each: float
    """Device seconds; NaN if unknown."""
    device: str
    """Device of the seconds; empty if unknown."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; unknown seconds are null."""
        known = math.isfinite(self.seconds_each)
        return {
            "budget": str(self.budget),
            "dataset": self.dataset,
            "trainings": self.trainings,
            "predicted_seconds_each": self.seconds_each if known else None,
            "predicted_seconds": self.seconds_each * self.trainings if known else None,
            "device": self.device,
        }


def expected_costs(trials: Sequence[Trial]) -> list[Expected]:
    """Return the expected cost of trials on one data set by budget, from their space's table.

    Unknown on other images than the table's, by one's own trainer, or if fewer than 8 of its
    settings have costs.
    """
    budgets = list(dict.fromkeys(trial.budget for trial in trials))
    seconds, device = [math.nan] * len(budgets), ""
    space, dataset = trials[0].architecture.space, trials[0].dataset
    table = open_table_of(space)[1] if any(e.space == space for e in entries().values()) else None
    recipe = not any(trial.trainer for trial in trials)
    if recipe and table is not None and dataset.startswith(table.dataset):
        report = correlate(table, Selection(epochs="last"))
        rows = [row for row in report.rows if row.cost_seconds > 0]
        if len(rows) >= _FEWEST_FOR_COSTS:
            model = CostModel.fit(rows)
            seconds, device = [cost.amount for cost in model.costs(budgets)], model.device
    return [
        Expected(budget, dataset, sum(t.budget == budget for t in trials), each, device)
        for budget, each in zip(budgets, seconds, strict=True)
    ]


def run_campaign(
    store: str | Path,
    trials: Sequence[Trial],
    *,
    source: str | Path | None = None,
    device: str = "cpu",
    jobs: int | None = None,
    executor: Executor = run_local,
    trainer: AnyTrainer | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Status:
    """Plan trials in a journal and run all planned trials.

    Finished trials are not run again; interrupted ones continue from their last epoch.

    Parameters
    ----------
    store
        The journal's file; made if it is not there.
    trials
        The trials to run.
    source
        Path of the images (see `bpe_bench.training.images.data.load_images`).
    device
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    jobs
        Trainings at a time: by default one per core on a CPU, four on a GPU.
    executor
        The executor.
    trainer
        One's own trainer (`bpe_bench.training.own_trainer`): a function, or a text to import it
        by. It brings its images and device.
    on_progress, stop
        As for `bpe_bench.execution.Executor`.

    Raises
    ------
    JournalError
        If the store cannot be used, its disk has too little room, or it has planned trainings
        of another trainer.
    OptionalDependencyError, TrainingError
        If torch is not installed, or there is no such device.
    ExecutionError
        If workers cannot be started, or one's own trainer cannot be sent to them.
    """
    options: dict[str, Any] = {"source": source, "device": device, "threads": 1}
    task = TRAINING_TASK
    own = None if trainer is None else OwnTrainer.of(trainer)
    name = "" if own is None else own.name
    if any(trial.trainer != name for trial in trials):
        raise SelectionError(
            f"the trials are for {trials[0].trainer or 'bpe-bench'}, found as trainer "
            f"{name or 'none'}; give the same to make_trials and to run_campaign"
        )
    if own is not None:
        task, options = OWN_TASK, {"trainer": own, "threads": 1}
        pack(own)  # fails before anything is planned
    jobs = jobs or default_jobs(device)
    check_ready(store, device if own is None else None)
    if own is None:
        check_space(store, trials, jobs)
    with Journal(store) as journal:
        _check_waiting(journal, name)
        journal.add(trials)
    executor(
        Path(store),
        task,
        options,
        jobs=jobs,
        stale_after=_STALE_AFTER,
        on_progress=on_progress,
        stop=stop,
    )
    return status_of(store)


def _check_waiting(journal: Journal, name: str) -> None:
    """Refuse a store with unfinished trials of another trainer than the named, which would run."""
    waiting = (entry.trial.trainer for entry in journal.entries(("planned", "running")))
    if foreign := [trainer or "bpe-bench" for trainer in waiting if trainer != name]:
        raise JournalError(
            f"the store {journal.path} has {len(foreign)} unfinished trainings by "
            f"{' and '.join(sorted(set(foreign)))}, not by {name or 'bpe-bench'}; finish them by "
            "their own trainer (--trainer), or give another file with --store"
        )


def default_jobs(device: str) -> int:
    """Return how many trainings to run at a time on a device."""
    return (os.cpu_count() or 1) if device == "cpu" else 4


def status_of(store: str | Path) -> Status:
    """Return the progress of a journal's trials.

    Raises
    ------
    JournalError
        If there is no journal, or it cannot be read.
    """
    with Journal(store, read_only=True) as journal:
        failures = [
            f"{entry.trial.id[:12]} ({entry.state}): {entry.message}"
            for entry in journal.entries(("failed",))
        ]
        return Status(
            store=str(store),
            counts={str(state): count for state, count in journal.counts().items()},
            device_seconds=journal.device_seconds(),
            estimated_seconds_left=journal.estimate_left(),
            failures=tuple(failures),
        )
