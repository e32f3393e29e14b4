"""The DARTS space (Liu, Simonyan, Yang, ICLR 2019): two cells of four nodes each.

A cell has two inputs (nodes 0 and 1) and four intermediate nodes (2 to 5). Node
i may take any earlier node as an input through one of seven operations; in the
space proper it takes exactly two different ones. That is 14 candidate edges
per cell. There is a normal cell and a reduction cell.

Genes are the genotype read from left to right: for each cell and node the
number of inputs, then an (operation, input) pair per input. The order of the
inputs within a node is kept, because published texts have one and it should
survive; `DartsSpace.canonical` sorts it away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from ..errors import GenotypeError
from .base import Architecture

OPERATIONS: tuple[str, ...] = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The seven operations of an edge, in the order of their indices."""

NODES = 4
"""Intermediate nodes of a cell."""
CELLS: tuple[str, ...] = ("normal", "reduce")
EDGES = sum(range(2, 2 + NODES))
"""Candidate edges of a cell: 14."""

Edge = tuple[int, int]
"""Operation index and input node."""
Node = tuple[Edge, ...]
Cell = tuple[Node, ...]


def edge_index(node: int, source: int) -> int:
    """Return the place of the edge ``source`` → ``node`` among the candidate edges.

    Parameters
    ----------
    node
        Intermediate node, 0 to 3 (the cell's nodes 2 to 5).
    source
        Input node, 0 to ``node + 1``.

    Examples
    --------
    >>> [edge_index(0, 0), edge_index(0, 1), edge_index(1, 0), edge_index(3, 4)]
    [0, 1, 2, 13]
    """
    return node * (node + 3) // 2 + source


def cells_of(architecture: Architecture) -> tuple[Cell, Cell]:
    """Return the normal and the reduction cell as nodes of (operation, input) pairs.

    Raises
    ------
    GenotypeError
        If the genes are not those of a DARTS cell pair.
    """
    genes = iter(architecture.genes)
    try:
        cells = [_read_cell(genes) for _ in CELLS]
    except StopIteration:
        raise GenotypeError("DARTS genes end before both cells are complete") from None
    if next(genes, None) is not None:
        raise GenotypeError("DARTS genes go on after both cells are complete")
    return cells[0], cells[1]


def from_cells(normal: Cell, reduce: Cell) -> Architecture:
    """Return the architecture made of two cells."""
    genes: list[int] = []
    for cell in (normal, reduce):
        for node in cell:
            genes.append(len(node))
            for edge in node:
                genes.extend(edge)
    return Architecture("darts", tuple(genes))


@dataclass(frozen=True)
class DartsSpace:
    """The DARTS space; fulfils `SearchSpace`.

    ``parse``, ``format`` and ``encode`` also take cells with any number of
    inputs per node (the released searchers score cells with all 14 edges);
    ``sample`` draws from the space proper, two different inputs per node.
    """

    @property
    def name(self) -> str:
        """Name of the space."""
        return "darts"

    @property
    def size(self) -> int:
        """Cell pairs with two different inputs per node: (180 · 7⁸)², about 1.08e18."""
        per_cell = 1
        for node in range(NODES):
            inputs = node + 2
            per_cell *= inputs * (inputs - 1) // 2 * len(OPERATIONS) ** 2
        return per_cell**2

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

    def canonical(self, architecture: Architecture) -> Architecture:
        """Sort the inputs of every node: the sum they enter does not care for order."""
        normal, reduce = (
            tuple(tuple(sorted(node, key=lambda edge: edge[1])) for node in cell)
            for cell in cells_of(architecture)
        )
        return from_cells(normal, reduce)

    def parse(self, text: str) -> Architecture:
        """Read ``Genotype(normal=[[('skip_connect', 0), ...], ...], ...)`` by grammar.

        The original flat form (a list of eight pairs per cell) is read too.

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
        return _Parser(text).genotype()

    def format(self, architecture: Architecture) -> str:
        """Write the genotype as the released files do, one list per node."""
        parts = []
        for name, cell in zip(CELLS, cells_of(architecture), strict=True):
            nodes = ", ".join(
                "[" + ", ".join(f"('{OPERATIONS[op]}', {source})" for op, source in node) + "]"
                for node in cell
            )
            parts.append(f"{name}=[{nodes}], {name}_concat=range(2, {2 + NODES})")
        return f"Genotype({', '.join(parts)})"

    def encode(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        """Return A cell pairs as 0/1 columns: cell x edge x operation, (A, 2 · 14 · 7)."""
        table = np.zeros((len(architectures), len(CELLS), EDGES, len(OPERATIONS)))
        for row, architecture in enumerate(architectures):
            for which, cell in enumerate(cells_of(architecture)):
                for index, node in enumerate(cell):
                    for operation, source in node:
                        table[row, which, edge_index(index, source), operation] = 1.0
        return table.reshape(len(architectures), len(CELLS) * EDGES * len(OPERATIONS))


@dataclass(frozen=True)
class FullDartsSpace(DartsSpace):
    """DARTS cells with all 14 edges, each with an operation.

    The released searchers score these, and `prune` them when the search has ended.
    """

    @property
    def size(self) -> int:
        """7²⁸, about 4.6e23."""
        return int(len(OPERATIONS) ** (len(CELLS) * EDGES))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw the operations of all edges uniformly."""
        operations = rng.integers(len(OPERATIONS), size=(len(CELLS), EDGES)).tolist()
        return self.from_operations(operations)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the 168 cell pairs that differ in the operation of one edge."""
        operations = self.operations_of(architecture)
        edge, step = divmod(
            int(rng.integers(len(CELLS) * EDGES * (len(OPERATIONS) - 1))), len(OPERATIONS) - 1
        )
        cell, edge = divmod(edge, EDGES)
        operations[cell][edge] = (operations[cell][edge] + 1 + step) % len(OPERATIONS)
        return self.from_operations(operations)

    def prune(
        self,
        architecture: Architecture,
        rng: np.random.Generator,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> Architecture:
        """Keep two inputs per node: those of the largest weights, at random among equals.

        Parameters
        ----------
        architecture
            With all edges.
        rng
            Breaks ties.
        weights
            Of the edges, shape (2, 14); by default all the same.
        """
        operations = self.operations_of(architecture)
        weights = np.ones((len(CELLS), EDGES)) if weights is None else weights
        cells = []
        for which in range(len(CELLS)):
            nodes = []
            for index in range(NODES):
                edges = np.arange(index + 2) + edge_index(index, 0)
                # By weight, then by a random number.
                order = np.lexsort((rng.random(len(edges)), weights[which][edges]))
                kept = sorted(int(source) for source in order[-2:])
                nodes.append(tuple((operations[which][edge_index(index, s)], s) for s in kept))
            cells.append(tuple(nodes))
        return from_cells(cells[0], cells[1])

    def from_operations(self, operations: Sequence[Sequence[int]]) -> Architecture:
        """Return the cell pair with these operations on its edges, 2 times 14."""
        cells = [
            tuple(
                tuple((cell[edge_index(index, source)], source) for source in range(index + 2))
                for index in range(NODES)
            )
            for cell in operations
        ]
        return from_cells(cells[0], cells[1])

    def operations_of(self, architecture: Architecture) -> list[list[int]]:
        """Return the operations of all edges, 2 times 14.

        Raises
        ------
        GenotypeError
            If the architecture lacks edges.
        """
        table = [[-1] * EDGES for _ in CELLS]
        for which, cell in enumerate(cells_of(architecture)):
            for index, node in enumerate(cell):
                for operation, source in node:
                    table[which][edge_index(index, source)] = operation
        if any(-1 in row for row in table):
            raise GenotypeError(f"DARTS cells with all {EDGES} edges are wanted, found fewer")
        return table


def _read_cell(genes: Iterator[int]) -> Cell:
    nodes: list[Node] = []
    for index in range(NODES):
        inputs = next(genes)
        edges: list[Edge] = []
        for _ in range(inputs):  # no generator: it would turn StopIteration into RuntimeError
            edges.append((next(genes), next(genes)))
        node = tuple(edges)
        sources = [source for _, source in node]
        good = all(0 <= op < len(OPERATIONS) and 0 <= s < index + 2 for op, s in node)
        if not node or not good or len(set(sources)) < len(sources):
            raise GenotypeError(f"DARTS genes of node {index + 2} are not a node: {node}")
        nodes.append(node)
    return tuple(nodes)


def _sample_cell(rng: np.random.Generator) -> Cell:
    nodes: list[Node] = []
    for index in range(NODES):
        sources = sorted(int(s) for s in rng.choice(index + 2, size=2, replace=False))
        nodes.append(tuple((int(rng.integers(len(OPERATIONS))), s) for s in sources))
    return tuple(nodes)


def _changed_nodes(index: int, node: Node) -> Iterator[Node]:
    used = {source for _, source in node}
    for place, (operation, source) in enumerate(node):
        rest = (*node[:place], *node[place + 1 :])
        changes = [(op, source) for op in range(len(OPERATIONS)) if op != operation]
        changes += [(operation, s) for s in range(index + 2) if s not in used]
        for edge in changes:
            yield tuple(sorted((*rest, edge), key=lambda e: e[1]))


_TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_]\w*)|(?P<number>[0-9]{1,9})|'(?P<text>[^'\n]*)'|(?P<sign>\S))"
)


class _Parser:
    """Recursive descent over the genotype grammar.

    genotype = "Genotype" "(" "normal" "=" cell "," "normal_concat" "=" concat ","
               "reduce" "=" cell "," "reduce_concat" "=" concat ")"
    cell     = "[" node {"," node} "]" | "[" edge {"," edge} "]"
    node     = "[" edge {"," edge} "]"
    edge     = "(" operation "," number ")"
    concat   = "range" "(" number "," number ")" | "[" number {"," number} "]"
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.kind, self.token, self.start, self.end = "", "", 0, 0
        self._advance()

    def genotype(self) -> Architecture:
        self._word("Genotype")
        self._sign("(")
        cells = []
        for place, name in enumerate(CELLS):
            if place:
                self._sign(",")
            self._word(name)
            self._sign("=")
            cells.append(self._cell())
            self._sign(",")
            self._word(f"{name}_concat")
            self._sign("=")
            self._concat()
        self._sign(")")
        if self.kind != "end":
            self._fail("the end of the text")
        return from_cells(cells[0], cells[1])

    def _cell(self) -> Cell:
        self._sign("[")
        if self.token == "(":
            return self._flat_cell()
        nodes: list[Node] = []
        for index in range(NODES):
            if index:
                self._sign(",")
            self._sign("[")
            nodes.append(self._edges(index))
            self._sign("]")
        self._sign("]")
        return tuple(nodes)

    def _flat_cell(self) -> Cell:
        nodes: list[Node] = []
        for index in range(NODES):
            if index:
                self._sign(",")
            nodes.append(self._edges(index, count=2))
        self._sign("]")
        return tuple(nodes)

    def _edges(self, index: int, count: int | None = None) -> Node:
        edges: list[Edge] = []
        while True:
            edges.append(self._edge(index, {source for _, source in edges}))
            if len(edges) == count or (count is None and self.token != ","):
                return tuple(edges)
            self._sign(",")

    def _edge(self, index: int, used: set[int]) -> Edge:
        self._sign("(")
        if self.kind != "text" or self.token not in OPERATIONS:
            self._fail(f"an operation ({', '.join(OPERATIONS)})")
        operation = OPERATIONS.index(self.token)
        self._advance()
        self._sign(",")
        wanted = f"an input of node {index + 2}, 0 to {index + 1}, each once"
        if self.kind != "number" or int(self.token) > index + 1 or int(self.token) in used:
            self._fail(wanted)
        source = int(self.token)
        self._advance()
        self._sign(")")
        return operation, source

    def _concat(self) -> None:
        wanted = list(range(2, 2 + NODES))
        start = self.start
        if self.kind == "word" and self.token == "range":
            self._advance()
            self._sign("(")
            first = self._number()
            self._sign(",")
            found = list(range(first, min(self._number(), first + 100)))
            self._sign(")")
        else:
            self._sign("[")
            found = [self._number()]
            while self.token == ",":
                self._advance()
                found.append(self._number())
            self._sign("]")
        if found != wanted:
            raise GenotypeError(
                f"malformed DARTS genotype at position {start}: expected range(2, {2 + NODES}), "
                f"found nodes {found[:8]}"
            )

    def _number(self) -> int:
        if self.kind != "number":
            self._fail("a number")
        number = int(self.token)
        self._advance()
        return number

    def _word(self, word: str) -> None:
        if self.kind != "word" or self.token != word:
            self._fail(repr(word))
        self._advance()

    def _sign(self, sign: str) -> None:
        if self.kind != "sign" or self.token != sign:
            self._fail(repr(sign))
        self._advance()

    def _advance(self) -> None:
        match = _TOKEN.match(self.text, self.end)
        if match is None:
            self.kind, self.token, self.start = "end", "", len(self.text)
            return
        self.kind = str(match.lastgroup)
        self.token = match[self.kind]
        self.start, self.end = match.start(self.kind), match.end()

    def _fail(self, wanted: str) -> NoReturn:
        found = "the end of the text" if self.kind == "end" else repr(self.token[:40])
        raise GenotypeError(
            f"malformed DARTS genotype at position {self.start}: expected {wanted}, found {found}"
        )
