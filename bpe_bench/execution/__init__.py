"""Where trainings run: executors, which work off the planned trials of a journal.

Which process takes which trial is the journal's business, so several executors of one
machine may share a journal.
"""

from .base import TRAINING_TASK, Executor, Progress, Report, Task
from .inline import run_trial
from .local import run_local

__all__ = ["TRAINING_TASK", "Executor", "Progress", "Report", "Task", "run_local", "run_trial"]
