"""The DARTS space (Liu, Simonyan, Yang, ICLR 2019): two cells of four nodes each.

A cell has two inputs (nodes 0 and 1) and four intermediate nodes (2 to 5). Node
i may take any earlier node as an input through one of seven operations; in the
space proper it takes exactly two different ones. That is 14 candidate edges
per cell. There is a normal cell and a reduction cell.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..budget import DARTS_FULL
from ..errors import GenotypeError
from ._darts_cells import (
    CELLS,
    EDGES,
    NODES,
    OPERATIONS,
    Cell,
    _format_genotype,
    _Node,
    _parse_genotype,
    cells_of,
    edge_index,
    from_cells,
)
from .base import Architecture, FloatArray, SearchSpace

__all__ = [
    "CELLS",
    "EDGES",
    "NODES",
    "OPERATIONS",
    "Cell",
    "DartsSpace",
    "FullDartsSpace",
    "cells_of",
    "edge_index",
    "from_cells",
]

_OPERATIONS_OF_EDGES = MappingProxyType(
    {
        f"{cell}: {node + 2}<-{source}": OPERATIONS
        for cell in CELLS
        for node in range(NODES)
        for source in range(node + 2)
    }
)
_PAIRS = tuple(tuple(itertools.combinations(range(node + 2), 2)) for node in range(NODES))
"""By node the pairs of inputs that it can have."""
_INPUTS_OF_NODES = {
    f"{cell}: inputs of {node + 2}": tuple(f"{first} {second}" for first, second in pairs)
    for cell in CELLS
    for node, pairs in enumerate(_PAIRS)
}
_CHOICES = MappingProxyType({**_OPERATIONS_OF_EDGES, **_INPUTS_OF_NODES})

_SKIP_CONNECT = OPERATIONS.index("skip_connect")
_CONVOLUTIONS = frozenset(i for i, name in enumerate(OPERATIONS) if "conv_" in name)
_KINDS: Mapping[str, frozenset[int]] = {
    "convolutions": _CONVOLUTIONS,
    "5x5": frozenset(i for i in _CONVOLUTIONS if OPERATIONS[i].endswith("5x5")),
    "separable": frozenset(i for i in _CONVOLUTIONS if OPERATIONS[i].startswith("sep")),
    "weightless": frozenset(range(len(OPERATIONS))) - _CONVOLUTIONS,
}
_INPUTS = (0, 1)


def _descriptors() -> tuple[str, ...]:
    depths = ("deepest", "sum of deepest", "sum of shallowest")
    columns = (
        *OPERATIONS,
        *_KINDS,
        *(f"{depth} {unit}" for unit in ("edges", "convolutions") for depth in depths),
        "paths",
        *(f"edges of input {source}" for source in _INPUTS),
        "convolutions of inputs",
        "skips of inputs",
    )
    return tuple(f"{cell}: {column}" for cell in CELLS for column in columns)


class _DartsCells(SearchSpace):
    """The common part of the space and of that with all edges."""

    name = "darts"
    title = "DARTS"
    descriptors = _descriptors()
    abilities = ("network", "supernet")
    full_training = DARTS_FULL

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of `encode`."""
        return tuple(f"{edge} {op}" for edge in _OPERATIONS_OF_EDGES for op in OPERATIONS)

    def parse(self, text: str) -> Architecture:
        """Read ``Genotype(normal=[[('skip_connect', 0), ...], ...], ...)`` by grammar.

        The original flat form (a list of eight pairs per cell) is read too, and cells
        with any number of inputs per node.

        Raises
        ------
        GenotypeError
            With the position (from 0) of the fault.

        Examples
        --------
        >>> space = DartsSpace()
        >>> text = space.format(space.sample(np.random.default_rng(0)))
        >>> space.format(space.parse(text)) == text
        True
        """
        return _parse_genotype(text)

    def format(self, architecture: Architecture) -> str:
        """Write the genotype as the released files do, one list per node."""
        return _format_genotype(architecture)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Sort the inputs of every node, because their order does not change the sum."""
        normal, reduce = (
            tuple(tuple(sorted(node, key=lambda edge: edge[1])) for node in cell)
            for cell in cells_of(architecture)
        )
        return from_cells(normal, reduce)

    def chosen(self, architecture: Architecture) -> dict[str, str]:
        """Return by the name of each edge that the architecture has its operation."""
        edges, own = list(_OPERATIONS_OF_EDGES), _operations_of(architecture)
        return {edges[place]: OPERATIONS[own[place]] for place in sorted(own)}

    def encode(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return A cell pairs as 0/1 columns: cell x edge x operation, (A, 2 · 14 · 7)."""
        table = np.zeros((len(architectures), len(_OPERATIONS_OF_EDGES), len(OPERATIONS)))
        for row, architecture in enumerate(architectures):
            operations = _operations_of(architecture)
            table[row, list(operations), list(operations.values())] = 1.0
        return table.reshape(len(architectures), len(self.columns))

    def describe(self, architecture: Architecture) -> Sequence[float]:
        """Return what is known of the cells before a training, 2 x 22 numbers.

        Of the normal and of the reduction cell: how often each operation occurs (7),
        convolutions, 5x5 ones, separable ones and operations without weights (4); the
        depth of the cell in edges and in convolutions: deepest node, sum over nodes, sum
        of the shallowest ways (6); paths from an input to any node (1); edges that leave
        the first and the second input (2), and how many of the inputs' edges are
        convolutions and skips (2).
        """
        normal, reduce = cells_of(architecture)
        return (*_describe_cell(normal), *_describe_cell(reduce))


@dataclass(frozen=True)
class FullDartsSpace(_DartsCells):
    """DARTS cells with all 14 edges, each with an operation.

    The released searchers score these, and `prune` them when the search has ended.
    """

    @property
    def choices(self) -> Mapping[str, Sequence[str]]:
        """The operations of the 28 edges."""
        return _OPERATIONS_OF_EDGES

    def build(self, choices: Sequence[int]) -> Architecture:
        """Return the cell pair with these operations on its 28 edges."""
        cells = [
            tuple(
                tuple((cell[edge_index(index, source)], source) for source in range(index + 2))
                for index in range(NODES)
            )
            for cell in (choices[:EDGES], choices[EDGES:])
        ]
        return from_cells(cells[0], cells[1])

    def choices_of(self, architecture: Architecture) -> Sequence[int]:
        """Return the operations of the 28 edges.

        Raises
        ------
        GenotypeError
            If the architecture lacks edges.
        """
        operations = _operations_of(architecture)
        if len(operations) < len(CELLS) * EDGES:
            raise GenotypeError(f"DARTS cells with all {EDGES} edges are wanted, found fewer")
        return [operations[edge] for edge in sorted(operations)]

    def prune(
        self,
        architecture: Architecture,
        rng: np.random.Generator,
        weights: FloatArray | None = None,
    ) -> Architecture:
        """Keep two inputs per node: those of the largest weights, at random among equals.

        Parameters
        ----------
        architecture
            With all edges.
        rng
            Breaks ties.
        weights
            Weights of the operations of all edges, shape (28, 7); the weight of an edge is that
            of its operation. By default all are equal.
        """
        operations = self.choices_of(architecture)
        edges = np.arange(len(operations))
        known = np.ones(len(edges)) if weights is None else weights[edges, operations]
        cells = []
        for which in range(len(CELLS)):
            nodes = []
            for index in range(NODES):
                edges = which * EDGES + edge_index(index, 0) + np.arange(index + 2)
                # By weight, then by a random number.
                order = np.lexsort((rng.random(len(edges)), known[edges]))
                kept = sorted(order[-2:].tolist())
                nodes.append(tuple((operations[edges[source]], source) for source in kept))
            cells.append(tuple(nodes))
        return from_cells(cells[0], cells[1])


@dataclass(frozen=True)
class DartsSpace(_DartsCells):
    """The DARTS space: two different inputs per node.

    The choices are the operations of all 28 edges and, for each of the eight nodes, the pair of
    inputs that is kept. The operations of the other edges have no effect.
    """

    unpruned = FullDartsSpace()

    @property
    def choices(self) -> Mapping[str, Sequence[str]]:
        """The operations of the 28 edges, then the pairs of inputs of the eight nodes."""
        return _CHOICES

    def build(self, choices: Sequence[int]) -> Architecture:
        """Return the cell pair of 28 operations and 8 pairs of inputs."""
        nodes = [tuple((choices[edge], s) for edge, s in node) for node in _kept(choices)]
        return from_cells(tuple(nodes[:NODES]), tuple(nodes[NODES:]))

    def used(self, choices: Sequence[int]) -> Sequence[int]:
        """Return the places of the 16 operations that are kept, and of the 8 pairs."""
        pairs = range(len(_OPERATIONS_OF_EDGES), len(choices))
        return [*(edge for node in _kept(choices) for edge, _ in node), *pairs]

    @property
    def size(self) -> int:
        """Cell pairs with two different inputs per node: (180 · 7⁸)², about 1.08e18."""
        per_cell = math.prod(len(pairs) * len(OPERATIONS) ** 2 for pairs in _PAIRS)
        return int(per_cell ** len(CELLS))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw a cell pair uniformly among those with two inputs per node."""
        return from_cells(_sample_cell(rng), _sample_cell(rng))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the neighbours uniformly."""
        options = self.neighbours(architecture)
        return options[int(rng.integers(len(options)))]

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Return all cell pairs that differ in one operation or one input.

        With two inputs per node these are 96 changes of an operation and 24 of
        an input. They come in canonical spelling.
        """
        cells = cells_of(self.canonical(architecture))
        found: list[Architecture] = []
        for which, cell in enumerate(cells):
            for index, node in enumerate(cell):
                for changed in _changed_nodes(index, node):
                    new = (*cell[:index], changed, *cell[index + 1 :])
                    pair = (new, cells[1]) if which == 0 else (cells[0], new)
                    found.append(from_cells(*pair))
        return found


def _operations_of(architecture: Architecture) -> dict[int, int]:
    """Return the operations of the edges that there are, by their places among the 28."""
    return {
        which * EDGES + edge_index(index, source): operation
        for which, cell in enumerate(cells_of(architecture))
        for index, node in enumerate(cell)
        for operation, source in node
    }


def _kept(choices: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Return for each of the eight nodes its inputs as (place of the edge, source)."""
    kept = []
    for place, pair in enumerate(choices[len(_OPERATIONS_OF_EDGES) :]):
        cell, node = divmod(place, NODES)
        first = cell * EDGES + edge_index(node, 0)
        kept.append([(first + source, source) for source in _PAIRS[node][pair]])
    return kept


def _sample_cell(rng: np.random.Generator) -> Cell:
    nodes: list[_Node] = []
    for index in range(NODES):
        sources = sorted(int(s) for s in rng.choice(index + 2, size=2, replace=False))
        nodes.append(tuple((int(rng.integers(len(OPERATIONS))), s) for s in sources))
    return tuple(nodes)


def _changed_nodes(index: int, node: _Node) -> Iterator[_Node]:
    used = {source for _, source in node}
    for place, (operation, source) in enumerate(node):
        rest = (*node[:place], *node[place + 1 :])
        changes = [(op, source) for op in range(len(OPERATIONS)) if op != operation]
        changes += [(operation, s) for s in range(index + 2) if s not in used]
        for edge in changes:
            yield tuple(sorted((*rest, edge), key=lambda e: e[1]))


def _describe_cell(cell: Cell) -> tuple[float, ...]:
    counts = Counter(operation for node in cell for operation, _ in node)
    row = [counts[op] for op in range(len(OPERATIONS))]
    row += [sum(counts[op] for op in kind) for kind in _KINDS.values()]
    for counted in (range(len(OPERATIONS)), _CONVOLUTIONS):
        deepest, shallowest = [0, 0], [0, 0]
        for node in cell:
            reached = [(source, int(op in counted)) for op, source in node]
            deepest.append(max(deepest[source] + step for source, step in reached))
            shallowest.append(min(shallowest[source] + step for source, step in reached))
        row += [max(deepest), sum(deepest), sum(shallowest)]
    ways = [1, 1]
    for node in cell:
        ways.append(sum(ways[source] for _, source in node))
    row.append(sum(ways[len(_INPUTS) :]))
    row += [sum(s == wanted for node in cell for _, s in node) for wanted in _INPUTS]
    of_inputs = [op for node in cell for op, source in node if source in _INPUTS]
    row += [sum(op in _CONVOLUTIONS for op in of_inputs), of_inputs.count(_SKIP_CONNECT)]
    return tuple(map(float, row))
