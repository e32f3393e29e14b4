"""Trainings in processes of this machine.

Every worker is a fresh interpreter that takes its trials from the journal. The parent only
watches: it replaces workers that die, so that their trials continue at once, and tells all
workers to stop.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

from ..errors import ExecutionError, JournalError, SelectionError
from ._worker import _REFUSED, _STOPPED, _Instructions, _new_name, _work
from .base import Progress
from .journal import _MOST_CRASHES, Journal

_GRACE = 5.0
"""Seconds that workers have to finish their epoch when they are told to stop."""
_LAST_GRACE = 5.0
"""Seconds that they then have to give back their trials."""
_POLL = 0.1
_REPORT_EVERY = 1.0
_MOST_IDLE_DEATHS = 10
"""After so many workers in a row died without taking a trial, the run fails."""
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def run_local(
    journal: str | Path,
    task: str,
    options: Mapping[str, Any] | None = None,
    *,
    jobs: int = 1,
    stale_after: float = 60.0,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    most_crashes: int = _MOST_CRASHES,
) -> Progress:
    """Run the planned trials of a journal in processes of this machine.

    Parameters
    ----------
    journal, task, options, jobs, stale_after, on_progress, stop
        As for `Executor`. The option ``threads`` (default 1) also limits the threads of
        numerical libraries in each process.
    most_crashes
        After so many workers died of a trial without recording an epoch, it counts as failed.

    Returns
    -------
    Progress
        At the end. A failed trial is counted there and does not stop the others.

    Raises
    ------
    ExecutionError
        If workers cannot import the task, or die before they take a trial.
    JournalError
        If the journal cannot be read or written.
    KeyboardInterrupt
        If interrupted, after running trials were released; another run continues.
    """
    if jobs < 1:
        raise SelectionError(f"jobs must be at least 1, found {jobs}")
    stop = threading.Event() if stop is None else stop
    told = _Instructions(
        journal=Path(journal).absolute(),
        task=task,
        options={"threads": 1, **(options or {})},
        stale_after=stale_after,
        poll=min(0.5, stale_after / 5),
        most_crashes=most_crashes,
    )
    with Journal(journal) as opened:
        pace, pool = _Pace(opened), _Pool(opened, told)
        reported = time.monotonic()
        try:
            while not stop.is_set() and pool.tend(jobs):
                if on_progress is not None and time.monotonic() - reported >= _REPORT_EVERY:
                    reported = time.monotonic()
                    on_progress(pace.progress())
                pool.wait(_POLL)
        finally:
            pool.stop()
        progress = pace.progress()
    if on_progress is not None:
        on_progress(progress)
    return progress


class _Pace:
    """Progress and speed of a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._start, self._before = time.monotonic(), journal.device_seconds()

    def progress(self) -> Progress:
        device_seconds = self._journal.device_seconds()
        left = self._journal.estimate_left()
        # Evaluation, starting up and waiting for each other cost time, too: so the pace is
        # that of the run, not the number of jobs.
        made, gone = device_seconds - self._before, time.monotonic() - self._start
        if left and made <= 0:
            left = None
        elif left:
            left *= gone / made
        share = 0.0 if left is None else gone / max(gone + left, 1e-9)
        counts, epochs = self._journal.counts(), self._journal.epochs_recorded()
        return Progress(counts, epochs, device_seconds, left, share)


@dataclass(frozen=True)
class _Worker:
    """A worker's process, as its parent sees it."""

    name: str
    process: BaseProcess
    line: Connection
    """Any message tells it to stop; if the pipe is closed, it stops at once."""
    log: IO[bytes]
    """What it prints: a file whose name the worker removes when it has opened it."""

    def tell_to_stop(self) -> None:
        with suppress(OSError):  # it has ended by itself
            self.line.send("stop")

    def kill(self) -> None:
        if not self.has_ended() and self.process.pid:
            os.kill(self.process.pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Return whether it has ended; its exit status is unknown where SIGCHLD is ignored."""
        if self.process.exitcode is None and not wait([self.process.sentinel], 0):
            return False
        self.process.join()
        return True

    def last_words(self) -> str:
        """Return the last line that it wrote."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def death(self) -> str:
        """Return how it ended, as far as known."""
        status = self.process.exitcode or 0
        how = f"exit status {status}"
        if status < 0:
            with suppress(ValueError):
                how = f"killed by {signal.Signals(-status).name}"
            if -status == signal.SIGKILL:
                how += ", perhaps for its memory"
        words = self.last_words()
        return f"{how}; it said: {words}" if words else how

    def close(self) -> None:
        self.line.close()
        self.log.close()
        Path(self.log.name).unlink(missing_ok=True)


class _Pool:
    """The workers of a run."""

    def __init__(self, journal: Journal, told: _Instructions) -> None:
        self._journal, self._told = journal, told
        self._workers: list[_Worker] = []
        self._idle_deaths, self._reached = 0, 0

    def tend(self, jobs: int) -> bool:
        """Replace workers that have ended; return False if all is done.

        Raises
        ------
        ExecutionError
            If workers refuse to work, or die before they take a trial.
        """
        for worker in [w for w in self._workers if w.has_ended()]:
            self._workers.remove(worker)
            try:
                self._bury(worker)
            finally:
                worker.close()
        counts = self._journal.counts()
        left = counts["planned"] + counts["running"]
        while len(self._workers) < min(jobs, left):
            self._start()
        return bool(self._workers)

    def wait(self, seconds: float) -> None:
        """Wait until a worker ends, at most for a given time."""
        wait([worker.process.sentinel for worker in self._workers], seconds)

    def stop(self) -> None:
        """Tell the workers to stop, wait for them, and release their trials."""
        try:
            for worker in self._workers:
                worker.tell_to_stop()
            if not self._ended_within(_GRACE):
                for worker in self._workers:
                    worker.process.terminate()
                self._ended_within(_LAST_GRACE)
        finally:  # also where a second Ctrl-C cuts the waiting short
            for worker in self._workers:
                worker.kill()
            for worker in self._workers:
                worker.process.join()
                worker.close()
                with suppress(JournalError):  # its heartbeat will grow old
                    self._journal.abandon(worker.name, "it was stopped", most_crashes=0)
            self._workers.clear()

    def _ended_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
        return all(worker.has_ended() for worker in self._workers)

    def _start(self) -> _Worker:
        from joblib.externals.loky.backend.context import get_context

        # As multiprocessing's "spawn", but it does not run the main script again, which may
        # have no main guard.
        context = get_context("loky")
        name = _new_name()
        log = tempfile.NamedTemporaryFile(delete=False)  # noqa: SIM115 - closed with its worker
        theirs, ours = context.Pipe(duplex=False)
        threads = str(self._told.options["threads"])
        process = context.Process(
            target=_work,
            args=(self._told, name, Path(log.name), theirs),
            # Files of the folder that it starts in are not modules to import.
            env={**dict.fromkeys(_THREAD_VARIABLES, threads), "PYTHONSAFEPATH": "1"},
        )
        worker = _Worker(name, process, ours, log)
        with theirs, _without_interrupts():
            process.start()
            self._workers.append(worker)  # before Ctrl-C is heard again: `stop` must know it
        return worker

    def _bury(self, worker: _Worker) -> None:
        """Release the trials of an ended worker."""
        status = worker.process.exitcode
        if status == _REFUSED:
            with suppress(JournalError):
                self._journal.abandon(worker.name, "it refused to work", most_crashes=0)
            raise ExecutionError(worker.last_words() or "a worker refused to work")
        if status == 0:
            return
        death = worker.death()
        most = 0 if status == _STOPPED else self._told.most_crashes
        if self._journal.abandon(worker.name, death, most_crashes=most):
            return
        reached = self._journal.epochs_recorded()
        self._idle_deaths = self._idle_deaths + 1 if reached == self._reached else 1
        self._reached = reached
        if self._idle_deaths >= _MOST_IDLE_DEATHS:
            raise ExecutionError(
                f"{self._idle_deaths} workers died before they took a trial: {death}"
            )


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that never receive Ctrl-C from a terminal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
