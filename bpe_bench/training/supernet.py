"""Differentiable architecture search: the architecture of a supernet is trained by gradient.

Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019. The
weights w are trained on one half of the training images by the loss L_train, the
architecture parameters α on the other by L_val, in turn, a batch each::

    minimise over α  L_val(w*(α), α)   with   w*(α) = argmin over w of L_train(w, α)

What differs from the published code, besides this project's images and budgets:

- The epoch whose architecture is returned is chosen on this project's validation
  images, which train nothing. The published one is chosen on the half that α was
  trained on.
- Passes for the gradient of α leave the running statistics of normalisations
  alone; in the published code they enter them, those of perturbed weights, too.
  As published, training normalises by the batch, and validation by the statistics.
- α's half is seen once an epoch, as w's is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..budget import Budget
from ..errors import TrainingError
from ..spaces import Architecture, get_space
from ..tables.curves import Split
from ._architect import _architecture_gradient, _gradients
from ._checkpoints import _read_checkpoint, _write_checkpoint
from .images.data import ImageData, Images, _stratified_order, split_indices, subset
from .networks.mixed import _derive, _Supernet
from .networks.network import _module_of
from .pipeline import _Draws
from .trainer import Tally, Trainer, describe_device
from .trial import CODE_VERSION, EpochRecord, Recipe, SplitResult, Trial

_Order = Literal[1, 2]
_Batch = tuple[Tensor, Tensor]

_HALVES_STREAM = 2
"""Separates the order that halves the images from those of `split_indices` and `subset`."""


@dataclass(frozen=True)
class SearchRecipe:
    """Settings that are the same for every budget (Liu et al., ICLR 2019)."""

    architecture_learning_rate: float = 3e-4
    """Of Adam."""
    architecture_betas: tuple[float, float] = (0.5, 0.999)
    """Of Adam: how slowly its two means forget."""
    architecture_weight_decay: float = 1e-3
    weights: Recipe = field(default_factory=Recipe)
    """Momentum, decay and clip of the weights; a supernet has no auxiliary head, drops no path."""


PUBLISHED = SearchRecipe()
"""The recipe of Liu et al."""


@dataclass(frozen=True)
class SupernetEpoch:
    """Results of one epoch of a search."""

    epoch: int
    """Counted from 1."""
    architecture: Architecture
    """The architecture that `derive` makes of the mixture after the epoch."""
    train: SplitResult
    """The supernet on the half that trains its weights, during the epoch."""
    validation: SplitResult
    """The supernet, mixed as it is, on the validation images after the epoch."""
    seconds: float
    """Device seconds of training, without evaluation."""


@dataclass(frozen=True)
class SupernetResult:
    """The result of a search, and its cost."""

    architecture: Architecture
    """That of the first epoch with the most correct validation images; without any epoch, that
    of the initial mixture."""
    epochs: tuple[SupernetEpoch, ...]
    """All epochs whose losses are finite."""
    seconds: float
    """Device seconds of all training, including an epoch that diverged."""
    device: str
    """Name of the device."""
    diverged: bool = False
    """Whether a loss that is not finite ended the search."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        space, values = get_space(self.architecture.space), dataclasses.asdict(self)
        values["architecture"] = space.format(self.architecture)
        for made, kept in zip(self.epochs, values["epochs"], strict=True):
            kept["architecture"] = space.format(made.architecture)
        return {"space": space.name, **values, "epochs": list(values["epochs"])}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SupernetResult:
        """Return the result that `to_json` described."""
        rest = dict(values)
        parse = get_space(rest.pop("space")).parse
        epochs = []
        for epoch in rest.pop("epochs"):
            splits = {name: SplitResult(**epoch[name]) for name in ("train", "validation")}
            text = epoch["architecture"]
            epochs.append(SupernetEpoch(**{**epoch, **splits, "architecture": parse(text)}))
        return cls(parse(rest.pop("architecture")), tuple(epochs), **rest)


def train_supernet(
    space: str,
    data: ImageData,
    budget: Budget,
    *,
    order: _Order = 1,
    seed: int = 0,
    device: str = "cpu",
    recipe: SearchRecipe = PUBLISHED,
    checkpoint: str | Path | None = None,
    on_epoch: Callable[[SupernetEpoch], None] | None = None,
) -> SupernetResult:
    """Search for an architecture by training a supernet.

    Parameters
    ----------
    space
        A space that has a supernet.
    data
        The images; those for testing are not looked at.
    budget
        Of the supernet. A fifth of the training images validates; of the others
        ``data_fraction`` is used, half for the weights and half for α.
    order
        1 takes the present weights for the best ones; 2 looks one step of the weights ahead, in
        about two and a half times the time. See `architecture_gradient`.
    seed
        Of the first values, the halves and the batches.
    device
        Where, for instance ``"cpu"`` or ``"cuda:0"``.
    recipe
        Everything else.
    checkpoint
        A file that keeps the search after every epoch: the same call goes on from
        there, and ends as if it had never been interrupted. Once the search is
        finished it holds the result.
    on_epoch
        Called after every epoch that this call trains, when the file is written.
        What it raises ends the call.

    Returns
    -------
    SupernetResult
        The same on a CPU for the same arguments and number of threads, but for the
        seconds.

    Raises
    ------
    UnknownNameError, SelectionError
        If there is no such space, or it has no supernet.
    TrainingError
        If the network cannot be built or does not fit into the device's memory,
        there are too few images, or the file is not a checkpoint of this search.

    Notes
    -----
    The budget's precision is that of the weights' passes and of first-order gradients
    of α. Second-order ones are computed in 32 bits, 16 being too few for differences.

    Examples
    --------
    >>> from bpe_bench import BPE_1
    >>> from bpe_bench.training.images.data import load_images
    >>> budget = BPE_1.replace(epochs=1, layers=5, channels=2, image_size=8, data_fraction=0.1)
    >>> result = train_supernet("nas-bench-201", load_images(), budget)
    >>> result.architecture.space, len(result.epochs), result.diverged
    ('nas-bench-201', 1, False)
    """
    _check(space, order, seed)
    content = _content(space, data, budget, order, seed, recipe)
    kept = None if checkpoint is None else _read_checkpoint(Path(checkpoint), content, device)
    result = None if kept is None else SupernetResult.from_json(kept["result"])
    if result is not None and _finished(result, budget):
        return result
    search = _Search(space, data, budget, order, seed, device, recipe)
    if kept is None or result is None:
        result = SupernetResult(search.derive(), (), 0.0, describe_device(device)["device"])
    else:
        search.go_on_from(kept["search"])
    for record in search.epochs():
        result = _extended(result, record, search)
        if checkpoint is not None:
            # Nothing goes on from a finished search, so its result is all that is kept.
            state = None if _finished(result, budget) else search.state()
            _write_checkpoint(
                Path(checkpoint), content, {"result": result.to_json(), "search": state}
            )
        if on_epoch is not None and not result.diverged:
            on_epoch(result.epochs[-1])
    return result


class _Search(Trainer):
    """The training of a supernet: a trial of all edges, whose operations are mixed."""

    def __init__(
        self,
        space: str,
        data: ImageData,
        budget: Budget,
        order: _Order,
        seed: int,
        device: str,
        recipe: SearchRecipe,
    ) -> None:
        self.space, self.order = space, order
        self.half = _weights_half(data, budget, seed)
        everything = _module_of(space, "supernet").SUPERNET.everything
        trial = Trial(everything, budget, data.name, seed=seed, recipe=recipe.weights)
        super().__init__(trial, _without_test(data), device=device)
        # So that no epoch reports on the stand-in.
        sizes: dict[Split, int] = {**self.pipeline.sizes}
        del sizes[Split.TEST]
        self.pipeline.sizes = MappingProxyType(sizes)
        self.weights = list(self.network.parameters())
        self.architect = torch.optim.Adam(
            [self.network.alphas],
            lr=recipe.architecture_learning_rate,
            betas=recipe.architecture_betas,
            weight_decay=recipe.architecture_weight_decay,
        )

    def derive(self) -> Architecture:
        """Return the architecture of the present mixture."""
        return _derive(self.space, self.network.probabilities)

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {"trainer": self.checkpoint(), "architect": self.architect.state_dict()}

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.restore(state["trainer"])
        self.architect.load_state_dict(state["architect"])

    def _build(self, data: ImageData) -> Any:
        # First values are drawn from torch's global generator of the CPU, so it is put
        # into a known state, and back.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.trial.seed)
            supernet = _Supernet(
                self.space, self.budget, data.classes, input_channels=data.shape[0]
            )
        supernet.to(self.device)
        return supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _train(self, epoch: int) -> SplitResult:
        """Train one epoch. Nothing is read from the device before its end."""
        self.network.train()
        tally = Tally(self.device)
        for training, held_out in self._batches(epoch):
            self._step_architecture(training, held_out)
            with self._precision():
                logits, _ = self.network(training[0])
                loss = functional.cross_entropy(logits, training[1])
            self._step(loss)
            tally.add(logits, training[1], loss)
        return tally.result(int(self.half.sum()))

    def _batches(self, epoch: int) -> Iterator[tuple[_Batch, _Batch]]:
        """Iterate over the batches for the weights, each with one for the architecture."""
        draws = self.pipeline.draw(self.trial.seed, epoch)
        mine = self.half[draws.order]
        halves = (
            _Draws(*(values[chosen] for values in vars(draws).values())) for chosen in (mine, ~mine)
        )
        # The second half has as many batches as the first, or one more.
        return zip(*(self._cut(half.to(self.device)) for half in halves), strict=False)

    def _cut(self, draws: _Draws) -> Iterator[_Batch]:
        size, batch = len(draws.order), self.budget.batch_size
        starts = list(range(0, size, batch))
        if len(starts) > 1 and size - starts[-1] == 1:
            starts.pop()  # a single image left over joins the batch before
        for start, stop in zip(starts, [*starts[1:], size], strict=True):
            yield self.pipeline.augment(draws.part(start, stop))

    def _step_architecture(self, training: _Batch, held_out: _Batch) -> None:
        with self.network.searching() as alphas:
            if self.order == 2:
                alphas.grad = self._second_order(alphas, training, held_out)
                self.architect.step()
                return
            with self._precision():
                loss = self._loss(held_out)
            (alphas.grad,) = _gradients(self.scaler.scale(loss), [alphas])
            self.scaler.step(self.architect)

    def _second_order(self, alphas: Tensor, training: _Batch, held_out: _Batch) -> Tensor:
        (group,) = self.optimizer.param_groups
        return _architecture_gradient(
            self.weights,
            alphas,
            lambda: self._loss(training),
            lambda: self._loss(held_out),
            step=group["lr"],
            momentum=group["momentum"],
            weight_decay=group["weight_decay"],
            velocities=self._velocities(),
        )

    def _loss(self, batch: _Batch) -> Tensor:
        logits, _ = self.network(batch[0])
        return functional.cross_entropy(logits, batch[1])

    def _velocities(self) -> list[Tensor] | None:
        """Return what SGD's momentum multiplies, or None before its first step."""
        states = [self.optimizer.state[weight] for weight in self.weights]
        kept = [state.get("momentum_buffer") for state in states]
        return None if any(velocity is None for velocity in kept) else kept


def _check(space: str, order: int, seed: int) -> None:
    get_space(space, having="supernet")
    if order not in (1, 2):
        raise TrainingError(f"order must be 1 or 2, found {order!r}")
    if seed < 0:
        raise TrainingError(f"seed must be at least 0, found {seed}")


def _content(
    space: str, data: ImageData, budget: Budget, order: int, seed: int, recipe: SearchRecipe
) -> dict[str, Any]:
    """Return everything that determines the result of a search, as plain values by name."""
    values = dataclasses.asdict(recipe)
    weights = values.pop("weights")
    asked = {"space": space, "data set": data.name, "order": order, "seed": seed}
    return {**asked, **budget.to_dict(), **values, **weights, "code version": CODE_VERSION}


def _extended(result: SupernetResult, record: EpochRecord, search: _Search) -> SupernetResult:
    """Return the result with one more epoch, or marked as diverged."""
    seconds = result.seconds + record.seconds
    if not record.finite:
        return dataclasses.replace(result, seconds=seconds, diverged=True)
    train, validation = record.results[Split.TRAIN], record.results[Split.VALIDATION]
    epoch = SupernetEpoch(record.epoch, search.derive(), train, validation, record.seconds)
    most = max((before.validation.correct for before in result.epochs), default=-1)
    best = epoch.architecture if validation.correct > most else result.architecture
    epochs = (*result.epochs, epoch)
    return dataclasses.replace(result, architecture=best, epochs=epochs, seconds=seconds)


def _finished(result: SupernetResult, budget: Budget) -> bool:
    return result.diverged or len(result.epochs) == budget.epochs


def _without_test(data: ImageData) -> ImageData:
    """Return data with a training image for test, so that a search cannot see test images."""
    stand_in = Images(data.train.pixels[:1], data.train.labels[:1])
    return dataclasses.replace(data, test=stand_in)


def _weights_half(data: ImageData, budget: Budget, seed: int) -> Tensor:
    """Return which of the N images that the pipeline trains on are for the weights, (N,).

    The others are for the architecture; both halves have the same share of every class.
    """
    train = subset(data, split_indices(data, "split")[0], budget.data_fraction)
    count = train.size // 2
    if count < 2:
        raise TrainingError(
            f"{data.name} has {data.train.labels.size} training images, of which {train.size} "
            "would be left to halve; a search needs at least 4: raise data_fraction or take more "
            "images"
        )
    order = _stratified_order(data.train.labels[train], seed, stream=_HALVES_STREAM)
    half = torch.zeros(train.size, dtype=torch.bool)
    half[torch.from_numpy(order[:count])] = True
    return half
