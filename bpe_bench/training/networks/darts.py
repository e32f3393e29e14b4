"""Networks of DARTS (Liu, Simonyan, Yang, ICLR 2019), and its supernet.

A pooling is followed by batch normalisation with trained scale and shift. Liu et al.
normalise poolings in their search network only; Zheng et al., CVPR 2020, in those they
trained, as parameter counts show (0.517 M on average under BPE-2, 0.514 M without).
This project follows Zheng et al.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...budget import Budget
from ...spaces import Architecture, darts
from ...spaces.base import FloatArray
from .mixed import Relaxation, _MixedOperation
from .network import Frame, ProxyNetwork
from .operations import (
    Factory,
    _average_pool,
    _check_size,
    _FactorizedReduction,
    _Graph,
    _relu_conv_norm,
    _skip,
    _stem,
    _Zero,
)

_STEM_MULTIPLIER = 3
_AUXILIARY_CHANNELS = (128, 768)
_INPUTS = 2
"""Edges that a node of a derived cell keeps."""


def _normalised_max_pool(channels: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.MaxPool2d(3, stride, padding=1), nn.BatchNorm2d(channels))


def _normalised_average_pool(channels: int, stride: int) -> nn.Module:
    return nn.Sequential(_average_pool(channels, stride), nn.BatchNorm2d(channels))


class _Depthwise(nn.Conv2d):
    """A depthwise convolution; on a CPU a dilated one is computed as ordinary ones.

    With dilation 2, even positions only meet even ones, and odd ones odd ones. So the image is
    four images of half its height and width, each with an ordinary convolution of the same
    weights; at stride 2 only one of the four is needed. The result is the same except for
    rounding, and the backward pass of the CPU's library is several times faster.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Convolve images of shape (N, C, H, W)."""
        if self.dilation != (2, 2) or images.device.type != "cpu":
            return super().forward(images)
        size = self.kernel_size[0] // 2
        if self.stride == (2, 2):
            even = images[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
            return functional.conv2d(even, self.weight, padding=size, groups=self.groups)
        n, c, h, w = images.shape
        # Beyond the border there are zeros, whether padded here or by the convolution.
        images = functional.pad(images, (0, w % 2, 0, h % 2)) if h % 2 or w % 2 else images
        rows, columns = images.shape[2] // 2, images.shape[3] // 2
        # Channels stay last throughout, so that neither pass reorders them.
        parts = images.permute(0, 2, 3, 1).reshape(n, rows, 2, columns, 2, c)
        parts = parts.permute(2, 4, 0, 1, 3, 5).reshape(4 * n, rows, columns, c)
        made = functional.conv2d(
            parts.permute(0, 3, 1, 2), self.weight, padding=size, groups=self.groups
        )
        whole = made.permute(0, 2, 3, 1).reshape(2, 2, n, rows, columns, c)
        whole = whole.permute(2, 3, 0, 4, 1, 5).reshape(n, 2 * rows, 2 * columns, c)
        return whole[:, :h, :w].permute(0, 3, 1, 2)


def _depthwise_separable(
    channels: int, size: int, stride: int, dilation: int = 1
) -> list[nn.Module]:
    """Return ReLU, a depthwise convolution, a pointwise one, and normalisation."""
    return [
        nn.ReLU(),
        _Depthwise(
            channels, channels, size, stride, dilation * (size // 2), dilation, channels, bias=False
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


def _separable(size: int, channels: int, stride: int) -> nn.Module:
    first, second = (_depthwise_separable(channels, size, step) for step in (stride, 1))
    return nn.Sequential(*first, *second)


def _dilated(size: int, channels: int, stride: int) -> nn.Module:
    return nn.Sequential(*_depthwise_separable(channels, size, stride, dilation=2))


OPERATIONS: Mapping[str, Factory] = MappingProxyType(
    {
        "none": _Zero,
        "max_pool_3x3": _normalised_max_pool,
        "avg_pool_3x3": _normalised_average_pool,
        "skip_connect": _skip,
        "sep_conv_3x3": partial(_separable, 3),
        "sep_conv_5x5": partial(_separable, 5),
        "dil_conv_3x3": partial(_dilated, 3),
        "dil_conv_5x5": partial(_dilated, 5),
    }
)
"""DARTS' operations by name; ``none`` is in no genotype, only in search networks."""


class _DartsCell(nn.Module):
    """Two inputs brought to the cell's channels and size, four nodes, joined."""

    def __init__(
        self,
        cell: darts.Cell,
        channels_in: tuple[int, int],
        channels: int,
        strides: tuple[int, int],
        operations: Mapping[str, Factory],
    ) -> None:
        super().__init__()
        before, previous = channels_in
        preceding, stride = strides
        # After a reduction the input from two cells ago is still twice as large.
        self.before = (
            _FactorizedReduction(before, channels)
            if preceding == 2
            else _relu_conv_norm(before, channels, 1)
        )
        self.previous = _relu_conv_norm(previous, channels, 1)
        nodes = [
            [(darts.OPERATIONS[op], stride if source < 2 else 1, source) for op, source in node]
            for node in cell
        ]
        self.graph = _Graph(nodes, operations, channels)

    def forward(self, before: Tensor, previous: Tensor, masks: Iterator[Tensor] | None) -> Tensor:
        states = self.graph([self.before(before), self.previous(previous)], masks)
        return torch.cat(states[2:], dim=1)


class Network(ProxyNetwork):
    """Normal cells, with a reduction cell at each third of the depth."""

    def __init__(self, architecture: Architecture, budget: Budget, frame: Frame) -> None:
        normal, reduce = darts.cells_of(architecture)
        places = (budget.layers // 3, 2 * budget.layers // 3)
        reductions = len(set(places))
        _check_size("DARTS", budget, reductions)
        width = darts.NODES * budget.channels
        super().__init__(frame, width * 2**reductions)
        width_of_stem = _STEM_MULTIPLIER * budget.channels
        self.stem = _stem(frame.input_channels, width_of_stem)
        cells: list[_DartsCell] = []
        inputs, channels, preceding = (width_of_stem, width_of_stem), budget.channels, 1
        for place in range(budget.layers):
            stride = 2 if place in places else 1
            channels *= stride
            cell = reduce if stride == 2 else normal
            cells.append(_DartsCell(cell, inputs, channels, (preceding, stride), frame.operations))
            inputs, preceding = (inputs[1], darts.NODES * channels), stride
        self.cells = nn.ModuleList(cells)
        self.paths = sum(cell.graph.paths for cell in cells)
        self.last_reduction = places[-1]
        if frame.auxiliary:
            size = _reduced(budget.image_size, reductions)
            self.auxiliary_head = _auxiliary_head(width * 2**reductions, size, frame.classes)

    def _features(self, images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        before = previous = middle = self.stem(images)
        # One conversion here instead of one at every edge.
        paths = None if masks is None else iter(masks.to(previous.dtype).unbind())
        for place, cell in enumerate(self.cells):
            before, previous = previous, cell(before, previous, paths)
            if place == self.last_reduction:
                middle = previous
        return previous, middle


def _auxiliary_head(channels: int, size: int, classes: int) -> nn.Module:
    """Return the head for features (N, channels, size, size).

    Its pooling leaves 2x2 pixels of four windows that reach from corner to
    corner: at 8x8 windows of 5 pixels in steps of 3, as published, and about as
    much overlap at other sizes.
    """
    window = min(size // 2 + 1, size - 1)
    narrow, wide = _AUXILIARY_CHANNELS
    return nn.Sequential(
        nn.ReLU(),
        nn.AvgPool2d(window, stride=size - window, count_include_pad=False),
        nn.Conv2d(channels, narrow, 1, bias=False),
        nn.BatchNorm2d(narrow),
        nn.ReLU(),
        nn.Conv2d(narrow, wide, 2, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(wide, classes),
    )


def _reduced(size: int, reductions: int) -> int:
    """Return the side of an image after the reductions, each of which rounds up."""
    for _ in range(reductions):
        size = (size + 1) // 2
    return size


def _rows(mixed: Sequence[_MixedOperation]) -> list[int]:
    """Return for every mixed operation the place of its edge among those of both kinds of cells."""
    rows: list[int] = []
    for first in range(0, len(mixed), darts.EDGES):
        # The first edge comes from an input; it has a stride in reduction cells only.
        kind = mixed[first].stride - 1
        rows += range(kind * darts.EDGES, (kind + 1) * darts.EDGES)
    return rows


def _derive(shares: FloatArray) -> Architecture:
    """Return the cells of shares (2, 14, 8), the normal cell first, edges as `darts.edge_index`.

    An edge's operation is the one with the largest share other than ``none``; a node keeps the
    two edges on which that share is largest. As published, ``none`` has a share, too, so it
    weakens an edge without being chosen.
    """
    operations, best = shares[..., 1:].argmax(axis=-1), shares[..., 1:].max(axis=-1)
    cells = []
    for chosen, strength in zip(operations.tolist(), best, strict=True):
        nodes = []
        for node in range(darts.NODES):
            edges = darts.edge_index(node, 0) + np.arange(node + 2)
            # Stable, so that of equal shares the first edges are kept.
            kept = np.argsort(-strength[edges], kind="stable")[:_INPUTS]
            nodes.append(tuple((chosen[edges[s]], s) for s in sorted(kept.tolist())))
        cells.append(tuple(nodes))
    return darts.from_cells(cells[0], cells[1])


SUPERNET = Relaxation(
    candidates=("none", *darts.OPERATIONS),
    shape=(len(darts.CELLS), darts.EDGES, 1 + len(darts.OPERATIONS)),
    everything=darts.FullDartsSpace().build([0] * (len(darts.CELLS) * darts.EDGES)),
    rows=_rows,
    derive=_derive,
)
