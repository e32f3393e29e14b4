"""One trial in this process, through the journal, for searches that ask one by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import ExecutionError, LostTrialError
from ..training.trial import Trial
from ._worker import _new_name, _start_beating, _work_on
from .base import _load_task
from .journal import FINAL_STATES, Journal, JournalEntry

_POLL = 0.5
"""Seconds between two looks at a trial that another process is training."""


def run_trial(
    path: str | Path,
    trial: Trial,
    task: str,
    options: Mapping[str, Any] | None = None,
    *,
    stale_after: float = 60.0,
) -> JournalEntry:
    """Return the journal's entry of a finished trial; train it if it is not finished.

    A finished trial is not trained again, an interrupted one continues from its last epoch, and
    the call waits for a trial that another process is training. If the user interrupts, the
    trial is released.

    Parameters
    ----------
    path
        The journal, made if it is not there.
    trial, task, options, stale_after
        As for `Executor`.

    Raises
    ------
    JournalError
        If the journal cannot be used.
    ExecutionError
        If there is no such task.
    """
    worker = _new_name()
    with Journal(path) as journal:
        journal.add([trial])
        while True:
            entry = journal.find(trial)
            if entry is None:
                raise ExecutionError(f"trial {trial.id[:12]} has gone from the journal {path}")
            if entry.state in FINAL_STATES:
                return entry
            claim = journal.claim(worker, stale_after=stale_after, trial_id=trial.id)
            if claim is None:
                time.sleep(_POLL)
                continue
            beating = _start_beating(Path(path), worker, stale_after)
            try:
                # Taken for dead, this process loses the trial to another, and waits for that one.
                with suppress(LostTrialError):
                    _work_on(journal, claim, _load_task(task), options or {}, threading.Event())
            except BaseException:
                journal.release(trial.id, worker)
                raise
            finally:
                beating.set()
