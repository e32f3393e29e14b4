"""What a surrogate predicts: the quantity, its scale, and the data to learn from."""

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

_DEFAULT_ARCHITECTURES = 1000
"""So many architectures of a larger table are drawn at random to fit a surrogate."""
_LEAST_ERROR = 1e-4
"""Lower limit of an error, so that its logarithm stays finite."""


@dataclass(frozen=True)
class _Target:
    """A quantity that surrogates predict."""

    learned: Callable[[FloatArray], FloatArray]
    """An increasing function from its own scale to the one on which it is learned."""
    back: Callable[[FloatArray], FloatArray]
    """The inverse."""
    least: float
    most: float
    """The range of its values."""
    trend: bool
    """Whether a straight line is fitted first."""
    units: str
    """Name of the values in messages."""

    def bounded(self, learned: FloatArray) -> FloatArray:
        """Return values on their own scale, clipped to the range."""
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
    """What a surrogate predicts, and what it is fitted to.

    Raises
    ------
    UnknownNameError
        For a target that does not exist.
    SelectionError
        If accuracies are given for a target that does not use them.
    """

    target: TargetName = "accuracy"
    """``accuracy`` and ``cost`` of an architecture under a budget; or of a budget the rank
    ``correlation`` of its accuracies with those of full training."""
    dataset: str | None = None
    """Data set of the settings; by default the table's own."""
    split: Split | None = None
    """Split that accuracy was measured on; by default validation if there is any, else test."""
    statistic: str = "spearman"
    """The correlation, a key of `bpe_bench.ranking.STATISTICS`."""
    budgets: Sequence[str] | None = None
    """Settings to learn from; by default all."""
    given: Sequence[str] = ()
    """Settings whose accuracies are given, as columns to predict from."""
    architectures: int | Sequence[int] | None = _DEFAULT_ARCHITECTURES
    """How many to draw at most, or which places of the table; None for all."""
    encoding: str = "structure"
    """Encoding of the architectures, a key of `bpe_bench.spaces.ENCODINGS`."""

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise unknown_name("target", self.target, TARGETS)
        if self.given and self.target != "accuracy":
            raise SelectionError(
                f"known accuracies help to predict accuracies, not {TARGETS[self.target].units}; "
                "leave out --given, or take --target accuracy"
            )
