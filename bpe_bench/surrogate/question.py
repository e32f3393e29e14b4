"""What a surrogate is asked: the quantity, on what scale it is learned, and from what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import SelectionError, unknown_name
from ..randomness import settled
from ..tables.curves import Split

FloatArray = npt.NDArray[np.float64]
TargetName = Literal["accuracy", "cost", "correlation"]

DEFAULT_ARCHITECTURES = 1000
"""Architectures of a larger table that a surrogate is fitted to, drawn at random."""
_LEAST_ERROR = 1e-4
"""Errors below this count as this: their logarithm must not run away."""


@dataclass(frozen=True)
class _Target:
    """A quantity that surrogates predict."""

    learned: Callable[[FloatArray], FloatArray]
    """From its own scale to the one on which it is learned, rising."""
    back: Callable[[FloatArray], FloatArray]
    """The inverse."""
    least: float
    most: float
    """What it can be."""
    trend: bool
    """Whether a straight line is fitted first."""
    units: str
    """What the values are called in messages."""

    def bounded(self, learned: FloatArray) -> FloatArray:
        """Return values on their own scale, none outside of what can be."""
        return np.clip(self.back(learned), self.least, self.most)


TARGETS: Mapping[TargetName, _Target] = MappingProxyType(
    {
        # −log of the error: half the error is the same step everywhere, as is the noise of
        # training, roughly.
        "accuracy": _Target(
            lambda accuracy: settled(-np.log(np.maximum(1 - accuracy, _LEAST_ERROR))),
            lambda learned: settled(-np.expm1(-learned)),
            0.0,
            1.0,
            False,
            "accuracies",
        ),
        # Seconds are nearly a product of powers of the hyper-parameters.
        "cost": _Target(
            lambda cost: settled(np.log(cost)),
            lambda learned: settled(np.exp(learned)),
            0.0,
            np.inf,
            True,
            "costs",
        ),
        "correlation": _Target(np.array, np.array, -1.0, 1.0, False, "correlations"),
    }
)
"""The quantities by name: accuracy (a fraction), cost (device seconds), correlation."""


@dataclass(frozen=True)
class Question:
    """What a surrogate is to predict, and what it is fitted to.

    Raises
    ------
    UnknownNameError
        For a target that does not exist.
    SelectionError
        If accuracies are given for what is not predicted from any.
    """

    target: TargetName = "accuracy"
    """``accuracy`` and ``cost`` of an architecture under a budget; or of a budget the rank
    ``correlation`` of its accuracies with those of full training."""
    dataset: str | None = None
    """Whose settings; by default the table's own data set."""
    split: Split | None = None
    """Where accuracy was measured; validation if there is any, else test."""
    statistic: str = "spearman"
    """The correlation, a key of `bpe_bench.ranking.STATISTICS`."""
    budgets: Sequence[str] | None = None
    """Settings to learn from; by default all."""
    given: Sequence[str] = ()
    """Settings whose accuracies are not predicted, but known and predicted from."""
    architectures: int | Sequence[int] | None = DEFAULT_ARCHITECTURES
    """How many to draw at most, or which places of the table; None for all."""
    encoding: str = "structure"
    """How architectures become numbers, a key of `bpe_bench.spaces.ENCODINGS`."""

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise unknown_name("target", self.target, TARGETS)
        if self.given and self.target != "accuracy":
            raise SelectionError(
                f"known accuracies help to predict accuracies, not {TARGETS[self.target].units}; "
                "leave out --given, or take --target accuracy"
            )
