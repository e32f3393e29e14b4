"""Networks of NAS-Bench-201 (Dong, Yang, ICLR 2020), and its supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

from torch import Tensor, nn

from ...budget import Budget
from ...errors import TrainingError
from ...spaces import Architecture, nas_bench_201
from ...spaces.base import FloatArray
from .mixed import Relaxation
from .network import Frame, ProxyNetwork
from .operations import (
    Factory,
    _average_pool,
    _check_size,
    _Graph,
    _relu_conv_norm,
    _skip,
    _stem,
    _Zero,
)

_SPACE = nas_bench_201.NasBench201Space()
_STAGES = 3


def _convolution(size: int, channels: int, stride: int) -> nn.Module:
    return _relu_conv_norm(channels, channels, size, stride)


OPERATIONS: Mapping[str, Factory] = MappingProxyType(
    {
        "none": _Zero,
        "skip_connect": _skip,
        "nor_conv_1x1": partial(_convolution, 1),
        "nor_conv_3x3": partial(_convolution, 3),
        "avg_pool_3x3": _average_pool,
    }
)
"""NAS-Bench-201's operations by name."""


class _ResidualReduction(nn.Module):
    """A basic residual block that halves height and width and changes the channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            _relu_conv_norm(channels_in, channels_out, 3, stride=2),
            _relu_conv_norm(channels_out, channels_out, 3),
        )
        self.shortcut = nn.Sequential(
            # Rounding up, as the convolution does, for images of odd size.
            nn.AvgPool2d(2, stride=2, ceil_mode=True),
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.main(x) + self.shortcut(x)
        return total


class _Cell(nn.Module):
    """Four nodes; the first is the input, the last the output."""

    def __init__(
        self,
        nodes: Sequence[Sequence[tuple[str, int, int]]],
        channels: int,
        operations: Mapping[str, Factory],
    ) -> None:
        super().__init__()
        self.graph = _Graph(nodes, operations, channels)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.graph([x])[-1]
        return output


class Network(ProxyNetwork):
    """Three stages of equal cells, a residual reduction between them."""

    def __init__(self, architecture: Architecture, budget: Budget, frame: Frame) -> None:
        nodes = _nodes(architecture)
        cells = _cells_per_stage(budget.layers)
        _check_size("NAS-Bench-201", budget, _STAGES - 1)
        widths = [budget.channels * 2**stage for stage in range(_STAGES)]
        super().__init__(frame, widths[-1])
        self.stem = _stem(frame.input_channels, widths[0])
        blocks: list[nn.Module] = []
        for stage, channels in enumerate(widths):
            if stage:
                blocks.append(_ResidualReduction(widths[stage - 1], channels))
            blocks.extend(_Cell(nodes, channels, frame.operations) for _ in range(cells))
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())

    def _features(self, images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        features: Tensor = self.last(self.blocks(self.stem(images)))
        return features, features


def _cells_per_stage(layers: int) -> int:
    """Return N of 3N + 2 layers: three stages of N cells, a residual block between them."""
    cells, rest = divmod(layers - (_STAGES - 1), _STAGES)
    if cells >= 1 and not rest:
        return cells
    nearest = _STAGES * max(1, round((layers - (_STAGES - 1)) / _STAGES)) + _STAGES - 1
    raise TrainingError(
        "a NAS-Bench-201 network is 3 stages of N cells and 2 residual blocks, so layers must be "
        f"3N + 2 (5, 8, ..., 17 as published), found {layers}; the nearest is {nearest}"
    )


def _nodes(architecture: Architecture) -> list[list[tuple[str, int, int]]]:
    """Return the edges into nodes 1 to 3, each with its operation, stride and input."""
    nodes: list[list[tuple[str, int, int]]] = [[], [], []]
    chosen = _SPACE.choices_of(architecture)
    for (node, source), operation in zip(nas_bench_201.EDGES, chosen, strict=True):
        nodes[node - 1].append((nas_bench_201.OPERATIONS[operation], 1, source))
    return nodes


def _derive(shares: FloatArray) -> Architecture:
    """Return the operation with the largest share on every edge, for shares (6, 5).

    ``none`` may be chosen, as its authors do: in this space it is an operation.
    """
    return _SPACE.build(shares.argmax(axis=1).tolist())


SUPERNET = Relaxation(
    candidates=nas_bench_201.OPERATIONS,
    shape=(len(nas_bench_201.EDGES), len(nas_bench_201.OPERATIONS)),
    everything=_SPACE.build([1] * len(nas_bench_201.EDGES)),
    rows=lambda mixed: [place % len(nas_bench_201.EDGES) for place in range(len(mixed))],
    derive=_derive,
)
