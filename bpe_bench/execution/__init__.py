"""Where trainings run: the executors, by name.

An executor works off the planned trials of a journal. Which process takes which
trial is the journal's business, so executors on several machines may share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..errors import unknown_name
from .base import TRAINING_TASK, Executor, Progress, Report, Task
from .inline import run_trial
from .local import LocalExecutor, run_local

__all__ = [
    "EXECUTORS",
    "TRAINING_TASK",
    "Executor",
    "LocalExecutor",
    "Progress",
    "Report",
    "Task",
    "get_executor",
    "run_local",
    "run_trial",
]

EXECUTORS: Mapping[str, Executor] = MappingProxyType({"local": LocalExecutor()})
"""All executors by the name under which the command line knows them."""


def get_executor(name: str) -> Executor:
    """Return an executor by name.

    Raises
    ------
    UnknownNameError
        If there is none of that name; the message lists those that exist.
    """
    if name not in EXECUTORS:
        raise unknown_name("executor", name, EXECUTORS)
    return EXECUTORS[name]
