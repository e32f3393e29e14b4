"""DARTS: train one network that holds all others, and derive the architecture from it.

Liu, Simonyan, Yang, ICLR 2019. The supernet itself is `bpe_bench.training.supernet`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..budget import Budget
from ..errors import SelectionError
from ..estimators.base import Evaluation
from ..files import reason_of
from ..randomness import integer_seed
from ..spaces import Architecture, PartialSpace, SearchSpace, get_space
from .base import Searcher

if TYPE_CHECKING:
    from ..training.supernet import SupernetEpoch


@dataclass
class Darts(Searcher):
    """Train a supernet under a budget, and propose the one architecture derived from it.

    The clock counts the seconds of the supernet's training on this device and the evaluation of
    the derived architecture.
    """

    name: ClassVar[str] = "darts"

    budget: Budget | None = None
    """Budget of the supernet: layers, channels, image size, epochs and so on."""
    order: Literal[1, 2] = 1
    """First or second order of the architecture's gradient."""
    images: str | Path | None = None
    """Path of the images; None for the bundled digits."""
    device: str = "cpu"
    checkpoints: str | Path | None = None
    """Folder that keeps the supernet's state after every epoch, to continue from."""
    _diverged: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.images is not None:
            self.images = str(self.images)

    def start(
        self, space: SearchSpace, rng: np.random.Generator, evaluations: int | None = None
    ) -> None:
        """Begin a search.

        Raises
        ------
        SelectionError
            If the space has no supernet, there is no budget, or the order does not exist.
        """
        get_space(space.name, having="supernet")
        if isinstance(space, PartialSpace):
            raise SelectionError(
                f"darts derives any architecture of {space.name}, and the table holds only "
                f"{space.size:,} of them; take another searcher, a table of the whole space, "
                "--estimator train, or --missing failed"
            )
        if self.budget is None:
            raise SelectionError(
                "darts trains a supernet and needs a budget for it; give one, for instance "
                "--supernet-budget BPE-1"
            )
        if self.order not in (1, 2):
            raise SelectionError(f"order must be 1 or 2, found {self.order!r}")
        self._space, self._seed = space.name, integer_seed(rng)
        self._proposed = self._diverged = False
        self.own_seconds = 0.0

    def ask(self) -> Architecture | None:
        """Train the supernet and return the derived architecture; the second time None."""
        if self._proposed:
            return None
        from ..training.task import train_supernet_alone

        assert self.budget is not None
        self._proposed = True
        epochs = self.budget.epochs

        def on_epoch(epoch: SupernetEpoch) -> None:
            if self.on_progress:
                self.on_progress(epoch.epoch / (epochs + 1))  # the evaluation is to come

        result = train_supernet_alone(
            self._space,
            self.images,
            self.budget,
            order=self.order,
            seed=self._seed,
            device=self.device,
            checkpoint=self._checkpoint(),
            on_epoch=on_epoch,
        )
        self.own_seconds, self._diverged = result.seconds, result.diverged
        return result.architecture

    def tell(self, architecture: Architecture, evaluation: Evaluation) -> None:
        """Do nothing: the one proposal has been made."""

    def parameters(self) -> dict[str, Any]:
        """Return the searcher's parameters as JSON values."""
        budget = None if self.budget is None else self.budget.to_dict()
        folder = None if self.checkpoints is None else str(self.checkpoints)
        # Whether its supernet's loss was not finite in the end: it derived from the epoch before.
        outcome = {"diverged": True} if self._diverged else {}
        return {**super().parameters(), "budget": budget, "checkpoints": folder, **outcome}

    def _checkpoint(self) -> Path | None:
        if self.checkpoints is None:
            return None
        folder = Path(self.checkpoints)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SelectionError(
                f"cannot make the folder {folder} for the supernet's checkpoints "
                f"({reason_of(error)}); give another --store, beside which it is made"
            ) from error
        # Searches that differ in anything keep files of their own.
        text = repr((self._space, self.budget, self.order, self.images, self._seed))
        return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.pt"
