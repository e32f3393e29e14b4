"""The one training loop: a trial in, an `EpochRecord` per epoch out.

Every number that is drawn in an epoch comes from generators seeded by the
trial's seed and the epoch, and the schedules depend on the epoch alone. So a
training that goes on from a checkpoint ends as one that was never interrupted,
and on a CPU the same trial gives the same counts.
"""

from __future__ import annotations

import io
import math
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..budget import Budget
from ..errors import TrainingError
from ..tables.curves import Split
from ._machine import peak_memory, processor, versions
from .images.data import ImageData
from .networks.network import build_network
from .pipeline import Pipeline
from .trial import EpochRecord, SplitResult, Trial

_FORMATS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_NO_CHECKPOINT = (
    RuntimeError, KeyError, ValueError, TypeError, EOFError, OSError, pickle.UnpicklingError,
)  # fmt: skip
"""What torch raises on bytes that are not the checkpoint wanted."""
_DROP_PATH_STREAM = 1
"""Tells the generator of drop-path from those of the pipeline, which use the seed and the epoch."""


class Tally:
    """Counts what a network gets right, on the device: nothing is read before the end."""

    def __init__(self, device: torch.device) -> None:
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)

    def add(
        self, logits: Tensor, labels: Tensor, loss: Tensor, *, images: int | None = None
    ) -> None:
        """Count a batch of B; its loss is the mean over so many images, B if not given."""
        self._correct += (logits.detach().argmax(dim=1) == labels).sum()
        self._loss_sum += loss.detach().double() * (images or len(labels))

    def result(self, size: int) -> SplitResult:
        """Return the figures of a split of so many images."""
        return SplitResult(int(self._correct), size, float(self._loss_sum) / size)


class Trainer:
    """Trains one trial, an epoch at a time.

    Parameters
    ----------
    trial
        What to train, and how.
    data
        The images, of the data set that the trial names.
    device
        Where, for instance ``"cpu"`` or ``"cuda:0"``.

    Raises
    ------
    TrainingError
        If the network cannot be built, or does not fit into the device's memory.

    Examples
    --------
    >>> from bpe_bench import BPE_1, get_space
    >>> from bpe_bench.training.images.data import load_images
    >>> space = get_space("nas-bench-201")
    >>> budget = BPE_1.replace(epochs=1, layers=5, channels=4, image_size=8, data_fraction=0.1)
    >>> trainer = Trainer(Trial(space.from_index(284), budget, "digits"), load_images())
    >>> [record.epoch for record in trainer.epochs()]
    [1]
    """

    def __init__(self, trial: Trial, data: ImageData, *, device: str = "cpu") -> None:
        if data.name != trial.dataset:
            raise TrainingError(
                f"the trial is for data set {trial.dataset!r}, the images are {data.name!r}"
            )
        self.trial, self.recipe, self.budget = trial, trial.recipe, trial.budget
        self.device = torch.device(device)
        self.done = 0
        with _explaining_memory(self.device):
            self.pipeline = Pipeline(
                data, trial.budget, protocol=trial.protocol, device=device, channels_last=True
            )
            self.network = self._build(data)
            self.optimizer = torch.optim.SGD(
                self.network.parameters(),
                lr=trial.budget.learning_rate,
                momentum=self.recipe.momentum,
                weight_decay=self.recipe.weight_decay,
            )
        # Loss scaling keeps small gradients from vanishing in 16-bit floats; bf16 has the range.
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=trial.budget.precision == "fp16"
        )

    def epochs(self) -> Iterator[EpochRecord]:
        """Train the epochs that are left; a loss that is not finite ends the training.

        Yields
        ------
        EpochRecord
            After every epoch; `checkpoint` may be taken before going on.

        Raises
        ------
        TrainingError
            If the device runs out of memory.
        """
        while self.done < self.budget.epochs:
            with _explaining_memory(self.device):
                record = self._epoch(self.done + 1)
            self.done += 1
            yield record
            if not record.finite:
                return

    def checkpoint(self) -> bytes:
        """Return everything that the next epoch depends on."""
        buffer = io.BytesIO()
        state = {
            "epoch": self.done,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, checkpoint: bytes) -> None:
        """Go on from a checkpoint of the same trial.

        Raises
        ------
        TrainingError
            If it is not one.
        """
        try:
            state = torch.load(io.BytesIO(checkpoint), map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:
                self.scaler.load_state_dict(state["scaler"])
            self.done = int(state["epoch"])
        except _NO_CHECKPOINT as error:
            raise TrainingError(
                f"the checkpoint does not fit the trial: {' '.join(str(error).split())[:200]}"
            ) from error

    def _build(self, data: ImageData) -> Any:
        # The weights' first values are drawn from torch's global generator, so it is
        # put into a known state, and back.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.trial.seed)
            network = build_network(
                self.trial.architecture,
                self.budget,
                data.classes,
                input_channels=self.pipeline.input_channels,
            )
        # Channels last: what convolutions of few channels are quickest in, on CPUs and GPUs.
        network.to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def _epoch(self, epoch: int) -> EpochRecord:
        for group in self.optimizer.param_groups:
            group["lr"] = _learning_rate(self.budget, epoch)
        self.network.drop_path = self.recipe.drop_path * (epoch - 1) / self.budget.epochs
        self._synchronise()
        start = time.perf_counter()
        results = {Split.TRAIN: self._train(epoch)}
        self._synchronise()
        seconds = time.perf_counter() - start
        for split in self.pipeline.sizes:
            if split is not Split.TRAIN:
                results[split] = self._evaluate(split)
        return EpochRecord(epoch, results, seconds, self._peak_memory())

    def _train(self, epoch: int) -> SplitResult:
        """Train one epoch. Nothing is read from the device before its end."""
        self.network.train()
        generator = torch.Generator(self.device)
        generator.manual_seed(_stream(self.trial.seed, epoch, _DROP_PATH_STREAM))
        tally = Tally(self.device)
        for images, labels in self.pipeline.training_batches(self.trial.seed, epoch):
            with self._precision():
                logits, auxiliary = self.network(images, generator)
                loss = functional.cross_entropy(logits, labels)
                total = loss
                if auxiliary is not None:
                    total = loss + self.recipe.auxiliary_weight * functional.cross_entropy(
                        auxiliary, labels
                    )
            self._step(total)
            tally.add(logits, labels, loss)
        return tally.result(self.pipeline.sizes[Split.TRAIN])

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    @torch.no_grad()
    def _evaluate(self, split: Split) -> SplitResult:
        self.network.eval()
        tally = Tally(self.device)
        for images, labels in self.pipeline.evaluation_batches(split):
            with self._precision():
                logits, _ = self.network(images)
                loss = functional.cross_entropy(logits, labels, reduction="sum")
            tally.add(logits, labels, loss, images=1)
        return tally.result(self.pipeline.sizes[split])

    def _precision(self) -> Any:
        kind = _FORMATS[self.budget.precision]
        return torch.autocast(self.device.type, dtype=kind, enabled=self.budget.precision != "fp32")

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _peak_memory(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_memory()


def _learning_rate(budget: Budget, epoch: int) -> float:
    """Return the learning rate of an epoch (from 1): cosine or linear towards 0, as published.

    Examples
    --------
    >>> from bpe_bench import BPE_1
    >>> [round(_learning_rate(BPE_1, epoch), 4) for epoch in (1, 6, 10)]
    [0.03, 0.015, 0.0007]
    """
    share = (epoch - 1) / budget.epochs
    left = 1 - share if budget.lr_schedule == "linear" else (1 + math.cos(math.pi * share)) / 2
    return budget.learning_rate * left


def describe_device(device: str) -> dict[str, str]:
    """Return the device's name and the versions that made a result, to be recorded with it."""
    kind = torch.device(device)
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else processor()
    return {
        "device": name,
        "torch": torch.__version__,
        **versions(),
        "threads": str(torch.get_num_threads()),
    }


def _stream(seed: int, epoch: int, stream: int) -> int:
    """Return a seed of its own for every (seed, epoch, stream)."""
    return (seed * 1_000_003 + epoch) * 16 + stream


@contextmanager
def _explaining_memory(device: torch.device) -> Iterator[None]:
    """Turn running out of memory into one line, and give the memory back."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On a CPU torch has no class of its own for it.
        text = str(error)
        short = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not short and "can't allocate memory" not in text:
            raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise TrainingError(
            f"the training does not fit into the memory of {device}; choose a smaller batch_size, "
            "fewer channels or another device"
        ) from error
