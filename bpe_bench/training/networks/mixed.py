"""The supernet of DARTS: a mixture of all operations on every edge, and what it derives.

Source: Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, section
2.2, and its code; for NAS-Bench-201 Dong and Yang, ICLR 2020, and theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...budget import Budget
from ...errors import TrainingError
from ...spaces import Architecture
from .network import _module_of, build_network
from .operations import Factory

_NONE = "none"
_FIRST_SPREAD = 1e-3
"""Standard deviation of the architecture parameters at first, as published."""


@dataclass(frozen=True)
class Relaxation:
    """How a space is searched by gradient: what is mixed, and how it is read back."""

    candidates: tuple[str, ...]
    """The K operations that are mixed on an edge."""
    shape: tuple[int, ...]
    """Shape of the architecture parameters, (..., K)."""
    everything: Architecture
    """An architecture with all edges; its operations do not matter, but are not ``none``."""
    rows: Callable[[Sequence[_MixedOperation]], list[int]]
    """Rows (of K parameters) that the mixed operations of the network take their shares from,
    in order."""
    derive: Callable[[npt.NDArray[np.float64]], Architecture]
    """Returns the architecture of given shares, which are shaped as the parameters."""


class _MixedOperation(nn.Module):
    """The sum of all operations of an edge, each times its share.

    Parameters
    ----------
    factories
        The operations by name.
    names
        The mixed operations; ``none`` would add zeros, so it is left out and its share is lost.
    shape
        Arguments of an operation, for instance channels and stride; the stride is last.
    """

    shares: Sequence[Tensor]
    """A scalar per name; set before every pass."""

    def __init__(self, factories: Mapping[str, Factory], names: Sequence[str], *shape: int) -> None:
        super().__init__()
        self.stride = shape[-1]
        self.shares = ()
        self.places = [place for place, name in enumerate(names) if name != _NONE]
        made = [factories[names[place]](*shape) for place in self.places]
        # Convolutions begin with the same ReLU of the same input: it is done once for all.
        self.rectified = [
            isinstance(op, nn.Sequential) and isinstance(op[0], nn.ReLU) for op in made
        ]
        self.operations = nn.ModuleList(
            op[1:] if rectified and isinstance(op, nn.Sequential) else op
            for op, rectified in zip(made, self.rectified, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixture, (N, C, H, W) → (N, C, ceil(H / stride), ceil(W / stride))."""
        rectified = functional.relu(x)
        chosen = [rectified if begins else x for begins in self.rectified]
        values = [op(given) for op, given in zip(self.operations, chosen, strict=True)]
        shares = [self.shares[place].to(values[0].dtype) for place in self.places]
        total: Tensor = values[0] * shares[0]
        for value, share in zip(values[1:], shares[1:], strict=True):
            total = torch.addcmul(total, value, share)
        return total


class _Supernet(nn.Module):
    """A network that holds all architectures of a space, sharing their weights.

    On every edge all operations are computed, and added up with shares that are the
    softmax of the edge's architecture parameters (the continuous relaxation). Cells
    of one kind have these parameters in common, each cell has its own weights.

    Stem, reductions and classifier are those of `build_network`. As published,
    normalisations inside cells have no trained scale and shift, which would undo
    the shares; there is no auxiliary head, and no path is dropped.

    Parameters
    ----------
    space
        A space that has a supernet.
    budget
        Its ``layers``, ``channels`` and ``image_size`` shape the network.
    classes
        Number of classes K.
    input_channels
        Channels of the images.

    Raises
    ------
    TrainingError
        As `build_network`: layers that the space does not have, or too small images.
    UnknownNameError, SelectionError
        If there is no such space, or it has no supernet.
    """

    alphas: Tensor
    """Architecture parameters, shaped as the space's `Relaxation` says. A buffer, so training
    `parameters` does not change them."""
    drop_path: float = 0.0
    """Set by the trainer, without effect."""

    def __init__(
        self, space: str, budget: Budget, classes: int, *, input_channels: int = 3
    ) -> None:
        super().__init__()
        module = _module_of(space, "supernet")
        relaxation: Relaxation = module.SUPERNET

        def mixed(*shape: int) -> nn.Module:
            return _MixedOperation(module.OPERATIONS, relaxation.candidates, *shape)

        self.network = build_network(
            relaxation.everything,
            budget,
            classes,
            input_channels=input_channels,
            auxiliary=False,
            operations=dict.fromkeys(relaxation.candidates, mixed),
        )
        self.register_buffer("alphas", _FIRST_SPREAD * torch.randn(relaxation.shape))
        for part in self.network.modules():
            if hasattr(part, "graph") or isinstance(part, _MixedOperation):
                _drop_scales(part)
        self._mixed = [m for m in self.network.modules() if isinstance(m, _MixedOperation)]
        self._rows = relaxation.rows(self._mixed)
        self._norms = [m for m in self.network.modules() if isinstance(m, nn.BatchNorm2d)]

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Shares of the operations, shaped as `alphas`; along the last axis they add up to 1."""
        shares: npt.NDArray[np.float64] = self.alphas.detach().double().softmax(-1).cpu().numpy()
        return shares

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Classify images, (N, input channels, H, W): logits (N, K), and None for a second head."""
        shares = self.alphas.softmax(dim=-1)
        width = shares.shape[-1]
        # Taken apart at once, so that one operation puts their gradients together.
        scalars = shares.flatten().unbind()
        for operation, row in zip(self._mixed, self._rows, strict=True):
            operation.shares = scalars[row * width : (row + 1) * width]
        logits, _ = self.network(images)
        return logits, None

    @contextmanager
    def searching(self) -> Iterator[Tensor]:
        """Yield `alphas` for gradients; passes do not change the running statistics.

        Outside of it they require no gradient, so passes for the weights do not compute one.
        """
        self._set_searching(True)
        try:
            yield self.alphas
        finally:
            self._set_searching(False)

    def _set_searching(self, searching: bool) -> None:
        self.alphas.requires_grad_(searching)
        for norm in self._norms:
            # In training, without tracking, torch normalises by the batch and keeps nothing.
            norm.track_running_stats = not searching


def _derive(space: str, probabilities: npt.ArrayLike) -> Architecture:
    """Return the architecture of a mixture.

    Parameters
    ----------
    space
        A space that has a supernet.
    probabilities
        Shares of its candidates, shaped as its `Relaxation` says.

    Returns
    -------
    Architecture
        In canonical order of its inputs. Of equal shares the first operation counts,
        and the first edge.

    Raises
    ------
    UnknownNameError, SelectionError
        If there is no such space, or it has no supernet.
    TrainingError
        If the shares have another shape, or are not finite.

    Examples
    --------
    >>> _derive("nas-bench-201", np.eye(5)[[3, 3, 4, 0, 3, 4]]).genes
    (3, 3, 4, 0, 3, 4)
    """
    relaxation: Relaxation = _module_of(space, "supernet").SUPERNET
    shares = np.asarray(probabilities, dtype=np.float64)
    if shares.shape != relaxation.shape:
        raise TrainingError(
            f"the shares of operations in {space} must have the shape {relaxation.shape}, "
            f"found {shares.shape}"
        )
    if not np.isfinite(shares).all():
        raise TrainingError(f"the shares of operations in {space} must be finite numbers")
    return relaxation.derive(shares)


def _drop_scales(cell: nn.Module) -> None:
    """Take scale and shift from the normalisations of a cell."""
    for norm in cell.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.affine = False
            norm.register_parameter("weight", None)
            norm.register_parameter("bias", None)
