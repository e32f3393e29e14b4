"""A worker: a process of its own that takes trials from the journal until none is left.

Its parent writes its instructions to its standard input as a line of JSON; a
second line tells it to stop, and the end of the input that its parent is dead.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import BpeBenchError, JournalError, LostTrialError
from ..training.trial import EpochRecord
from .base import Task, load_task
from .journal import FINAL_STATES, MOST_CRASHES, Claim, Journal

REFUSED = 2
"""Exit status of a worker that cannot work at all; the last line it writes says why."""
STOPPED = 143
"""Exit status of one that was ended by a signal and has released its trial."""


@dataclass(frozen=True)
class Instructions:
    """What a worker is told at its start."""

    journal: str
    task: str
    options: Mapping[str, Any]
    worker: str
    """Its name; nobody else's."""
    stale_after: float
    poll: float
    """Seconds between looks for something to do."""
    most_crashes: int = MOST_CRASHES

    def to_line(self) -> bytes:
        """Return the instructions as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


def new_name() -> str:
    """Return a name that no other worker has."""
    return f"{socket.gethostname()}-{secrets.token_hex(6)}"


def main() -> None:
    """Work as told on standard input."""
    lines = _Lines()
    line = lines.next()
    if not line:
        return
    try:
        Worker(Instructions(**json.loads(line)), lines).run()
    except _StopNow:
        sys.exit(STOPPED)
    except BpeBenchError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent reads it
        sys.exit(REFUSED)


class _StopNow(BaseException):
    """Raised by a signal, wherever the worker is."""


class _Lines:
    """Lines of standard input, without a buffer: a thread that waits in one blocks the exit."""

    def __init__(self) -> None:
        self._read = b""

    def next(self) -> bytes:
        """Return the next line, empty at the end of the input."""
        while b"\n" not in self._read:
            chunk = os.read(0, 65536)
            if not chunk:
                return b""
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line + b"\n"


class Worker:
    """Takes trials, runs the task on them and says how they ended."""

    def __init__(self, instructions: Instructions, lines: _Lines) -> None:
        self.told, self._lines = instructions, lines
        self._stop = threading.Event()
        self._path = Path(instructions.journal)

    def run(self) -> None:
        """Work until nothing is left to do.

        Raises
        ------
        JournalError
            If the journal cannot even take note of a failure.
        ExecutionError
            If there is no such task.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _interrupt)
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._run(load_task(self.told.task))
        except _StopNow:
            with Journal(self._path) as journal:
                journal.abandon(self.told.worker, "it was stopped", most_crashes=0)
            raise

    def _run(self, task: Task) -> None:
        with Journal(self._path) as journal:
            start_beating(self._path, self.told.worker, self.told.stale_after)
            while not self._stop.is_set():
                claim = journal.claim(
                    self.told.worker,
                    stale_after=self.told.stale_after,
                    most_crashes=self.told.most_crashes,
                )
                if claim is not None:
                    # Taken for dead, it loses its trial to somebody who goes on with it.
                    with suppress(LostTrialError):
                        work_on(journal, claim, task, self.told.options, self._stop)
                elif _is_finished(journal):
                    return
                else:
                    # Others are at the last trials. Should they die, somebody must go on.
                    self._stop.wait(self.told.poll)

    def _listen(self) -> None:
        while self._lines.next():
            self._stop.set()
        # Nobody is there any more to take care of this process: it must not train on unseen.
        os.kill(os.getpid(), signal.SIGTERM)


def work_on(
    journal: Journal,
    claim: Claim,
    task: Task,
    options: Mapping[str, Any],
    stop: threading.Event,
) -> None:
    """Train a claimed trial, report every epoch, and say how it ended.

    Raises
    ------
    LostTrialError
        If somebody else has taken the trial.
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


def start_beating(path: Path, worker: str, stale_after: float) -> threading.Event:
    """Say now and then that a worker is alive, however long its epochs are.

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
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)  # once is enough: what follows must not be cut short
    raise _StopNow


def _is_finished(journal: Journal) -> bool:
    counts = journal.counts()
    return not counts["planned"] and not counts["running"]


def _in_a_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
