"""Architectures as numbers for regression: what is known of a cell before it is trained.

Three encodings. ``operations`` is the space's own 0/1 matrix (`SearchSpace.encode`): which
operation is on which edge. ``structure`` describes what those choices amount to: how often each
operation occurs, how deep the cell is, what lies on its paths. ``all`` is both. Trees learn
accuracy from few architectures by ``structure`` much better (docs/surrogates.md has figures):
what matters of an edge is what lies before and behind it.

NAS-Bench-201, 87 columns
    All of them describe the isomorphic cell of the smallest official index
    (`NasBench201Space.canonical`), so isomorphic cells get the same numbers, and only its *live*
    edges: those on a path from input to output without ``none``. The others change nothing.
    Operations of the six edges (30, dead ones as ``none``) and how often each occurs (4);
    of the paths: how many, the longest, the shortest and the sum of their numbers of
    convolutions, 3x3, 1x1 and poolings (13; -1 without a path), how many are nothing but skips,
    are free of pooling, hold nothing but pooling, and how many differ (4); what lies on each of
    the four possible paths (16; -1 if it is dead); and how many paths hold each of the 20
    multisets of up to three operations other than skips.

DARTS, 2 x 22 columns
    Of the normal and of the reduction cell: how often each operation occurs (7), convolutions,
    5x5 ones, separable ones and operations without weights (4); the depth of the cell in edges
    and in convolutions: deepest node, sum over nodes, sum of the shallowest ways (6); paths from
    an input to any node (1); edges that leave the first and the second input (2), and how
    many of the inputs' edges are convolutions and skips (2).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..errors import unknown_name
from . import darts, nas_bench_201
from .base import Architecture, SearchSpace

FloatArray = npt.NDArray[np.float64]

ENCODINGS: Mapping[str, str] = MappingProxyType(
    {
        "structure": "counts, depths and paths",
        "operations": "the operation of every edge, as 0/1",
        "all": "both",
    }
)
"""The encodings by name, and what they hold."""


def feature_names(space: str, encoding: str = "structure") -> tuple[str, ...]:
    """Return the names of the columns that `encode_features` gives.

    Examples
    --------
    >>> feature_names("nas-bench-201")[30:35]
    ('skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3', 'paths')
    """
    _, structure, operations = _encoder(space, encoding)
    names = {"structure": structure, "operations": operations, "all": operations + structure}
    return names[encoding]


def encode_features(
    space: str, architectures: Sequence[Architecture], encoding: str = "structure"
) -> FloatArray:
    """Return A architectures as numbers.

    Parameters
    ----------
    space
        Name of the search space.
    architectures
        A architectures of it.
    encoding
        A key of `ENCODINGS`.

    Returns
    -------
    array of shape (A, d)
        Finite; columns as named by `feature_names`.

    Raises
    ------
    UnknownNameError
        For a space or encoding that does not exist.
    GenotypeError
        For an architecture that is not of the space.
    """
    describe, structure, operations = _encoder(space, encoding)
    parts = []
    if encoding != "structure":
        plain = _SPACES[space].encode(architectures)
        parts.append(plain.reshape(len(architectures), len(operations)))
    if encoding != "operations":
        rows = [describe(architecture) for architecture in architectures]
        parts.append(np.array(rows, dtype=np.float64).reshape(len(rows), len(structure)))
    return np.hstack(parts)


Describe = Callable[[Architecture], tuple[float, ...]]


def _encoder(space: str, encoding: str) -> tuple[Describe, tuple[str, ...], tuple[str, ...]]:
    """Return what describes an architecture of a space, and the names of both kinds of columns."""
    if encoding not in ENCODINGS:
        raise unknown_name("encoding", encoding, ENCODINGS)
    if space not in _ENCODERS:
        raise unknown_name("search space with features", space, _ENCODERS)
    return _ENCODERS[space]


# --- NAS-Bench-201 ---------------------------------------------------------------------------

PATHS: tuple[tuple[int, ...], ...] = ((3,), (0, 4), (1, 5), (0, 2, 5))
"""The paths of a NAS-Bench-201 cell from input to output, as places among its genes."""

_NONE, _SKIP, _CONV_1, _CONV_3, _POOL = range(5)
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


def live_edges(genes: Sequence[int]) -> tuple[bool, ...]:
    """Return which edges of a NAS-Bench-201 cell lie on a path that has no ``none``.

    Examples
    --------
    >>> live_edges((3, 0, 2, 0, 1, 0))  # node 2 leads nowhere, so the edge 2 <- 1 is dead
    (True, False, False, False, True, False)
    """
    used = {edge for path in _live_paths(genes) for edge in path}
    return tuple(edge in used for edge in range(len(genes)))


def _live_paths(genes: Sequence[int]) -> list[tuple[int, ...]]:
    return [path for path in PATHS if all(genes[edge] != _NONE for edge in path)]


def _describe_nas_bench_201(architecture: Architecture) -> tuple[float, ...]:
    return _nas_bench_201_row(_SPACES["nas-bench-201"].canonical(architecture).genes)


@cache
def _nas_bench_201_row(genes: tuple[int, ...]) -> tuple[float, ...]:
    live = live_edges(genes)
    edges = [gene if alive else _NONE for gene, alive in zip(genes, live, strict=True)]
    row = [float(gene == op) for gene in edges for op in range(5)]
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


def _nas_bench_201_names() -> tuple[str, ...]:
    operations = nas_bench_201.OPERATIONS
    names = [f"live {name}" for name in _nas_bench_201_edges()]
    names += [*operations[1:], "paths"]
    names += [f"{which} {what}" for what in _DEPTHS for which in ("longest", "shortest", "total")]
    names += ["skip paths", "paths without pooling", "paths of pooling", "different paths"]
    for path in PATHS:
        way = "-".join(["0", *(str(nas_bench_201.EDGES[edge][0]) for edge in path)])
        names += [f"path {way} {name}" for name in operations[1:]]
    names += [
        f"paths [{' '.join(_LETTERS[op] for op in content) or 'skips'}]" for content in _CONTENTS
    ]
    return tuple(names)


def _nas_bench_201_edges() -> tuple[str, ...]:
    return tuple(
        f"{node}<-{source} {name}"
        for node, source in nas_bench_201.EDGES
        for name in nas_bench_201.OPERATIONS
    )


# --- DARTS -----------------------------------------------------------------------------------

_SKIP_CONNECT = darts.OPERATIONS.index("skip_connect")
_CONVOLUTIONS = frozenset(i for i, name in enumerate(darts.OPERATIONS) if "conv_" in name)
_KINDS: Mapping[str, frozenset[int]] = {
    "convolutions": _CONVOLUTIONS,
    "5x5": frozenset(i for i in _CONVOLUTIONS if darts.OPERATIONS[i].endswith("5x5")),
    "separable": frozenset(i for i in _CONVOLUTIONS if darts.OPERATIONS[i].startswith("sep")),
    "weightless": frozenset(range(len(darts.OPERATIONS))) - _CONVOLUTIONS,
}
_INPUTS = (0, 1)


def _describe_darts(architecture: Architecture) -> tuple[float, ...]:
    normal, reduce = darts.cells_of(architecture)
    return (*_describe_cell(normal), *_describe_cell(reduce))


def _describe_cell(cell: darts.Cell) -> tuple[float, ...]:
    counts = Counter(operation for node in cell for operation, _ in node)
    row = [counts[op] for op in range(len(darts.OPERATIONS))]
    row += [sum(counts[op] for op in kind) for kind in _KINDS.values()]
    for counted in (range(len(darts.OPERATIONS)), _CONVOLUTIONS):
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


def _darts_names() -> tuple[str, ...]:
    depths = ("deepest", "sum of deepest", "sum of shallowest")
    columns = (
        *darts.OPERATIONS,
        *_KINDS,
        *(f"{depth} {unit}" for unit in ("edges", "convolutions") for depth in depths),
        "paths",
        *(f"edges of input {source}" for source in _INPUTS),
        "convolutions of inputs",
        "skips of inputs",
    )
    return tuple(f"{cell}: {column}" for cell in darts.CELLS for column in columns)


def _darts_edges() -> tuple[str, ...]:
    return tuple(
        f"{cell}: {node + 2}<-{source} {name}"
        for cell in darts.CELLS
        for node in range(darts.NODES)
        for source in range(node + 2)
        for name in darts.OPERATIONS
    )


_SPACES: Mapping[str, SearchSpace] = {
    "darts": darts.DartsSpace(),
    "nas-bench-201": nas_bench_201.NasBench201Space(),
}
_ENCODERS: Mapping[str, tuple[Describe, tuple[str, ...], tuple[str, ...]]] = {
    "darts": (_describe_darts, _darts_names(), _darts_edges()),
    "nas-bench-201": (_describe_nas_bench_201, _nas_bench_201_names(), _nas_bench_201_edges()),
}
