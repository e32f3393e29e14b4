"""The operations on the edges of a cell, as published, built by name.

Those of DARTS are of Liu, Simonyan, Yang, ICLR 2019; those of NAS-Bench-201 of
Dong, Yang, ICLR 2020. All keep the number of channels, and turn height and
width n into ceil(n / stride). Convolutions have no bias, as batch
normalisation follows.

In DARTS a pooling is followed by batch normalisation with trained scale and
shift. Liu et al. normalise poolings in their search network only; Zheng et al.,
CVPR 2020, in those they trained, as parameter counts show (0.517 M on average
under BPE-2, 0.514 M without). Theirs are what this project compares with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

Factory = Callable[[int, int], nn.Module]
"""From the number of channels and the stride (1 or 2) to the operation."""


class Zero(nn.Module):
    """Nothing: zeros of the output's shape, whatever comes in.

    Parameters
    ----------
    stride
        Height and width are divided by it, rounded up.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros, (N, C, H, W) → (N, C, ceil(H / stride), ceil(W / stride))."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class FactorizedReduction(nn.Module):
    """Halve height and width by two 1x1 convolutions, each on every other pixel.

    The first sees the pixels of even row and column, the second those of odd row
    and column; each gives half of the output's channels.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(channels_in, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels_out - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reduced images, (N, C, H, W) → (N, C', ceil(H / 2), ceil(W / 2))."""
        x = self.relu(x)
        rows, columns = x.shape[2] % 2, x.shape[3] % 2
        # An odd size has one odd pixel less than even ones: a zero stands in for it.
        shifted = functional.pad(x, (0, columns, 0, rows)) if rows or columns else x
        joined = torch.cat([self.even(x), self.odd(shifted[:, :, 1:, 1:])], dim=1)
        reduced: Tensor = self.norm(joined)
        return reduced


def relu_conv_norm(channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Module:
    """Return ReLU, convolution, batch normalisation.

    Parameters
    ----------
    channels_in, channels_out
        Channels before and after.
    size
        Side of the kernel in pixels, odd.
    stride
        Height and width are divided by it, rounded up.
    """
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )


def path_masks(paths: int, samples: int, keep: Tensor, generator: torch.Generator) -> Tensor:
    """Draw which paths are dropped for which images (Larsson et al., ICLR 2017, as in DARTS).

    One draw serves all paths of a network, and nothing is read from the device.

    Parameters
    ----------
    paths, samples
        P paths, N images.
    keep
        Probability in (0, 1] that a path is kept, a scalar on the images' device.
        As a tensor, so that a captured graph follows its changes.
    generator
        Of the same device; the only source of randomness.

    Returns
    -------
    tensor of shape (P, N, 1, 1, 1)
        1 / ``keep`` with probability ``keep``, else 0: the mean is 1.
    """
    drawn = torch.rand((paths, samples, 1, 1, 1), generator=generator, device=keep.device)
    return (drawn < keep) / keep


def drop_path(x: Tensor, mask: Tensor) -> Tensor:
    """Return images (N, C, H, W) times one path's mask (N, 1, 1, 1), in the images' precision."""
    return x * mask.to(x.dtype)


def _average_pool(channels: int, stride: int) -> nn.Module:
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


def _normalised_max_pool(channels: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.MaxPool2d(3, stride, padding=1), nn.BatchNorm2d(channels))


def _normalised_average_pool(channels: int, stride: int) -> nn.Module:
    return nn.Sequential(_average_pool(channels, stride), nn.BatchNorm2d(channels))


def _skip(channels: int, stride: int) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduction(channels, channels)


def _none(channels: int, stride: int) -> nn.Module:
    return Zero(stride)


def _depthwise_separable(
    channels: int, size: int, stride: int, dilation: int = 1
) -> list[nn.Module]:
    """Return ReLU, a convolution of each channel alone, one across channels, normalisation."""
    return [
        nn.ReLU(),
        nn.Conv2d(
            channels,
            channels,
            size,
            stride,
            padding=dilation * (size // 2),
            dilation=dilation,
            groups=channels,
            bias=False,
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


def _separable(size: int) -> Factory:
    def make(channels: int, stride: int) -> nn.Module:
        return nn.Sequential(
            *_depthwise_separable(channels, size, stride),
            *_depthwise_separable(channels, size, 1),
        )

    return make


def _dilated(size: int) -> Factory:
    def make(channels: int, stride: int) -> nn.Module:
        return nn.Sequential(*_depthwise_separable(channels, size, stride, dilation=2))

    return make


def _convolution(size: int) -> Factory:
    def make(channels: int, stride: int) -> nn.Module:
        return relu_conv_norm(channels, channels, size, stride)

    return make


DARTS_OPERATIONS: Mapping[str, Factory] = MappingProxyType(
    {
        "none": _none,
        "max_pool_3x3": _normalised_max_pool,
        "avg_pool_3x3": _normalised_average_pool,
        "skip_connect": _skip,
        "sep_conv_3x3": _separable(3),
        "sep_conv_5x5": _separable(5),
        "dil_conv_3x3": _dilated(3),
        "dil_conv_5x5": _dilated(5),
    }
)
"""DARTS' operations by name; ``none`` is in no genotype, only in search networks."""

NAS_BENCH_201_OPERATIONS: Mapping[str, Factory] = MappingProxyType(
    {
        "none": _none,
        "skip_connect": _skip,
        "nor_conv_1x1": _convolution(1),
        "nor_conv_3x3": _convolution(3),
        "avg_pool_3x3": _average_pool,
    }
)
"""NAS-Bench-201's operations by name."""
