"""The protocols of executors and of the tasks that they run."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import ExecutionError
from ..training.trial import EpochRecord, State, Trial

_Report = Callable[[EpochRecord, bytes, Mapping[str, str]], bool]
"""Called with an epoch's record, the checkpoint after it, and the device and versions that made
it; returns False if the task should stop."""

_Task = Callable[[Trial, bytes | None, Mapping[str, Any], _Report], State]
"""Trains a trial, from a checkpoint if there is one, and reports every epoch; returns ``done``,
``diverged``, or ``planned`` if it stopped on request."""

TRAINING_TASK = "bpe_bench.training.task:train_trial"
"""The task that trains for real, by the name that workers import it by."""

OWN_TASK = "bpe_bench.training.own_trainer:train_trial"
"""The task that has one's own trainer train; its option ``trainer`` is an `OwnTrainer`."""


@dataclass(frozen=True)
class Progress:
    """Progress of a journal."""

    counts: Mapping[State, int]
    """Trials by state."""
    epochs: int
    """Epochs recorded, of all trials."""
    device_seconds: float
    """Device seconds of those epochs."""
    seconds_left: float | None
    """Seconds until all is done at the pace of this run; None if unknown."""
    share: float = 0.0
    """Share of this run's time that is over, from 0 to 1; 0 if unknown."""

    @property
    def left(self) -> int:
        """Trials that are planned or running."""
        return self.counts["planned"] + self.counts["running"]


class Executor(Protocol):
    """Runs the trials of a journal until all are done, or until it is told to stop."""

    def __call__(
        self,
        journal: Path,
        task: str,
        options: Mapping[str, Any] | None = None,
        *,
        jobs: int = 1,
        stale_after: float = 60.0,
        on_progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Progress:
        """Run trials.

        Parameters
        ----------
        journal
            Path of the store with the planned trials.
        task
            What trains a trial (a `_Task`), as ``module:function``: workers import it.
        options
            Passed to the task; what can be sent to another process.
        jobs
            Trials at a time.
        stale_after
            Seconds without a heartbeat after which a trial's worker counts as dead.
        on_progress
            Called from time to time.
        stop
            When set, running trials are released and the call returns. On KeyboardInterrupt
            they are released, too, and the interrupt is raised again.

        Returns
        -------
        Progress
            At the end.
        """


def _load_task(name: str) -> _Task:
    """Import a task by its name, ``module:function``.

    Raises
    ------
    ExecutionError
        If there is no such function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ExecutionError(
            f"cannot import the task {name!r}, which should be module:function: {error}"
        ) from error
    if not callable(found):
        raise ExecutionError(f"the task {name!r} is not a function")
    task: _Task = found
    return task
