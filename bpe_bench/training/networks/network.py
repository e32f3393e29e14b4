"""Architectures as networks that can be trained.

A budget sets their depth (`layers`) and width (`channels`); everything else is
as published. Weights start as torch draws them, as the authors' do.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...budget import Budget
from ...errors import TrainingError
from ...spaces import Architecture, get_space
from .operations import Factory, _path_masks


class Frame(NamedTuple):
    """What a network is made of beside its architecture and budget."""

    classes: int
    """Number of classes K."""
    input_channels: int
    """Channels of the images."""
    auxiliary: bool
    """Whether it gets an auxiliary head, if the networks of its space have one."""
    operations: Mapping[str, Factory]
    """What to put in the place of an operation, by the operation's name."""


class ProxyNetwork(nn.Module):
    """A network of a search space, ready to be trained; made by `build_network`.

    Parameters
    ----------
    frame
        Its images and classes.
    features
        Channels before the classifier.
    """

    auxiliary_head: nn.Module | None
    """Second classifier in the middle of the network, used in training only."""
    paths: int
    """Paths that drop-path may drop."""
    _keep: Tensor

    def __init__(self, frame: Frame, features: int) -> None:
        super().__init__()
        self.input_channels = frame.input_channels
        self.auxiliary_head = None
        self.paths = 0
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(features, frame.classes)
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
        """Set it; `TrainingError` unless it is a probability below 1."""
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
        return _path_masks(self.paths, samples, self._keep, generator)


def _module_of(space: str, ability: str) -> Any:
    """Return the module of a space's networks; the space must have an ability.

    Raises
    ------
    UnknownNameError, SelectionError
        As `get_space`.
    """
    name = get_space(space, having=ability).name.replace("-", "_")
    return import_module(f".{name}", __package__)


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
        Of a space that has networks; one of DARTS may have any number of inputs per node.
    budget
        Its ``layers``, ``channels`` and ``image_size`` shape the network.
    classes
        Number of classes.
    input_channels
        Channels of the images.
    auxiliary
        Whether a network gets its auxiliary head, if those of its space have one.
    operations
        Modules to put on an edge by the operation's name; by default the operation.

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
    UnknownNameError, SelectionError
        If there is no such space, or it has no networks.

    Examples
    --------
    >>> from bpe_bench.budget import BPE_1
    >>> from bpe_bench.spaces import get_space
    >>> budget = BPE_1.replace(layers=17, channels=16, image_size=32)
    >>> count_flops(build_network(get_space("nas-bench-201").from_index(284), budget, 10), 32)
    11715210
    """
    module = _module_of(architecture.space, "network")
    frame = Frame(classes, input_channels, auxiliary, operations or module.OPERATIONS)
    made: ProxyNetwork = module.Network(architecture, budget, frame)
    return made


def count_flops(network: ProxyNetwork, image_size: int) -> int:
    """Return the multiply-adds of classifying one image, counted as NAS-Bench-201 does.

    One for each weight of a convolution or linear layer that an output uses,
    zeros of the padding included, and one for each bias. Normalisation, ReLU,
    pooling and sums are not counted, nor is the auxiliary head. (The benchmark
    calls them FLOPs, in millions.)

    Parameters
    ----------
    network
        It is not changed: neither weights nor running statistics nor mode.
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

    Counted from shapes only, without computing or drawing anything.

    Raises
    ------
    TrainingError, GenotypeError, UnknownNameError, SelectionError
        As `build_network`.
    """
    with torch.device("meta"):
        network = build_network(architecture, budget, classes)
        return count_flops(network, budget.image_size)


def weights_of(architecture: Architecture, budget: Budget, classes: int = 10) -> int:
    """Return the number of weights of an architecture's network, from shapes only.

    Raises
    ------
    TrainingError, GenotypeError, UnknownNameError, SelectionError
        As `build_network`.
    """
    with torch.device("meta"):
        network = build_network(architecture, budget, classes)
    return sum(weight.numel() for weight in network.parameters())
