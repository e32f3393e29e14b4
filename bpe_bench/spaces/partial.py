"""The architectures of a table as a space of its own, for searches over partial tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .base import Architecture, FloatArray, SearchSpace

_NEAREST = 10


class PartialSpace(SearchSpace):
    """A space of listed architectures only.

    `sample` draws one of them. Neighbours differ in one choice; if there are fewer than ten such
    architectures, the nearest by `encode` make up ten (fewer if the whole space has fewer), or
    searches would go round in the few that are there. Choices of an architecture that is not
    listed give the listed one with the most choices in common, the first of several.

    Parameters
    ----------
    whole
        The space that they are of.
    architectures
        A architectures.
    """

    def __init__(self, whole: SearchSpace, architectures: Sequence[Architecture]) -> None:
        self.name, self.title, self.whole = whole.name, whole.title, whole
        self._architectures = tuple(architectures)
        self._places = {a: place for place, a in enumerate(self._architectures)}
        encoded = whole.encode(self._architectures)
        spread = np.ptp(encoded, axis=0)
        self._encoded: FloatArray = encoded / np.where(spread > 0, spread, 1.0)
        longest = max(len(a.genes) for a in self._architectures)
        genes = [(*a.genes, *[-1] * (longest - len(a.genes))) for a in self._architectures]
        self._options = [sorted(set(column)) for column in zip(*genes, strict=True)]
        lookup = [{gene: n for n, gene in enumerate(column)} for column in self._options]
        rows = [[own[g] for own, g in zip(lookup, row, strict=True)] for row in genes]
        self._chosen = np.array(rows, dtype=np.int32)

    def __reduce__(self) -> tuple[object, ...]:
        # To other processes without what follows from the architectures.
        return PartialSpace, (self.whole, self._architectures)

    @property
    def choices(self) -> Mapping[str, Sequence[str]]:
        """By the number of each choice, what it is in any of the architectures."""
        return {str(n): tuple(map(str, column)) for n, column in enumerate(self._options)}

    @property
    def size(self) -> int:
        """Number of architectures, A."""
        return len(self._architectures)

    def parse(self, text: str) -> Architecture:
        """Read an architecture of the whole space."""
        return self.whole.parse(text)

    def format(self, architecture: Architecture) -> str:
        """Write an architecture."""
        return self.whole.format(architecture)

    def build(self, choices: Sequence[int]) -> Architecture:
        """Return the listed architecture that has most of the choices."""
        shared = (self._chosen == np.asarray(choices)).sum(axis=1)
        return self._architectures[int(np.argmax(shared))]

    def choices_of(self, architecture: Architecture) -> Sequence[int]:
        """Return the choices that make an architecture."""
        chosen: list[int] = self._chosen[self._places[architecture]].tolist()
        return chosen

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one of the architectures uniformly."""
        return self._architectures[int(rng.integers(self.size))]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the neighbours uniformly; the only architecture has itself."""
        near = self._near(architecture)
        return (
            self._architectures[near[int(rng.integers(len(near)))]] if len(near) else architecture
        )

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Return the architectures that differ in one choice, and of few also the nearest."""
        return [self._architectures[place] for place in self._near(architecture)]

    def _near(self, architecture: Architecture) -> list[int]:
        own = self._places[architecture]
        apart = (self._chosen != self._chosen[own]).sum(axis=1)
        near = np.flatnonzero(apart == 1)
        wanted = min(_NEAREST, sum(self.sizes) - len(self.sizes), self.size - 1)
        if len(near) < wanted:
            distance = np.abs(self._encoded - self._encoded[own]).sum(axis=1)
            distance[near], distance[own] = -1.0, np.inf
            near = np.argsort(distance, kind="stable")[:wanted]
        places: list[int] = near.tolist()
        return places

    def encode(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return A architectures as the whole space does."""
        return self.whole.encode(architectures)
