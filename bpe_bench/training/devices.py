"""What real training needs of this machine: torch, a device, and room for checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import OptionalDependencyError, TrainingError
from .trial import Trial

_VALUES_PER_WEIGHT = 2
"""A checkpoint holds each weight and its momentum, in 4 bytes each."""


def check_device(device: str) -> None:
    """Check that networks can be trained on a device of this machine, before any work.

    Parameters
    ----------
    device
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    OptionalDependencyError
        If torch is not installed.
    TrainingError
        If this machine has no such device, or networks are not trained on such.
    """
    try:
        import torch
    except ImportError as error:
        raise OptionalDependencyError(
            "training needs torch, which is not installed; pip install 'bpe-bench[train]'"
        ) from error
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{number}" for number in range(gpus))]
    if device in here:
        return
    exist = f"this machine has: {', '.join(here)}; choose one of them"
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise TrainingError(
            f"networks are trained on cpu, cuda or cuda:N, found device {device!r}; {exist}"
        )
    reason = ""
    if not gpus:
        reason = f", as torch {torch.__version__} finds no GPU"
        if torch.version.cuda is None:
            reason = f", as torch {torch.__version__} is built without CUDA"
    raise TrainingError(f"there is no device {device!r} here{reason}; {exist}")


def checkpoint_bytes(trials: Iterable[Trial]) -> int:
    """Return the size of the largest checkpoint of some trials, about, in bytes.

    The first architecture of each budget counts; only shapes are computed.
    """
    from .networks.network import weights_of

    first = {trial.budget: trial for trial in reversed(list(trials))}
    sizes = [weights_of(trial.architecture, trial.budget) for trial in first.values()]
    return 4 * _VALUES_PER_WEIGHT * max(sizes, default=0)
