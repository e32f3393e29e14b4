"""A trial: one training of one network, and what is recorded of it. Knows nothing of torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..budget import Budget
from ..errors import SelectionError
from ..spaces import Architecture, DeclaredSpace, get_space
from ..tables.curves import LARGEST, Split

CODE_VERSION = "1"
"""Goes up when a change of the training code changes results; earlier trials then count as
different."""

Protocol = Literal["split", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("split", "paper")
"""``split``: train on part of the training images, validate on the rest, record test apart.
``paper``: train on all of them and record test accuracy only, as published."""

State = Literal["planned", "running", "done", "failed", "diverged"]
STATES: tuple[State, ...] = ("planned", "running", "done", "failed", "diverged")


@dataclass(frozen=True)
class Recipe:
    """What is the same in every training, whatever the budget (Liu et al., ICLR 2019)."""

    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_clip: float = 5.0
    """Largest norm of the gradient."""
    auxiliary_weight: float = 0.4
    """Weight of the auxiliary head's loss."""
    drop_path: float = 0.2
    """Probability at the last epoch that a path is dropped, rising linearly from 0."""


@dataclass(frozen=True)
class Trial:
    """One training: everything that fixes its result."""

    architecture: Architecture
    budget: Budget
    dataset: str
    """Name of the data set, for instance ``cifar10-jpeg`` or ``digits``."""
    seed: int = 0
    protocol: Protocol = "split"
    recipe: Recipe = field(default_factory=Recipe)
    code_version: str = CODE_VERSION
    trainer: str = ""
    """Name and version of one's own trainer (`bpe_bench.training.own_trainer`); empty for the
    recipe's."""

    def __post_init__(self) -> None:
        get_space(self.architecture.space, having=None if self.trainer else "network")
        if self.protocol not in PROTOCOLS:
            raise SelectionError(
                f"protocol must be one of {', '.join(PROTOCOLS)}, found {self.protocol!r}"
            )
        if not 0 <= self.seed <= LARGEST:
            raise SelectionError(
                f"a seed is a whole number from 0 to {LARGEST} (tables keep 32 bits), found "
                f"{self.seed}"
            )
        if not self.trainer:
            self.budget.check_trainable()

    @property
    def id(self) -> str:
        """SHA-256 of the content, 64 hexadecimal digits."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON values, its architecture in canonical spelling as text.

        With the declaration of a declared space. The recipe is no part of a trial that one's own
        trainer trains; the trainer is.
        """
        space = get_space(self.architecture.space)
        values = {
            "space": space.name,
            "architecture": space.format(self.architecture),
            "budget": self.budget.to_dict(),
            "dataset": self.dataset,
            "seed": self.seed,
            "protocol": self.protocol,
        }
        if isinstance(space, DeclaredSpace):
            values["declaration"] = space.declaration
        if self.trainer:
            return {**values, "trainer": self.trainer}
        recipe = dataclasses.asdict(self.recipe)
        return {**values, "recipe": recipe, "code_version": self.code_version}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Trial:
        """Return the trial that `to_json` described."""
        if "declaration" in values:
            DeclaredSpace.known(values["declaration"])
        space = get_space(values["space"])
        return cls(
            architecture=space.parse(values["architecture"]),
            budget=Budget(**values["budget"]),
            dataset=values["dataset"],
            seed=values["seed"],
            protocol=values["protocol"],
            recipe=Recipe(**values.get("recipe", {})),
            code_version=values.get("code_version", CODE_VERSION),
            trainer=values.get("trainer", ""),
        )


@dataclass(frozen=True)
class SplitResult:
    """How a network did on a split after an epoch."""

    correct: int
    """Images classified correctly."""
    size: int
    """Images in the split."""
    loss: float | None = None
    """Mean cross-entropy; None if the trainer does not say."""


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of a trial left."""

    epoch: int
    """Counted from 1."""
    results: Mapping[Split, SplitResult]
    seconds: float
    """Device seconds of training, without evaluation."""
    peak_memory: int
    """Bytes at most in use on the device (CPU: of the process) so far."""

    @property
    def finite(self) -> bool:
        """Whether every loss that is known is a finite number."""
        losses = (result.loss for result in self.results.values())
        return all(loss is None or math.isfinite(loss) for loss in losses)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "peak_memory": self.peak_memory,
            "results": {str(s): dataclasses.asdict(r) for s, r in self.results.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EpochRecord:
        """Return the record that `to_json` described."""
        results = {Split(s): SplitResult(**r) for s, r in values["results"].items()}
        return cls(values["epoch"], results, values["seconds"], values["peak_memory"])
