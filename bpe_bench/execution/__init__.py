"""Where trainings run: executors, which run the planned trials of a journal.

The journal decides which process takes which trial, so several executors on one machine may
share a journal.
"""

from .base import OWN_TASK, TRAINING_TASK, Executor, Progress
from .inline import run_trial
from .local import run_local

__all__ = ["OWN_TASK", "TRAINING_TASK", "Executor", "Progress", "run_local", "run_trial"]
