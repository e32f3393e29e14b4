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
        self.even = nn.Conv2d(channels_in, half, 1, bias=False)
        self.odd = nn.Conv2d(channels_in, channels_out - half, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reduced images, (N, C, H, W) → (N, C', ceil(H / 2), ceil(W / 2))."""
        n, c, h, w = x.shape
        # An odd size has one odd pixel less than even ones: a zero stands in for it.
        x = functional.pad(x, (0, w % 2, 0, h % 2)) if h % 2 or w % 2 else x
        # Pixels are picked with channels last, so that the backward pass keeps them last, too.
        pixels = self.relu(x).permute(0, 2, 3, 1)
        pixels = pixels.reshape(n, x.shape[2] // 2, 2, x.shape[3] // 2, 2, c)
        even, odd = (pixels[:, :, i, :, i].permute(0, 3, 1, 2) for i in (0, 1))
        reduced: Tensor = self.norm(torch.cat([self.even(even), self.odd(odd)], dim=1))
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


class _Depthwise(nn.Conv2d):
    """A convolution of each channel alone; on a CPU a dilated one is done as ordinary ones.

    With dilation 2, even places meet only even places, and odd ones odd ones: the
    image falls into four images of half its height and width, each with an
    ordinary convolution of the same weights. At stride 2 only one of the four is
    asked for. The result is the same but for rounding, and the backward pass of
    the CPU's library several times as fast.
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
    """Return ReLU, a convolution of each channel alone, one across channels, normalisation."""
    return [
        nn.ReLU(),
        _Depthwise(
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
