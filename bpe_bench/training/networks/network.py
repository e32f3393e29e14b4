"""Architectures as networks: DARTS (Liu et al., ICLR 2019) and NAS-Bench-201 (Dong, Yang, 2020).

A budget sets their depth (`layers`) and width (`channels`); everything else is
as published. Weights start as torch draws them, as the authors' do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ...budget import Budget
from ...errors import TrainingError, unknown_name
from ...spaces import SPACES, Architecture, darts, get_space, nas_bench_201
from .operations import (
    DARTS_OPERATIONS,
    NAS_BENCH_201_OPERATIONS,
    FactorizedReduction,
    Factory,
    drop_path,
    path_masks,
    relu_conv_norm,
)

_STEM_MULTIPLIER = 3
_STAGES = 3
_AUXILIARY_CHANNELS = (128, 768)
_LEAST_FEATURES = 2
"""Pixels that the reductions must leave: what the auxiliary head needs, and 3x3 operations."""


class ProxyNetwork(nn.Module):
    """A network of a search space, ready to be trained; made by `build_network`.

    Parameters
    ----------
    input_channels
        Channels of the images.
    features
        Channels before the classifier.
    classes
        Number of classes K.
    """

    input_channels: int
    """Channels of the images."""
    auxiliary_head: nn.Module | None
    """Second classifier in the middle of the network, used in training only."""
    paths: int
    """Paths that drop-path may drop."""
    _keep: Tensor

    def __init__(self, input_channels: int, features: int, classes: int) -> None:
        super().__init__()
        self.input_channels = input_channels
        self.auxiliary_head = None
        self.paths = 0
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(features, classes)
        self._drop_path = 0.0
        # On the device, so that setting it needs no new capture of a CUDA graph; not in
        # the state dictionary, because the schedule and not the checkpoint knows it.
        self.register_buffer("_keep", torch.ones(()), persistent=False)

    @property
    def drop_path(self) -> float:
        """Probability in [0, 1) that a path is dropped for an image; 0 at first.

        Networks of NAS-Bench-201 have no such paths, as published.
        """
        return self._drop_path

    @drop_path.setter
    def drop_path(self, probability: float) -> None:
        """Set it; refuses with `TrainingError` what is no probability below 1."""
        if not 0 <= probability < 1:
            raise TrainingError(
                f"the drop-path probability must be at least 0 and below 1, found {probability!r}"
            )
        self._drop_path = float(probability)
        self._keep.fill_(1 - self._drop_path)

    def forward(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Classify images.

        Parameters
        ----------
        images
            (N, input channels, H, W), H and W the budget's image size.
        generator
            Draws the paths to drop in training; on the images' device.

        Returns
        -------
        logits
            (N, K).
        auxiliary logits
            (N, K) in training if there is an auxiliary head, else None.

        Raises
        ------
        TrainingError
            If paths are to be dropped without a generator, or the auxiliary head
            is to be trained on one image.
        """
        if self.training and self.auxiliary_head is not None and len(images) == 1:
            # Its last normalisation is over the batch alone: one number per channel.
            raise TrainingError(
                "the auxiliary head needs at least 2 images in a training batch, found 1; choose a "
                "batch_size that does not leave a single image over"
            )
        features, middle = self._features(images, self._masks(len(images), generator))
        logits = self.classifier(self.pool(features).flatten(1))
        if self.auxiliary_head is None or not self.training:
            return logits, None
        return logits, self.auxiliary_head(middle)

    def _features(self, images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the features for the classifier and those for the auxiliary head."""
        raise NotImplementedError

    def _masks(self, samples: int, generator: torch.Generator | None) -> Tensor | None:
        if not self.training or not self.paths:
            return None
        if generator is None:
            if self._drop_path:
                raise TrainingError(
                    f"dropping paths with probability {self._drop_path} needs a generator, found "
                    "none; pass one to forward, or set drop_path to 0"
                )
            return None
        # Also at probability 0, so that a graph captured then holds for all others.
        return path_masks(self.paths, samples, self._keep, generator)


class _Graph(nn.Module):
    """Nodes that add up what comes over their edges.

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
                    drop_path(value, next(masks)) if droppable and masks is not None else value
                )
            states.append(sum(values[1:], start=values[0]))
        return states


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
            FactorizedReduction(before, channels)
            if preceding == 2
            else relu_conv_norm(before, channels, 1)
        )
        self.previous = relu_conv_norm(previous, channels, 1)
        nodes = [
            [(darts.OPERATIONS[op], stride if source < 2 else 1, source) for op, source in node]
            for node in cell
        ]
        self.graph = _Graph(nodes, operations, channels)

    def forward(self, before: Tensor, previous: Tensor, masks: Iterator[Tensor] | None) -> Tensor:
        states = self.graph([self.before(before), self.previous(previous)], masks)
        return torch.cat(states[2:], dim=1)


class _DartsNetwork(ProxyNetwork):
    def __init__(
        self,
        architecture: Architecture,
        budget: Budget,
        classes: int,
        input_channels: int,
        auxiliary: bool,
        operations: Mapping[str, Factory],
    ) -> None:
        normal, reduce = darts.cells_of(architecture)
        places = (budget.layers // 3, 2 * budget.layers // 3)
        reductions = len(set(places))
        _check_size("DARTS", budget, reductions)
        width = darts.NODES * budget.channels
        super().__init__(input_channels, width * 2**reductions, classes)
        stem = _STEM_MULTIPLIER * budget.channels
        self.stem = _stem(input_channels, stem)
        cells: list[_DartsCell] = []
        inputs, channels, preceding = (stem, stem), budget.channels, 1
        for place in range(budget.layers):
            stride = 2 if place in places else 1
            channels *= stride
            cell = reduce if stride == 2 else normal
            cells.append(_DartsCell(cell, inputs, channels, (preceding, stride), operations))
            inputs, preceding = (inputs[1], darts.NODES * channels), stride
        self.cells = nn.ModuleList(cells)
        self.paths = sum(cell.graph.paths for cell in cells)
        self.last_reduction = places[-1]
        if auxiliary:
            size = _reduced(budget.image_size, reductions)
            self.auxiliary_head = _auxiliary_head(width * 2**reductions, size, classes)

    def _features(self, images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        before = previous = middle = self.stem(images)
        # One conversion here instead of one at every edge.
        paths = None if masks is None else iter(masks.to(previous.dtype).unbind())
        for place, cell in enumerate(self.cells):
            before, previous = previous, cell(before, previous, paths)
            if place == self.last_reduction:
                middle = previous
        return previous, middle


class _ResidualReduction(nn.Module):
    """A basic residual block that halves height and width and changes the channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            relu_conv_norm(channels_in, channels_out, 3, stride=2),
            relu_conv_norm(channels_out, channels_out, 3),
        )
        self.shortcut = nn.Sequential(
            # Rounding up, as the convolution does, for images of odd size.
            nn.AvgPool2d(2, stride=2, ceil_mode=True),
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.main(x) + self.shortcut(x)
        return total


class _NasBench201Cell(nn.Module):
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


class _NasBench201Network(ProxyNetwork):
    def __init__(
        self,
        architecture: Architecture,
        budget: Budget,
        classes: int,
        input_channels: int,
        auxiliary: bool,
        operations: Mapping[str, Factory],
    ) -> None:
        nodes = _nas_bench_201_nodes(architecture)
        cells = _cells_per_stage(budget.layers)
        _check_size("NAS-Bench-201", budget, _STAGES - 1)
        widths = [budget.channels * 2**stage for stage in range(_STAGES)]
        super().__init__(input_channels, widths[-1], classes)
        self.stem = _stem(input_channels, widths[0])
        blocks: list[nn.Module] = []
        for stage, channels in enumerate(widths):
            if stage:
                blocks.append(_ResidualReduction(widths[stage - 1], channels))
            blocks.extend(_NasBench201Cell(nodes, channels, operations) for _ in range(cells))
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())

    def _features(self, images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        features: Tensor = self.last(self.blocks(self.stem(images)))
        return features, features


_NETWORKS = {"darts": _DartsNetwork, "nas-bench-201": _NasBench201Network}
_OPERATIONS = {"darts": DARTS_OPERATIONS, "nas-bench-201": NAS_BENCH_201_OPERATIONS}


def build_network(
    architecture: Architecture,
    budget: Budget,
    classes: int,
    *,
    input_channels: int = 3,
    auxiliary: bool = True,
    operations: Mapping[str, Factory] | None = None,
) -> ProxyNetwork:
    """Return the network of an architecture under a budget.

    Parameters
    ----------
    architecture
        Of the space ``darts`` (any number of inputs per node) or ``nas-bench-201``.
    budget
        Its ``layers``, ``channels`` and ``image_size`` shape the network.
    classes
        Number of classes.
    input_channels
        Channels of the images.
    auxiliary
        Whether a DARTS network gets its auxiliary head; NAS-Bench-201's have none.
    operations
        What to put on an edge, by the operation's name; by default the operation.

    Returns
    -------
    ProxyNetwork
        With weights drawn from torch's global generator, on the CPU.

    Raises
    ------
    TrainingError
        If the space cannot have that many layers, or the image is too small for
        the reductions.
    GenotypeError
        If the genes are not those of an architecture.
    UnknownNameError
        If there is no such space.

    Examples
    --------
    >>> from bpe_bench.budget import BPE_1
    >>> from bpe_bench.spaces import get_space
    >>> budget = BPE_1.replace(layers=17, channels=16, image_size=32)
    >>> count_parameters(build_network(get_space("nas-bench-201").from_index(284), budget, 10))
    101306
    """
    if architecture.space not in _NETWORKS:
        raise unknown_name("search space", architecture.space, SPACES)
    network = _NETWORKS[architecture.space]
    operations = _OPERATIONS[architecture.space] if operations is None else operations
    return network(architecture, budget, classes, input_channels, auxiliary, operations)


def count_parameters(network: ProxyNetwork, *, auxiliary: bool = False) -> int:
    """Return the number of trained parameters, with or without those of the auxiliary head."""
    total = sum(parameter.numel() for parameter in network.parameters())
    if auxiliary or network.auxiliary_head is None:
        return total
    return total - sum(parameter.numel() for parameter in network.auxiliary_head.parameters())


def count_flops(network: ProxyNetwork, image_size: int) -> int:
    """Return the multiply-adds of classifying one image, counted as NAS-Bench-201 does.

    One for each weight of a convolution or linear layer that an output uses,
    zeros of the padding included, and one for each bias. Normalisation, ReLU,
    pooling and sums are not counted, nor is the auxiliary head. (The benchmark
    calls them FLOPs, in millions.)

    Parameters
    ----------
    network
        Left as it is: weights, running statistics and mode.
    image_size
        Height and width in pixels.
    """
    counts: list[int] = []

    def count(layer: nn.Conv2d | nn.Linear, given: tuple[Tensor, ...], output: Tensor) -> None:
        per_output = layer.weight[0].numel() + (layer.bias is not None)
        counts.append(output.numel() * per_output)

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    training = network.training
    weight = network.classifier.weight
    try:
        network.eval()  # or running statistics would change
        with torch.no_grad():
            network(weight.new_zeros((1, network.input_channels, image_size, image_size)))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return sum(counts)


def flops_of(architecture: Architecture, budget: Budget, classes: int = 10) -> int:
    """Return the multiply-adds of an architecture's network on one image of a budget's size.

    Counted on shapes alone: nothing is computed and nothing drawn.

    Raises
    ------
    TrainingError, GenotypeError, UnknownNameError
        As `build_network`.
    """
    with torch.device("meta"):
        network = build_network(architecture, budget, classes)
        return count_flops(network, budget.image_size)


def _stem(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
    )


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
    """Return the side that is left of an image; every reduction rounds up."""
    for _ in range(reductions):
        size = (size + 1) // 2
    return size


def _check_size(space: str, budget: Budget, reductions: int) -> None:
    least = _LEAST_FEATURES * 2**reductions
    if budget.image_size < least:
        raise TrainingError(
            f"the {reductions} reductions of a {space} network of {budget.layers} layers need an "
            f"image_size of at least {least} pixels, found {budget.image_size}; choose a larger "
            "image_size"
        )


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


def _nas_bench_201_nodes(architecture: Architecture) -> list[list[tuple[str, int, int]]]:
    """Return the edges into nodes 1 to 3, each with its operation, stride and input."""
    nodes: list[list[tuple[str, int, int]]] = [[], [], []]
    chosen = get_space(architecture.space).choices_of(architecture)
    for (node, source), operation in zip(nas_bench_201.EDGES, chosen, strict=True):
        nodes[node - 1].append((nas_bench_201.OPERATIONS[operation], 1, source))
    return nodes
