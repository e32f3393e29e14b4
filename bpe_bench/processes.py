"""Work shared among processes of this machine, with results that do not depend on their number."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from .errors import ExecutionError, SelectionError
from .files import shown

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_POLL = 0.5
"""Seconds between two checks whether the parent is alive."""
_PARTS = 4
"""Into so many parts per process the items are dealt: few, as the task is sent with each part."""


def share_work(
    task: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    jobs: int = 1,
    on_progress: Callable[[float], None] | None = None,
) -> list[_Result]:
    """Return a task's result for every item, in order.

    Parameters
    ----------
    task
        It is sent to the processes, so it may be a function of a script or of a notebook.
        What it draws at random must come from the item.
    items
        What to do, N things.
    jobs
        Processes to share the items among; with 1 all is done in this one.
    on_progress
        Called with the share of the items that is done.

    Raises
    ------
    SelectionError
        If ``jobs`` is less than 1.
    ExecutionError
        If a process is killed, or the task cannot be sent to it.

    Examples
    --------
    >>> share_work(abs, [-2, 3])
    [2, 3]
    """
    if jobs < 1:
        raise SelectionError(f"jobs must be at least 1, found {jobs}")
    found = map(task, items) if min(jobs, len(items)) <= 1 else _in_processes(task, items, jobs)
    results = []
    for result in found:
        results.append(result)
        if on_progress:
            on_progress(len(results) / len(items))
    return results


def _in_processes(
    task: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int
) -> Iterator[_Result]:
    import joblib
    from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

    # Packed once, as a task may hold a table, and sent with a part of the items.
    packed = _Task(pack(task), tuple(sys.path), os.getpid())
    size = -(-len(items) // (_PARTS * jobs))
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    # Arrays are sent whole: from files in common they would be read-only, in processes only.
    parallel = joblib.Parallel(
        min(jobs, len(items)), backend="loky", return_as="generator", max_nbytes=None
    )
    try:
        for results in parallel(joblib.delayed(packed)(part) for part in parts):
            yield from results
    except TerminatedWorkerError as error:
        raise ExecutionError(
            "a process was killed, perhaps for memory, or could not start; run again with fewer "
            "jobs"
        ) from error
    except (BrokenProcessPool, pickle.PicklingError) as error:
        # The cause is a traceback as text, its last line the error.
        *_, reason = str(error.__cause__ or error).strip('"\n').splitlines()
        raise _unsendable(reason) from error


def pack(thing: object) -> bytes:
    """Return a thing as `pickle.loads` in another process reads it.

    Functions and classes of a script or of a notebook go with it, those of modules by name.

    Raises
    ------
    ExecutionError
        If it cannot be sent.
    """
    from joblib.externals.loky.backend.reduction import dumps

    try:
        return bytes(dumps(thing))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise _unsendable(error) from error


def _unsendable(reason: object) -> ExecutionError:
    said = f"{type(reason).__name__}: {reason}" if isinstance(reason, Exception) else str(reason)
    return ExecutionError(
        f"the work cannot be sent to other processes ({shown(said)}); run with one job"
    )


@dataclass(frozen=True)
class _Task:
    """A task in another process. Ctrl-C in a terminal is for the parent, which ends it."""

    packed: bytes
    path: tuple[str, ...]
    """Where the parent imports from, which may have changed since the process started."""
    parent: int

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end_with(self.parent)
        sys.path[:] = self.path
        try:
            task = pickle.loads(self.packed)
        except Exception as error:
            raise _unsendable(error) from error
        return [task(item) for item in items]


@cache
def _end_with(parent: int) -> None:
    """End this process when its parent is dead."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
