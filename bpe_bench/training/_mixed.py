"""The supernet of DARTS as a network: on every edge all operations, mixed; and what it derives.

Source: Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, section
2.2, and its code; for NAS-Bench-201 Dong and Yang, ICLR 2020, and theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..budget import Budget
from ..errors import TrainingError, unknown_name
from ..spaces import SPACES, Architecture, darts, nas_bench_201
from .networks.network import build_network
from .networks.operations import DARTS_OPERATIONS, NAS_BENCH_201_OPERATIONS, Factory

_NONE = "none"
_INPUTS = 2
"""Edges that a node of a derived DARTS cell keeps."""
_FIRST_SPREAD = 1e-3
"""Standard deviation of the architecture parameters at first, as published."""

CANDIDATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"darts": (_NONE, *darts.OPERATIONS), "nas-bench-201": nas_bench_201.OPERATIONS}
)
"""By space: the operations that an edge of the supernet mixes, ``none`` the first."""

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "darts": (len(darts.CELLS), darts.EDGES, len(CANDIDATES["darts"])),
    "nas-bench-201": (len(nas_bench_201.EDGES), len(CANDIDATES["nas-bench-201"])),
}
_FACTORIES = {"darts": DARTS_OPERATIONS, "nas-bench-201": NAS_BENCH_201_OPERATIONS}


class MixedOperation(nn.Module):
    """All operations of an edge at once, each times its share.

    Parameters
    ----------
    factories
        The operations by name.
    names
        Those that are mixed, ``none`` the first: it adds zeros, so it is left out,
        and only its share is lost.
    channels, stride
        Of the edge.
    """

    shares: Sequence[Tensor]
    """A scalar per name; set before every pass."""

    def __init__(
        self, factories: Mapping[str, Factory], names: Sequence[str], channels: int, stride: int
    ) -> None:
        super().__init__()
        self.stride = stride
        self.shares = ()
        made = [factories[name](channels, stride) for name in names if name != _NONE]
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
        shares = [share.to(values[0].dtype) for share in self.shares[1:]]
        total: Tensor = values[0] * shares[0]
        for value, share in zip(values[1:], shares[1:], strict=True):
            total = torch.addcmul(total, value, share)
        return total


class Supernet(nn.Module):
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
        ``darts`` or ``nas-bench-201``.
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
    UnknownNameError
        If there is no such space.
    """

    alphas: Tensor
    """Architecture parameters: (2, 14, 8) for DARTS, (6, 5) for NAS-Bench-201. A buffer: what
    trains `parameters` leaves them alone."""
    drop_path: float = 0.0
    """What the trainer sets, to no effect."""

    def __init__(
        self, space: str, budget: Budget, classes: int, *, input_channels: int = 3
    ) -> None:
        super().__init__()
        if space not in CANDIDATES:
            raise unknown_name("search space", space, SPACES)
        names, factories = CANDIDATES[space], _FACTORIES[space]

        def mixed(channels: int, stride: int) -> nn.Module:
            return MixedOperation(factories, names, channels, stride)

        self.network = build_network(
            every_edge(space),
            budget,
            classes,
            input_channels=input_channels,
            auxiliary=False,
            operations=dict.fromkeys(names, mixed),
        )
        self.register_buffer("alphas", _FIRST_SPREAD * torch.randn(_SHAPES[space]))
        for cell in self.network.modules():
            if hasattr(cell, "graph"):
                _drop_scales(cell)
        self._mixed = [m for m in self.network.modules() if isinstance(m, MixedOperation)]
        self._rows = _rows(self._mixed, edges=_SHAPES[space][-2])
        self._norms = [m for m in self.network.modules() if isinstance(m, nn.BatchNorm2d)]

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Shares of the operations, shaped as `alphas`; along the last axis they add up to 1."""
        shares: npt.NDArray[np.float64] = self.alphas.detach().double().softmax(-1).cpu().numpy()
        return shares

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Classify images, (N, input channels, H, W): logits (N, K), and none of a second head."""
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
        """Give `alphas` to take gradients by; passes leave the running statistics as they are.

        Outside they require no gradient, which spares the weights' passes computing it.
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


def derive(space: str, probabilities: npt.ArrayLike) -> Architecture:
    """Return the architecture that a mixture stands for.

    DARTS: an edge's operation is the one of the largest share other than ``none``;
    a node keeps the two edges on which that share is largest. ``none`` takes its
    part of the shares, as published, so it weakens an edge without being chosen.
    NAS-Bench-201: every edge's operation of the largest share, ``none`` among them,
    as its authors do: there it is an operation of the space. Of equal shares the
    first operation counts, and the first edge.

    Parameters
    ----------
    space
        ``darts`` or ``nas-bench-201``.
    probabilities
        Shares of the operations of `CANDIDATES`: (2, 14, 8) for DARTS, normal
        cell first and edges as in `darts.edge_index`; (6, 5) for NAS-Bench-201,
        edges in the order of the genes.

    Returns
    -------
    Architecture
        In canonical order of its inputs.

    Raises
    ------
    UnknownNameError
        If there is no such space.
    TrainingError
        If the shares have another shape, or are not finite.

    Examples
    --------
    >>> derive("nas-bench-201", np.eye(5)[[3, 3, 4, 0, 3, 4]]).genes
    (3, 3, 4, 0, 3, 4)
    """
    if space not in _SHAPES:
        raise unknown_name("search space", space, SPACES)
    shares = np.asarray(probabilities, dtype=np.float64)
    if shares.shape != _SHAPES[space]:
        raise TrainingError(
            f"the shares of operations in {space} must have the shape {_SHAPES[space]}, "
            f"found {shares.shape}"
        )
    if not np.isfinite(shares).all():
        raise TrainingError(f"the shares of operations in {space} must be finite numbers")
    if space == "nas-bench-201":
        return Architecture(space, tuple(shares.argmax(axis=1).tolist()))
    normal, reduce = (_derive_cell(cell[:, 1:]) for cell in shares)
    return darts.from_cells(normal, reduce)


def _derive_cell(shares: npt.NDArray[np.float64]) -> darts.Cell:
    """Return the cell of shares (14, 7), ``none`` left out."""
    operations, best = shares.argmax(axis=1), shares.max(axis=1)
    nodes = []
    for node in range(darts.NODES):
        edges = [darts.edge_index(node, source) for source in range(node + 2)]
        # Stable, so that of equal shares the first edges are kept.
        kept = np.argsort(-best[edges], kind="stable")[:_INPUTS]
        nodes.append(tuple((int(operations[edges[s]]), s) for s in sorted(kept.tolist())))
    return tuple(nodes)


def every_edge(space: str) -> Architecture:
    """Return an architecture that has all edges; its operations do not matter but for ``none``."""
    if space == "nas-bench-201":
        return Architecture(space, (1,) * len(nas_bench_201.EDGES))
    cell = tuple(tuple((0, source) for source in range(n + 2)) for n in range(darts.NODES))
    return darts.from_cells(cell, cell)


def _rows(mixed: Sequence[MixedOperation], edges: int) -> list[int]:
    """Return for every mixed operation the place of its edge among those of all kinds of cells."""
    rows: list[int] = []
    for first in range(0, len(mixed), edges):
        # The first edge comes from an input; it has a stride in reduction cells only.
        kind = mixed[first].stride - 1
        rows += range(kind * edges, (kind + 1) * edges)
    return rows


def _drop_scales(cell: nn.Module) -> None:
    """Take scale and shift from the normalisations of a cell."""
    for norm in cell.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.affine = False
            norm.register_parameter("weight", None)
            norm.register_parameter("bias", None)
