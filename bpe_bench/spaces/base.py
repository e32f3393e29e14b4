"""What a search space is: the protocol that every space fulfils."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network of a search space, as small integers whose meaning the space knows."""

    space: str
    """Name of the space."""
    genes: tuple[int, ...]
    """The choices made, in the space's own order."""


class SearchSpace(Protocol):
    """A set of architectures that can be listed, drawn from, written and read.

    Same generator state, same result: nothing else is random.
    """

    @property
    def name(self) -> str:
        """Name of the space, as in the catalog."""

    @property
    def size(self) -> int:
        """Number of architectures that `sample` can draw."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly."""

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the neighbours uniformly."""

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Return all architectures that differ in exactly one choice."""

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the one spelling shared by all spellings of the same network.

        Where a benchmark trained such spellings apart, they stay different
        architectures in `neighbours` and `encode`.
        """

    def parse(self, text: str) -> Architecture:
        """Read an architecture from its published text.

        Raises
        ------
        GenotypeError
            If the text is malformed; the message has the position.
        """

    def format(self, architecture: Architecture) -> str:
        """Write an architecture as its published text; `parse` reads it back unchanged."""

    def encode(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        """Return A architectures as an (A, d) matrix for regression."""
