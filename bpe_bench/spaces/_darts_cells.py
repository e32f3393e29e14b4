"""DARTS cells: what they consist of, their genes, and their text.

Genes are the genotype read from left to right: for each cell and node the number of inputs,
then an (operation, input) pair per input. The order of the inputs within a node is kept, as
published texts have one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

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

_Edge = tuple[int, int]
"""Operation index and input node."""
_Node = tuple[_Edge, ...]
Cell = tuple[_Node, ...]


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


def _format_genotype(architecture: Architecture) -> str:
    """Write the genotype as the released files do, one list per node."""
    parts = []
    for name, cell in zip(CELLS, cells_of(architecture), strict=True):
        nodes = ", ".join(
            "[" + ", ".join(f"('{OPERATIONS[op]}', {source})" for op, source in node) + "]"
            for node in cell
        )
        parts.append(f"{name}=[{nodes}], {name}_concat=range(2, {2 + NODES})")
    return f"Genotype({', '.join(parts)})"


def _parse_genotype(text: str) -> Architecture:
    """Read a genotype; `GenotypeError` with a position if it is malformed."""
    return _Parser(text).genotype()


def _read_cell(genes: Iterator[int]) -> Cell:
    nodes: list[_Node] = []
    for index in range(NODES):
        inputs = next(genes)
        edges: list[_Edge] = []
        for _ in range(inputs):  # no generator: it would turn StopIteration into RuntimeError
            edges.append((next(genes), next(genes)))
        node = tuple(edges)
        sources = [source for _, source in node]
        good = all(0 <= op < len(OPERATIONS) and 0 <= s < index + 2 for op, s in node)
        if not node or not good or len(set(sources)) < len(sources):
            raise GenotypeError(f"DARTS genes of node {index + 2} are not a node: {node}")
        nodes.append(node)
    return tuple(nodes)


_TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_]\w*)|(?P<number>[0-9]{1,9})|'(?P<text>[^'\n]*)'|(?P<sign>\S))"
)
_NAMED = re.compile(r"\s*[A-Za-z_]\w*\s*=\s*(?=Genotype\b)")


class _Parser:
    """Recursive descent over the genotype grammar.

    genotype = [name "="] "Genotype" "(" "normal" "=" cell "," "normal_concat" "=" concat ","
               "reduce" "=" cell "," "reduce_concat" "=" concat ")"
    cell     = "[" node {"," node} "]" | "[" edge {"," edge} "]"
    node     = "[" edge {"," edge} "]"
    edge     = "(" operation "," number ")"
    concat   = "range" "(" number "," number ")" | "[" number {"," number} "]"
    """

    def __init__(self, text: str) -> None:
        self.text = text
        named = _NAMED.match(text)
        self.kind, self.token, self.start, self.end = "", "", 0, named.end() if named else 0
        self._advance()

    def genotype(self) -> Architecture:
        self._take("Genotype", "(")
        cells = []
        for place, name in enumerate(CELLS):
            self._take(*"," * place, name, "=")
            cells.append(self._cell())
            self._take(",", f"{name}_concat", "=")
            self._concat()
        self._take(")")
        if self.kind != "end":
            self._fail("the end of the text")
        return from_cells(cells[0], cells[1])

    def _cell(self) -> Cell:
        self._take("[")
        flat = self.token == "("
        nodes: list[_Node] = []
        for index in range(NODES):
            self._take(*"," * (index > 0), *"[" * (not flat))
            nodes.append(self._edges(index, count=2 if flat else None))
            self._take(*"]" * (not flat))
        self._take("]")
        return tuple(nodes)

    def _edges(self, index: int, count: int | None) -> _Node:
        edges: list[_Edge] = []
        while True:
            edges.append(self._edge(index, {source for _, source in edges}))
            if len(edges) == count or (count is None and self.token != ","):
                return tuple(edges)
            self._take(",")

    def _edge(self, index: int, used: set[int]) -> _Edge:
        self._take("(")
        if self.kind != "text" or self.token not in OPERATIONS:
            self._fail(f"an operation ({', '.join(OPERATIONS)})")
        operation = OPERATIONS.index(self.token)
        self._advance()
        self._take(",")
        wanted = f"an input of node {index + 2}, 0 to {index + 1}, each once"
        if self.kind != "number" or int(self.token) > index + 1 or int(self.token) in used:
            self._fail(wanted)
        source = int(self.token)
        self._advance()
        self._take(")")
        return operation, source

    def _concat(self) -> None:
        wanted = list(range(2, 2 + NODES))
        start = self.start
        if self.kind == "word" and self.token == "range":
            self._take("range", "(")
            first = self._number()
            self._take(",")
            found = list(range(first, min(self._number(), first + 100)))
            self._take(")")
        else:
            self._take("[")
            found = [self._number()]
            while self.token == ",":
                self._advance()
                found.append(self._number())
            self._take("]")
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

    def _take(self, *wanted: str) -> None:
        for token in wanted:
            if self.kind not in ("word", "sign") or self.token != token:
                self._fail(repr(token))
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
