"""Networks of NAS-Bench-Macro (Su et al., CVPR 2021), and a supernet of them.

As published (https://github.com/xiusu/NAS-Bench-Macro): a convolution of 3x3 pixels to 32
channels; eight layers in stages of two, three and three, where the first layer of a stage has
stride 2 and doubles the channels; a convolution of 1x1 to 1,280 channels; the mean over the
image; a linear classifier. Every convolution is followed by batch normalisation, and by ReLU
but at the end of a block. A block of MobileNetV2 expands the channels, convolves each alone,
and projects them; its input is added where stride and channels allow it. An `Identity` that
changes them is a convolution of 1x1 pixels, normalised.

Inferred, as budgets are not part of the publication: ``channels`` are those of the stem, and
the 1,280 before the classifier are five times the last stage's, so they follow. ``layers`` are
a multiple of eight, of which every layer has as many copies of its block, one after the other.
The supernet mixes the three blocks of every layer; the publication has no such supernet.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from torch import Tensor, nn

from ...budget import Budget
from ...errors import TrainingError
from ...spaces import Architecture
from ...spaces.macro import BLOCKS, LAYERS, STAGES, MacroSpace
from .mixed import Relaxation
from .network import Frame, ProxyNetwork
from .operations import Factory, _check_size, _stem

_HEAD = 5
"""Channels before the classifier, as a multiple of the last stage's."""
_SPACE = MacroSpace()


def _convolution(
    channels: int, wider: int, size: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    padding = size // 2
    convolution = nn.Conv2d(channels, wider, size, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(wider))


def _identity(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return _convolution(channels_in, channels_out, stride=stride)


class _InvertedResidual(nn.Module):
    """A block of MobileNetV2 (Sandler et al., CVPR 2018), with ReLU as in the benchmark."""

    def __init__(
        self, expansion: int, size: int, channels_in: int, channels_out: int, stride: int
    ) -> None:
        super().__init__()
        wide = expansion * channels_in
        self.main = nn.Sequential(
            *_convolution(channels_in, wide),
            nn.ReLU(),
            *_convolution(wide, wide, size, stride, groups=wide),
            nn.ReLU(),
            *_convolution(wide, channels_out),
        )
        self.adds = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.main(x)
        return made + x if self.adds else made


OPERATIONS: Mapping[str, Factory] = MappingProxyType(
    {
        "Identity": _identity,
        "MB3_K3": partial(_InvertedResidual, 3, 3),
        "MB6_K5": partial(_InvertedResidual, 6, 5),
    }
)
"""The blocks by name, of (channels before, channels after, stride)."""


class Network(ProxyNetwork):
    """A chain of eight layers between a stem and a wide convolution."""

    def __init__(self, architecture: Architecture, budget: Budget, frame: Frame) -> None:
        chosen = iter(_SPACE.choices_of(architecture))
        copies = _copies(budget.layers)
        _check_size(_SPACE.title, budget, len(STAGES), least=1)
        channels = budget.channels
        head = _HEAD * channels * 2 ** len(STAGES)
        super().__init__(frame, head)
        self.stem = nn.Sequential(_stem(frame.input_channels, channels), nn.ReLU())
        blocks = []
        for length in STAGES:
            strides = [2, *[1] * (length * copies - 1)]
            names = [name for _ in range(length) for name in [BLOCKS[next(chosen)]] * copies]
            for name, stride in zip(names, strides, strict=True):
                blocks.append(frame.operations[name](channels, channels * stride, stride))
                channels *= stride
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(_convolution(channels, head), nn.ReLU())

    def _features(self, images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        features: Tensor = self.last(self.blocks(self.stem(images)))
        return features, features


def _copies(layers: int) -> int:
    """Return how many copies of its block each of the eight layers has."""
    if layers % LAYERS:
        nearest = LAYERS * max(1, round(layers / LAYERS))
        raise TrainingError(
            f"a NAS-Bench-Macro network has {LAYERS} layers, each one block or several copies of "
            f"it, so layers must be a multiple of {LAYERS} ({LAYERS} as published), found "
            f"{layers}; the nearest is {nearest}"
        )
    return layers // LAYERS


SUPERNET = Relaxation(
    candidates=BLOCKS,
    shape=(LAYERS, len(BLOCKS)),
    everything=_SPACE.build([1] * LAYERS),
    rows=lambda mixed: [place * LAYERS // len(mixed) for place in range(len(mixed))],
    derive=lambda shares: _SPACE.build(shares.argmax(axis=1).tolist()),
)
