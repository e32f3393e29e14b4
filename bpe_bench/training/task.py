"""What a worker does: train a claimed trial, and report every epoch to the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..budget import Budget
from ..errors import TrainingError
from .images.data import ImageData, load_images
from .trainer import Trainer, describe_device
from .trial import EpochRecord, State, Trial

if TYPE_CHECKING:
    from .supernet import SupernetResult


@lru_cache(maxsize=1)
def _images(source: str | Path | None) -> ImageData:
    """Load the images once per worker."""
    return load_images(source)


def train_trial(
    trial: Trial,
    checkpoint: bytes | None,
    options: Mapping[str, Any],
    report: Callable[[EpochRecord, bytes, dict[str, str]], bool],
) -> State:
    """Train a trial from its last checkpoint on.

    Parameters
    ----------
    trial, checkpoint
        What to train; the state after its last recorded epoch, or None.
    options
        ``source``: where the images are (None: the bundled digits); ``device``;
        ``threads``: threads on a CPU, 1 by default.
    report
        Takes an epoch's record, the checkpoint after it and a description of the
        device; returns False if the worker should stop here.

    Returns
    -------
    State
        ``done``, ``diverged`` if a loss was not finite, or ``planned`` if stopped.
    """
    import torch

    if trial.trainer:
        raise TrainingError(
            f"the trial is for {trial.trainer}, not for bpe-bench; run it with --trainer"
        )
    torch.set_num_threads(int(options.get("threads", 1)))
    device = str(options.get("device", "cpu"))
    trainer = Trainer(trial, _images(options.get("source")), device=device)
    if checkpoint is not None:
        trainer.restore(checkpoint)
    made_on = describe_device(device)
    for record in trainer.epochs():
        going_on = report(record, trainer.checkpoint(), made_on)
        if not record.finite:
            return "diverged"
        if not going_on and trainer.done < trial.budget.epochs:
            return "planned"
    return "done"


def train_supernet_alone(
    space: str, source: str | Path | None, budget: Budget, **options: Any
) -> SupernetResult:
    """Train a supernet on images that are loaded once, on a CPU with one thread.

    Networks of so many small operations are no quicker with more threads, and far
    slower where several processes share the cores.

    Parameters
    ----------
    space, budget, options
        As for `bpe_bench.training.supernet.train_supernet`.
    source
        Path of the images; None for the bundled digits.
    """
    import torch

    from .supernet import train_supernet

    torch.set_num_threads(1)
    return train_supernet(space, _images(source), budget, **options)
