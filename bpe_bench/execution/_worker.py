"""A worker: a process that takes trials from the journal until all are done."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import BpeBenchError, JournalError, LostTrialError
from ..training.trial import EpochRecord
from .base import _load_task, _Task
from .journal import FINAL_STATES, Journal, _Claim

_REFUSED = 2
"""Exit status of a worker that cannot work at all; the last line of its log says why."""
_STOPPED = 143
"""Exit status of a worker that was ended by a signal and has released its trial."""


@dataclass(frozen=True)
class _Instructions:
    """What a worker needs to know at its start."""

    journal: Path
    task: str
    options: Mapping[str, Any]
    stale_after: float
    poll: float
    """Seconds between two looks for a trial."""
    most_crashes: int


class _StopNow(BaseException):
    """Raised by a signal at any point of the work."""


def _new_name() -> str:
    """Return a name that no other worker has."""
    return f"{socket.gethostname()}-{secrets.token_hex(6)}"


def _work(told: _Instructions, name: str, log: Path, parent: Connection) -> None:
    """Take trials until all are done, in a process of its own.

    Parameters
    ----------
    told
        What to do.
    name
        The worker's name, which no other has.
    log
        File for everything that it prints. The parent has it open; its name is removed, so that
        nothing is left if both are killed.
    parent
        A message means to stop after the current epoch; the end of the pipe, that the parent is
        dead.
    """
    os.setpgid(0, 0)  # what a terminal sends is for the parent, which tells its workers
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    log.unlink()
    for standard in (1, 2):
        os.dup2(file, standard)
    signal.signal(signal.SIGTERM, _interrupt)
    stop = threading.Event()
    threading.Thread(target=_listen, args=(parent, stop), daemon=True).start()
    try:
        _take_trials(told, name, _load_task(told.task), stop)
    except _StopNow:
        with Journal(told.journal) as journal:
            journal.abandon(name, "it was stopped", most_crashes=0)
        sys.exit(_STOPPED)
    except BpeBenchError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent reads it
        sys.exit(_REFUSED)


def _listen(parent: Connection, stop: threading.Event) -> None:
    with suppress(EOFError, OSError):
        while parent.recv():
            stop.set()
    # Nobody is there any more to take care of this process: it must not train on unseen.
    os.kill(os.getpid(), signal.SIGTERM)


def _take_trials(told: _Instructions, name: str, task: _Task, stop: threading.Event) -> None:
    with Journal(told.journal) as journal:
        _start_beating(told.journal, name, told.stale_after)
        while not stop.is_set():
            claim = journal.claim(
                name, stale_after=told.stale_after, most_crashes=told.most_crashes
            )
            if claim is not None:
                # Taken for dead, it loses its trial to somebody who goes on with it.
                with suppress(LostTrialError):
                    _work_on(journal, claim, task, told.options, stop)
            elif _is_finished(journal):
                return
            else:
                # Others are at the last trials. Should they die, somebody must go on.
                stop.wait(told.poll)


def _work_on(
    journal: Journal,
    claim: _Claim,
    task: _Task,
    options: Mapping[str, Any],
    stop: threading.Event,
) -> None:
    """Train a claimed trial, report every epoch, and say how it ended.

    Raises
    ------
    LostTrialError
        If another worker has taken the trial.
    """
    trial, worker = claim.trial.id, claim.worker

    def report(record: EpochRecord, checkpoint: bytes, made_on: Mapping[str, str]) -> bool:
        journal.record(trial, worker, record, checkpoint, made_on)
        return not stop.is_set()

    try:
        # Perhaps only the last word was missing: then there is nothing to train.
        state = claim.state or task(claim.trial, claim.checkpoint, options, report)
    except LostTrialError:
        raise
    except (Exception, SystemExit) as error:
        journal.finish(trial, worker, "failed", _in_a_line(error))
        return
    if state == "planned":
        journal.release(trial, worker)
    elif state in FINAL_STATES:
        journal.finish(trial, worker, state)
    else:
        journal.finish(trial, worker, "failed", f"the task ended in no state: {state!r}")


def _start_beating(path: Path, worker: str, stale_after: float) -> threading.Event:
    """Renew the heartbeat of a worker regularly, even during long epochs.

    Returns
    -------
    Event
        Ends it when set.
    """
    end = threading.Event()

    def beat() -> None:
        while not end.wait(stale_after / 5):
            # Should it fail, the worker itself will hear of it when it reports.
            with suppress(JournalError), Journal(path) as journal:
                journal.heartbeat(worker)

    threading.Thread(target=beat, daemon=True).start()
    return end


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what follows must not be cut short
    raise _StopNow


def _is_finished(journal: Journal) -> bool:
    counts = journal.counts()
    return not counts["planned"] and not counts["running"]


def _in_a_line(error: BaseException) -> str:
    notes = (f"({note})" for note in getattr(error, "__notes__", ()))
    text = " ".join([*str(error).split(), *notes])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
