"""Operations and layers that the networks of several spaces share.

Operations keep the number of channels, and turn height and width n into ceil(n / stride).
Convolutions have no bias, as batch normalisation follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...budget import Budget
from ...errors import TrainingError

Factory = Callable[..., nn.Module]
"""From channels (those before and after, where they may differ) and the stride (1 or 2) to the
operation."""


class _Zero(nn.Module):
    """Zeros of the output's shape, whatever the input."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros, (N, C, H, W) → (N, C, ceil(H / stride), ceil(W / stride))."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class _FactorizedReduction(nn.Module):
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


def _relu_conv_norm(channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Module:
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


def _path_masks(paths: int, samples: int, keep: Tensor, generator: torch.Generator) -> Tensor:
    """Draw which paths are dropped for which images (Larsson et al., ICLR 2017, as in DARTS).

    One draw serves all paths of a network, and nothing is read from the device.

    Parameters
    ----------
    paths, samples
        P paths, N images.
    keep
        Probability in (0, 1] that a path is kept, a scalar on the images' device.
        A tensor, so that a captured graph follows its changes.
    generator
        Of the same device; the only source of randomness.

    Returns
    -------
    tensor of shape (P, N, 1, 1, 1)
        1 / ``keep`` with probability ``keep``, else 0: the mean is 1.
    """
    drawn = torch.rand((paths, samples, 1, 1, 1), generator=generator, device=keep.device)
    return (drawn < keep) / keep


def _drop_path(x: Tensor, mask: Tensor) -> Tensor:
    """Return images (N, C, H, W) times one path's mask (N, 1, 1, 1), in the images' precision."""
    return x * mask.to(x.dtype)


def _average_pool(channels: int, stride: int) -> nn.Module:
    """Return the mean of 3x3 pixels without those of the padding."""
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


def _skip(channels: int, stride: int) -> nn.Module:
    """Return nothing at stride 1, else a factorised reduction."""
    return nn.Identity() if stride == 1 else _FactorizedReduction(channels, channels)


def _stem(channels_in: int, channels_out: int) -> nn.Module:
    """Return the first convolution of 3x3 pixels, normalised."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class _Graph(nn.Module):
    """Nodes that add up the outputs of their edges.

    Parameters
    ----------
    nodes
        For each node its edges: operation's name, stride, and place of the input
        among the states.
    factories
        The operations by name.
    channels
        Channels of all states.
    """

    paths: int
    """Edges that drop-path may drop: all but identities."""

    def __init__(
        self,
        nodes: Sequence[Sequence[tuple[str, int, int]]],
        factories: Mapping[str, Factory],
        channels: int,
    ) -> None:
        super().__init__()
        # Adding zeros costs time and changes nothing; a node of nothing else needs one.
        kept = [[edge for edge in node if edge[0] != "none"] or node[:1] for node in nodes]
        self.sources = [[source for _, _, source in node] for node in kept]
        self.operations = nn.ModuleList(
            factories[name](channels, stride) for node in kept for name, stride, _ in node
        )
        self.droppable = [not isinstance(op, nn.Identity) for op in self.operations]
        self.paths = sum(self.droppable)

    def forward(self, states: list[Tensor], masks: Iterator[Tensor] | None = None) -> list[Tensor]:
        """Return the states (inputs and nodes so far) followed by the new nodes.

        ``masks`` yields a mask (N, 1, 1, 1) for each droppable edge, in order.
        """
        states = list(states)
        edges = iter(zip(self.operations, self.droppable, strict=True))
        for sources in self.sources:
            values = []
            for source in sources:
                operation, droppable = next(edges)
                value: Tensor = operation(states[source])
                values.append(
                    _drop_path(value, next(masks)) if droppable and masks is not None else value
                )
            states.append(sum(values[1:], start=values[0]))
        return states


def _check_size(space: str, budget: Budget, reductions: int, least: int = 2) -> None:
    """Refuse images that are too small for a network's reductions.

    Parameters
    ----------
    space, budget
        Title of the space, and the budget.
    reductions
        How often height and width are halved.
    least
        Pixels that must be left: what an auxiliary head needs, and 3x3 operations.

    Raises
    ------
    TrainingError
        With an image size that is large enough.
    """
    smallest = least * 2**reductions
    if budget.image_size < smallest:
        raise TrainingError(
            f"the {reductions} reductions of a {space} network of {budget.layers} layers need an "
            f"image_size of at least {smallest} pixels, found {budget.image_size}; choose a larger "
            "image_size"
        )
