"""A campaign of trainings: which trials, what they will cost, and running them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..budget import Budget
from ..correlation.prediction import CostModel
from ..correlation.report import correlate
from ..errors import BpeBenchError, SelectionError
from ..spaces import Architecture, get_space
from ..tables.catalog import open_table
from ..tables.table import Table
from ..training.images.data import load_images
from ..training.trial import Protocol, Trial
from . import TRAINING_TASK, Progress, get_executor
from .journal import Journal

_STALE_AFTER = 20.0
"""Seconds without a heartbeat after which a worker counts as dead; it beats five times in them."""
_RANGE = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")
_FEWEST_FOR_COSTS = 8
"""Settings below which a table says too little about how cost grows."""


@dataclass(frozen=True)
class Status:
    """How far a journal's trials are."""

    store: str
    counts: dict[str, int]
    """Trials by state."""
    device_seconds: float
    """Device seconds of the epochs recorded."""
    estimated_seconds_left: float | None
    """Device seconds that the rest needs, by what was recorded; None if nothing tells."""
    failures: tuple[str, ...]
    """What went wrong, a line per failed trial."""

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
        If the text names nothing, or architectures of another space.
    GenotypeError
        For a malformed line of a file, with its number.
    """
    name, colon, places = text.rpartition(":")
    if colon and name == "sample":
        if not places.isdigit() or int(places) < 1:
            raise SelectionError(f"sample:N wants a number of at least 1, found {places!r}")
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
            f"architectures are TABLE:0-19, sample:N or a file of one per line; {str(path)!r} is "
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
    dataset: str,
    seeds: Sequence[int] = (0,),
    protocol: Protocol = "split",
) -> list[Trial]:
    """Return a trial for every budget, seed and architecture, cheap budgets as they come."""
    return [
        Trial(architecture, budget, dataset, seed, protocol)
        for budget, seed, architecture in itertools.product(budgets, seeds, architectures)
    ]


def dataset_name(source: str | None) -> str:
    """Return what the images of a source are called, loading them."""
    return load_images(source).name


def predict_costs(budgets: Sequence[Budget], table: Table) -> tuple[list[float], str]:
    """Return device seconds per training as a table's costs suggest, and the device.

    NaN where the table has too few settings of known cost to tell.
    """
    rows = [row for row in correlate(table, epochs="last").rows if row.cost_seconds > 0]
    if len(rows) < _FEWEST_FOR_COSTS:
        return [math.nan] * len(budgets), ""
    model = CostModel.fit(rows)
    return [float(value) for value in model.seconds(list(budgets))], model.device


def run_campaign(
    store: Path,
    trials: Sequence[Trial],
    *,
    source: str | None = None,
    device: str = "cpu",
    jobs: int | None = None,
    executor: str = "local",
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Status:
    """Plan trials in a journal and run all that it has planned.

    Trials that the journal has finished are not run again; those that were
    interrupted go on from their last epoch.

    Parameters
    ----------
    store
        The journal's file; made if it is not there.
    trials
        What to train.
    source
        Where the images are (see `bpe_bench.training.images.data.load_images`).
    device
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    jobs
        Trainings at a time: by default one per core on a CPU, four on a GPU.
    executor
        A key of `bpe_bench.execution.EXECUTORS`.
    on_progress, stop
        As for `bpe_bench.execution.Executor.run`.

    Raises
    ------
    JournalError
        If the store cannot be used.
    ExecutionError
        If workers cannot be started.
    """
    chosen = get_executor(executor)
    with Journal(store) as journal:
        journal.add(trials)
    chosen.run(
        store,
        TRAINING_TASK,
        {"source": source, "device": device, "threads": 1},
        jobs=jobs or default_jobs(device),
        stale_after=_STALE_AFTER,
        on_progress=on_progress,
        stop=stop,
    )
    return status_of(store)


def default_jobs(device: str) -> int:
    """Return how many trainings to run at a time on a device."""
    return (os.cpu_count() or 1) if device == "cpu" else 4


def status_of(store: Path) -> Status:
    """Return how far a journal's trials are.

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
