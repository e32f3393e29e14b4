"""The base class of every search space."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from ..budget import Budget
from ..errors import GenotypeError, SelectionError, unknown_name

FloatArray = npt.NDArray[np.float64]

ENCODINGS: Mapping[str, str] = MappingProxyType(
    {
        "structure": "what the choices amount to, for instance counts, depths and paths",
        "operations": "the choices themselves, as 0/1",
        "all": "both",
    }
)
"""How `SearchSpace.features` turns architectures into numbers, by name."""

_LISTED = 100_000
"""Spaces with at most so many architectures can be listed."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network of a search space, as small integers whose meaning the space defines."""

    space: str
    """Name of the space."""
    genes: tuple[int, ...]
    """The choices made, in the space's own order."""

    @property
    def choices(self) -> dict[str, Any]:
        """By the name of each choice of the space what was chosen, for instance a width."""
        from . import get_space

        return get_space(self.space).chosen(self)


class SearchSpace(ABC):
    """A set of architectures that can be drawn, written, read and described by numbers.

    A space says which independent `choices` make an architecture, and how one is written
    and read. The rest follows from them; a space whose choices depend on each other
    overrides it. The same generator state gives the same result.
    """

    name: str
    """Name of the space, as on the command line and in tables."""
    title: str
    """Name in messages."""
    descriptors: tuple[str, ...] = ()
    """Names of the numbers of `describe`; empty if it gives nothing beyond the choices."""
    unpruned: SearchSpace | None = None
    """A larger space that searchers may score instead and `prune` in the end."""

    abilities: tuple[str, ...] = ()
    """``network`` if `bpe_bench.training.networks` has a module of its networks, so that it can
    be trained; ``supernet`` if the module has that, too, so that ``darts`` can search it."""
    full_training: Budget | None = None
    """The budget that is full training, if one is published."""
    default_layers: int = 4
    """Default layers of small trainings."""
    layers_to_vary: tuple[int, ...] = (3, 6)
    """Values to vary for the layers of small trainings; on the digits the first two."""

    @property
    @abstractmethod
    def choices(self) -> Mapping[str, Sequence[str]]:
        """The options of each of the C independent choices, by its name and in order."""

    @abstractmethod
    def parse(self, text: str) -> Architecture:
        """Read an architecture from its published text.

        Raises
        ------
        GenotypeError
            If the text is malformed; the message has the position.
        """

    @abstractmethod
    def format(self, architecture: Architecture) -> str:
        """Write an architecture as its published text; `parse` reads it back unchanged."""

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the one spelling shared by all spellings of the same network.

        Where a benchmark trained such spellings apart, they stay different
        architectures in `neighbours` and `encode`.
        """
        return architecture

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of options of each choice, (C,)."""
        return tuple(map(len, self.choices.values()))

    def build(self, choices: Sequence[int]) -> Architecture:
        """Return the architecture that C choices make, each as the place of its option."""
        return Architecture(self.name, tuple(choices))

    def choices_of(self, architecture: Architecture) -> Sequence[int]:
        """Return the C choices that make an architecture.

        Raises
        ------
        GenotypeError
            If the genes are not those of an architecture of the space.
        """
        genes, sizes = architecture.genes, self.sizes
        if len(genes) != len(sizes) or not all(map(range.__contains__, map(range, sizes), genes)):
            each = f"0 to {sizes[0] - 1}" if len(set(sizes)) == 1 else f"below {sizes}"
            raise GenotypeError(
                f"{self.title} genes must be {len(sizes)} numbers {each}, found {genes[:8]}"
            )
        return genes

    def chosen(self, architecture: Architecture) -> dict[str, Any]:
        """Return by the name of each choice the option that the architecture has."""
        places = self.choices_of(architecture)
        pairs = zip(self.choices.items(), places, strict=True)
        return {name: options[place] for (name, options), place in pairs}

    def used(self, choices: Sequence[int]) -> Sequence[int]:
        """Return the places of the choices on which the architecture depends."""
        return range(len(choices))

    @property
    def size(self) -> int:
        """Number of architectures that `sample` can draw."""
        return math.prod(self.sizes)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly."""
        return self.build(rng.integers(self.sizes).tolist())

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the neighbours uniformly."""
        choices, sizes = list(self.choices_of(architecture)), self.sizes
        step = int(rng.integers(sum(sizes) - len(sizes)))
        for place, size in enumerate(sizes):
            if step < size - 1:
                choices[place] = (choices[place] + 1 + step) % size
                break
            step -= size - 1
        return self.build(choices)

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Return all architectures that differ in exactly one choice."""
        choices = self.choices_of(architecture)
        return [
            self.build([*choices[:place], option, *choices[place + 1 :]])
            for place, size in enumerate(self.sizes)
            for option in range(size)
            if option != choices[place]
        ]

    def prune(
        self,
        architecture: Architecture,
        rng: np.random.Generator,
        weights: FloatArray | None = None,
    ) -> Architecture:
        """Return the architecture that is built after this one was scored; usually itself.

        Parameters
        ----------
        architecture
            Of this space.
        rng
            Breaks ties.
        weights
            Weights of the options of the C choices, shape (C, most options); by default equal.
        """
        return architecture

    @property
    def listed(self) -> bool:
        """Whether the space is so small that `from_index` lists all of it."""
        return self.size <= _LISTED

    def __iter__(self) -> Iterator[Architecture]:
        """Iterate over all architectures, in the order of their indices."""
        return map(self.from_index, range(self.size))

    def from_index(self, index: SupportsIndex) -> Architecture:
        """Return the architecture of an index: the choices read as digits, the last the lowest.

        Raises
        ------
        GenotypeError
            If there is no such index.
        """
        places = np.unravel_index(self._checked(index), self.sizes)
        return self.build([int(place) for place in places])

    def index_of(self, architecture: Architecture) -> int:
        """Return the index of an architecture; `from_index` reads it back."""
        return int(np.ravel_multi_index(tuple(self.choices_of(architecture)), self.sizes))

    def _checked(self, index: SupportsIndex) -> int:
        """Return an index of the space as an int."""
        if not self.listed:
            raise SelectionError(
                f"the space {self.name} has {self.size:.3g} architectures, too many for "
                f"indices; spaces of at most {_LISTED:,} have them"
            )
        place = operator.index(index)
        if not 0 <= place < self.size:
            raise GenotypeError(f"{self.title} index must be 0 to {self.size - 1}, found {place}")
        return place

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of `encode`."""
        return tuple(f"{name} {option}" for name, own in self.choices.items() for option in own)

    def encode(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return A architectures as 0/1 columns, choice x option, (A, d) with d the `columns`."""
        sizes = self.sizes
        rows = [self.choices_of(architecture) for architecture in architectures]
        chosen = np.array(rows, dtype=np.intp).reshape(len(rows), len(sizes))
        encoded = np.zeros((len(rows), sum(sizes)))
        starts = np.cumsum([0, *sizes[:-1]])
        encoded[np.arange(len(rows))[:, None], starts + chosen] = 1.0
        return encoded

    def describe(self, architecture: Architecture) -> Sequence[float]:
        """Return properties of the architecture as numbers named by `descriptors`."""
        return ()

    def feature_names(self, encoding: str = "structure") -> tuple[str, ...]:
        """Return the names of the columns that `features` gives for an encoding."""
        columns, descriptors = self._shown(encoding)
        return (self.columns if columns else ()) + (self.descriptors if descriptors else ())

    def features(
        self, architectures: Sequence[Architecture], encoding: str = "structure"
    ) -> FloatArray:
        """Return A architectures as finite numbers that are known before a training.

        Parameters
        ----------
        architectures
            A architectures of the space; refused with `GenotypeError` if they are not.
        encoding
            A key of `ENCODINGS`, else `UnknownNameError`. With few architectures, trees learn
            accuracy much better from ``structure`` (docs/surrogates.md has figures), because an
            edge matters by what is before and after it.

        Returns
        -------
        array of shape (A, d)
            Columns as named by `feature_names`.
        """
        columns, descriptors = self._shown(encoding)
        parts = [self.encode(architectures)] if columns else []
        if descriptors:
            rows = [self.describe(architecture) for architecture in architectures]
            parts.append(np.array(rows, np.float64).reshape(len(rows), len(self.descriptors)))
        return np.hstack(parts)

    def _shown(self, encoding: str) -> tuple[bool, bool]:
        """Return whether an encoding shows the columns, and whether the descriptors."""
        if encoding not in ENCODINGS:
            raise unknown_name("encoding", encoding, ENCODINGS)
        described = bool(self.descriptors)
        return encoding != "structure" or not described, encoding != "operations" and described
