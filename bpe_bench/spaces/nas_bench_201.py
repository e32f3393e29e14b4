"""The NAS-Bench-201 space (Dong and Yang, ICLR 2020): one cell of four nodes.

Node 0 is the input and node 3 the output; every node adds up all earlier ones, each through one
of five operations. Genes are the operations of the six edges in the order of the published text
``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

The official index of an architecture, 0 to 15,624, is a shuffle that cannot be
computed. ``nas_bench_201_order.npy`` holds it as 15,625 numbers of 16 bits: a
the genes read as six digits in base 5, one number per index. It
is the list ``meta_archs`` of NATS-Bench (https://github.com/D-X-Y/NATS-Bench,
file ``NATS-tss-v1_0-3ffb9-simple/meta.pickle.pbz2``; MIT licence, copyright since
2020 Xuanyi Dong), made again by ``python -m bpe_bench_tables.build.nas_bench_201_order``.

The benchmark has separate results for all 15,625 architectures, also for isomorphic ones. Only
`NasBench201Space.canonical` merges those.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import NoReturn, SupportsIndex

import numpy as np

from ..errors import GenotypeError
from .base import Architecture, SearchSpace

OPERATIONS: tuple[str, ...] = (
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
)
"""The five operations of an edge, in the order of their indices."""

EDGES: tuple[tuple[int, int], ...] = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""Node and input of each edge, in the order of the genes."""

ORDER_FILE = "nas_bench_201_order.npy"
"""Name of the file with the official order."""

Genes = tuple[int, ...]

_NONE, _SKIP, _CONV_1, _CONV_3, _POOL = range(len(OPERATIONS))
_CHOICES = MappingProxyType({f"{node}<-{source}": OPERATIONS for node, source in EDGES})
_TEXT = "|*~0|+|*~0|*~1|+|*~0|*~1|*~2|"
"""The published text, a star for each operation."""
_FORM = tuple(sign.strip("*") for sign in _TEXT)
_WORD = re.compile(r"[^|+~]{1,40}")


PATHS: tuple[tuple[int, ...], ...] = ((3,), (0, 4), (1, 5), (0, 2, 5))
"""The paths of a NAS-Bench-201 cell from input to output, as places among its genes."""

_LETTERS = {_CONV_1: "1", _CONV_3: "3", _POOL: "p"}
_CONTENTS = tuple(
    content
    for length in range(len(PATHS))
    for content in itertools.combinations_with_replacement((_CONV_1, _CONV_3, _POOL), length)
)
"""Multisets of operations that a path can hold beside skips."""
_DEPTHS = {
    "convolutions": (_CONV_1, _CONV_3),
    "3x3": (_CONV_3,),
    "1x1": (_CONV_1,),
    "poolings": (_POOL,),
}


def _live_edges(genes: Sequence[int]) -> tuple[bool, ...]:
    """Return which edges of a NAS-Bench-201 cell lie on a path that has no ``none``.

    Examples
    --------
    >>> _live_edges((3, 0, 2, 0, 1, 0))  # node 2 leads nowhere, so the edge 2 <- 1 is dead
    (True, False, False, False, True, False)
    """
    used = {edge for path in _live_paths(genes) for edge in path}
    return tuple(edge in used for edge in range(len(genes)))


def _live_paths(genes: Sequence[int]) -> list[tuple[int, ...]]:
    return [path for path in PATHS if all(genes[edge] != _NONE for edge in path)]


@cache
def _described(genes: tuple[int, ...]) -> tuple[float, ...]:
    live = _live_edges(genes)
    edges = [gene if alive else _NONE for gene, alive in zip(genes, live, strict=True)]
    row = [float(gene == op) for gene in edges for op in range(len(OPERATIONS))]
    row += [float(edges.count(op)) for op in (_SKIP, _CONV_1, _CONV_3, _POOL)]
    paths = _live_paths(genes)
    words = [tuple(genes[edge] for edge in path if genes[edge] != _SKIP) for path in paths]
    row.append(float(len(paths)))
    for counted in _DEPTHS.values():
        depths = [sum(op in counted for op in word) for word in words]
        row += [float(max(depths, default=-1)), float(min(depths, default=-1)), float(sum(depths))]
    row.append(float(words.count(())))
    row.append(float(sum(_POOL not in word for word in words)))
    row.append(float(sum(set(word) == {_POOL} for word in words)))
    row.append(float(len(set(words))))
    for path in PATHS:
        on_path = [genes[edge] for edge in path]
        alive = _NONE not in on_path
        row += [
            float(on_path.count(op)) if alive else -1.0 for op in (_SKIP, _CONV_1, _CONV_3, _POOL)
        ]
    contents = Counter(tuple(sorted(word)) for word in words)
    row += [float(contents[content]) for content in _CONTENTS]
    return tuple(row)


def _descriptors() -> tuple[str, ...]:
    names = [f"live {edge} {name}" for edge in _CHOICES for name in OPERATIONS]
    names += [*OPERATIONS[1:], "paths"]
    names += [f"{which} {what}" for what in _DEPTHS for which in ("longest", "shortest", "total")]
    names += ["skip paths", "paths without pooling", "paths of pooling", "different paths"]
    for path in PATHS:
        way = "-".join(["0", *(str(EDGES[edge][0]) for edge in path)])
        names += [f"path {way} {name}" for name in OPERATIONS[1:]]
    names += [
        f"paths [{' '.join(_LETTERS[op] for op in content) or 'skips'}]" for content in _CONTENTS
    ]
    return tuple(names)


@dataclass(frozen=True)
class NasBench201Space(SearchSpace):
    """The NAS-Bench-201 space.

    Isomorphic architectures are kept apart, also among neighbours: the benchmark has
    results of each.

    Examples
    --------
    >>> space = NasBench201Space()
    >>> space.format(space.from_index(11))
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|'
    >>> space.from_index(11).genes
    (3, 3, 4, 0, 3, 4)
    """

    name = "nas-bench-201"
    title = "NAS-Bench-201"
    descriptors = _descriptors()
    abilities = ("network", "supernet")
    default_layers = 5  # the fewest that a network can have
    layers_to_vary = (5, 8, 11)

    @property
    def choices(self) -> Mapping[str, Sequence[str]]:
        """The operations of each of the six edges."""
        return _CHOICES

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the isomorphic architecture with the smallest official index.

        Two architectures are isomorphic if their outputs are the same expression
        of the input, with ``skip_connect`` as identity, ``none`` as zero, every
        operation on zero as zero, and sums free of order and grouping. There are
        4,930 classes.

        Dong and Yang count 6,466 with the same rules, because their code compares
        written sums: it knows a zero only at node 1, keeps zeros as terms, and
        does not sort a sum again that a skip has passed on. Their classes are
        parts of these ones.
        """
        return self.build(_representatives()[tuple(self.choices_of(architecture))])

    def parse(self, text: str) -> Architecture:
        """Read ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``, without any spaces.

        Raises
        ------
        GenotypeError
            With the position (from 0) of the fault.
        """
        genes: list[int] = []
        position = 0
        for wanted in _FORM:
            word = None if wanted else _WORD.match(text, position)
            if word is not None and word[0] in OPERATIONS:
                genes.append(OPERATIONS.index(word[0]))
                position = word.end()
            elif wanted and text.startswith(wanted, position):
                position += 1
            else:
                expected = repr(wanted) if wanted else f"an operation ({', '.join(OPERATIONS)})"
                _fail(text, position, expected, word[0] if word else text[position : position + 1])
        if position < len(text):
            _fail(text, position, "the end of the text", text[position : position + 40])
        return self.build(genes)

    def format(self, architecture: Architecture) -> str:
        """Write the architecture as the benchmark does."""
        names = (OPERATIONS[operation] for operation in self.choices_of(architecture))
        return _TEXT.replace("*", "{}").format(*names)

    def describe(self, architecture: Architecture) -> Sequence[float]:
        """Return what is known of a cell before it is trained, 87 numbers.

        All of them describe the isomorphic cell of the smallest official index
        (`canonical`), so isomorphic cells get the same numbers, and only its *live*
        edges: those on a path from input to output without ``none``. The others change
        nothing. Operations of the six edges (30, dead ones as ``none``) and how often
        each occurs (4); of the paths: how many, the longest, the shortest and the sum of
        their numbers of convolutions, 3x3, 1x1 and poolings (13; -1 without a path), how
        many are nothing but skips, are free of pooling, hold nothing but pooling, and
        how many differ (4); what lies on each of the four possible paths (16; -1 if it
        is dead); and how many paths hold each of the 20 multisets of up to three
        operations other than skips.
        """
        return _described(_representatives()[tuple(self.choices_of(architecture))])

    def from_index(self, index: SupportsIndex) -> Architecture:
        """Return the architecture of an official index, 0 to 15,624.

        Raises
        ------
        GenotypeError
            If there is no such index.
        """
        return self.build(_order()[self._checked(index)])

    def index_of(self, architecture: Architecture) -> int:
        """Return the official index of an architecture, 0 to 15,624."""
        return _places()[tuple(self.choices_of(architecture))]


@cache
def _order() -> tuple[Genes, ...]:
    """Return the genes of every official index."""
    with (resources.files(__package__) / ORDER_FILE).open("rb") as stream:
        codes = np.load(stream, allow_pickle=False).astype(np.intp)
    values = len(OPERATIONS) ** np.arange(len(EDGES) - 1, -1, -1)
    digits = codes[:, None] // values % len(OPERATIONS)
    return tuple(map(tuple, digits.tolist()))


@cache
def _places() -> dict[Genes, int]:
    """Return the official index of all genes."""
    return {genes: index for index, genes in enumerate(_order())}


_Expression = tuple[int, ...]
"""A sum as the sorted numbers of its terms; the empty sum is zero, term 0 the input."""


@cache
def _representatives() -> dict[Genes, Genes]:
    """Return, for all genes, those of the smallest official index in their class."""
    terms: dict[tuple[int, _Expression], int] = {}
    first: dict[_Expression, Genes] = {}
    return {genes: first.setdefault(_output(genes, terms), genes) for genes in _order()}


def _output(genes: Genes, terms: dict[tuple[int, _Expression], int]) -> _Expression:
    """Return the sum at node 3; ``terms`` numbers the operations on sums in order of appearance."""
    nodes: list[list[int]] = [[0], [], [], []]
    for (node, source), operation in zip(EDGES, genes, strict=True):
        given = nodes[source]
        if operation == _SKIP:
            nodes[node].extend(given)
        elif operation != _NONE and given:
            term = (operation, tuple(sorted(given)))
            nodes[node].append(terms.setdefault(term, len(terms) + 1))
    return tuple(sorted(nodes[-1]))


def _fail(text: str, position: int, wanted: str, found: str) -> NoReturn:
    shown = repr(found) if position < len(text) else "the end of the text"
    raise GenotypeError(
        f"malformed NAS-Bench-201 architecture at position {position}: "
        f"expected {wanted}, found {shown}"
    )
