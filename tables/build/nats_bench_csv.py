"""Read ``nats_bench.csv``: 200-epoch test accuracies, means over seeds.

Published at github.com/v-tao/nats-bench-landscape: 15,625 architectures, three
data sets. The columns say 'test'. They are, checked against the official records
of architectures 0, 11 and 284: CIFAR-10 the official ``ori-test`` after training
on all of ``cifar10``; CIFAR-100 and ImageNet16-120 the official ``x-test``, which
is half of the images of ``ori-test``. Means are over the 2 or 3 seeds that an
architecture has, so counts are in sixths of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bpe_bench.errors import SourceFileError
from bpe_bench.tables.curves import Curves, FloatArray, Split
from bpe_bench.tables.table import Table

from . import _nas_bench_201 as facts
from ._published import (
    SPACE,
    check_file,
    csv_rows,
    last_epoch,
    number,
    parse,
    provenance_of,
    whole_counts,
)

if TYPE_CHECKING:
    from bpe_bench.tables.importers import Progress

URL = "https://github.com/v-tao/nats-bench-landscape"
COLUMNS = {
    "CIFAR10TestAccuracy200Epochs": "cifar10",
    "CIFAR100TestAccuracy200Epochs": "cifar100",
    "ImageNetTestAccuracy200Epochs": "ImageNet16-120",
}
"""From column to the official name of what was trained on."""
TEXT = "ArchitectureString"
SCALE = 6
"""Means are over 2 or over 3 seeds."""
_EPOCHS = 200
_NO_LINE = 0


def read(source: Path, progress: Progress) -> Table:
    """Return the table of ``nats_bench.csv``, architectures in official order.

    Raises
    ------
    SourceFileError
        If the file is missing, or does not hold every architecture once with
        accuracies that are means over 2 or 3 seeds; with line and column.
    """
    percent, lines = _values(check_file(source, URL), progress)
    curves: dict[tuple[str, Split], Curves] = {}
    for (column, official), values in zip(COLUMNS.items(), percent, strict=True):
        images = facts.SPLIT_SIZES[official, Split.TEST]
        counts = whole_counts(
            values,
            images,
            SCALE,
            partial(_where, source, lines, column),
        )
        label = facts.label_of(official, _EPOCHS)
        curves[label, Split.TEST] = last_epoch(counts, images, _EPOCHS, scale=SCALE)
    return facts.table_of(
        [SPACE.from_index(index) for index in range(facts.NETWORKS)],
        curves,
        provenance_of(
            "nats_bench.csv, github.com/v-tao/nats-bench-landscape, commit b307ae5f",
            "nats_bench.csv: none stated (the figures are NATS-Bench's, MIT)",
            __name__,
        ),
        caveats=(
            "200-epoch test accuracies of nats_bench.csv are means over the 2 or 3 seeds of each "
            "architecture, single seeds are not in it",
        ),
    )


def _where(path: Path, lines: Sequence[int], column: str, place: int) -> str:
    return f"{path} line {lines[place]}, column {column!r}"


def _values(path: Path, progress: Progress) -> tuple[FloatArray, list[int]]:
    """Return per cent by column and official index, (3, A), and the line of each index."""
    percent = np.zeros((len(COLUMNS), facts.NETWORKS))
    lines = [_NO_LINE] * facts.NETWORKS
    found = 0
    for line, (text, *values) in csv_rows(path, (TEXT, *COLUMNS)):
        where = f"{path} line {line}, column"
        index = SPACE.index_of(parse(text, f"{where} {TEXT!r}"))
        if lines[index] != _NO_LINE:
            raise SourceFileError(f"{where} {TEXT!r}: {text} is on line {lines[index]} already")
        lines[index] = line
        percent[:, index] = [
            number(value, f"{where} {column!r}")
            for column, value in zip(COLUMNS, values, strict=True)
        ]
        found += 1
        progress(found / facts.NETWORKS)
    if found < facts.NETWORKS:
        raise SourceFileError(
            f"{path}: expected all {facts.NETWORKS} architectures, found {found}; the file may be "
            "truncated"
        )
    return percent, lines
