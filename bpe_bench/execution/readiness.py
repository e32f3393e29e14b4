"""What can fail before the first training: each is checked before any work, with one line."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import JournalError
from ..files import check_writable, reason_of
from ..training.devices import check_device, checkpoint_bytes
from ..training.trial import Trial
from .journal import Journal

_COPIES = 3
"""A checkpoint may stand in the store, in its log, and in the log as the next one."""
_BYTES_PER_EPOCH = 1_000
"""A record of an epoch takes less."""


def check_ready(store: str | Path, device: str | None) -> None:
    """Check that trainings can begin on a device and report to a store, without making it.

    Parameters
    ----------
    store
        The journal's file.
    device
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; None for a trainer of one's own, which
        may need no torch.

    Raises
    ------
    OptionalDependencyError
        If torch is needed and not installed.
    TrainingError
        If this machine has no such device.
    JournalError
        If the store cannot be used.
    """
    if device is not None:
        check_device(device)
    if Path(store).exists():
        with Journal(store):
            return
    try:
        check_writable(store)
    except OSError as error:
        raise JournalError(
            f"cannot write the store {store}: {reason_of(error)}; give another file with --store"
        ) from error


def check_space(store: str | Path, trials: Sequence[Trial], jobs: int) -> None:
    """Check that the store's disk has room for the trials' records and checkpoints.

    Raises
    ------
    JournalError
        If it has too little.
    """
    epochs = sum(trial.budget.epochs for trial in trials)
    need = _COPIES * jobs * checkpoint_bytes(trials) + _BYTES_PER_EPOCH * epochs
    free = shutil.disk_usage(Path(store).absolute().parent).free
    if free < need:
        raise JournalError(
            f"the store {store} needs about {need / 1e6:,.0f} MB for checkpoints of {jobs} "
            f"trainings at a time and records of {epochs:,} epochs, and its disk has "
            f"{free / 1e6:,.0f} MB left; free some, give another place with --store, or fewer "
            "--jobs"
        )
