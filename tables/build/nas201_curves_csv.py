"""Read ``_clean_all_merged.csv``: every epoch of 200 epochs, architectures 0 to 199.

Published at github.com/SamuelMintal/Masters_Thesis: two columns of lists, training
and validation accuracy after each epoch of the 200-epoch schedule on
``cifar10-valid``, means over the 3 seeds (checked against the official records of
architectures 0 and 11), so counts are in thirds of an image. The eight columns of
zero-cost scores are not read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bpe_bench.errors import SourceFileError
from bpe_bench.tables.curves import MEAN_OF_SEEDS, Curves, FloatArray, Split
from bpe_bench.tables.table import Table

from . import _nas_bench_201 as facts
from ._published import SPACE, check_file, csv_rows, parse, provenance_of, whole_counts

if TYPE_CHECKING:
    from bpe_bench.tables.importers import Progress

URL = "https://github.com/SamuelMintal/Masters_Thesis"
COLUMNS = {"train_accs": Split.TRAIN, "val_accs": Split.VALIDATION}
"""From column to split."""
INDEX, TEXT = "arch_i", "arch_str"
SCALE = 3
"""Means are over 3 seeds."""
ARCHITECTURES = 200
EPOCHS = 200
_OFFICIAL = "cifar10-valid"
_INDICES = {str(index): index for index in range(ARCHITECTURES)}
_NO_LINE = 0


def read(source: Path, progress: Progress) -> Table:
    """Return the table of ``_clean_all_merged.csv``.

    Raises
    ------
    SourceFileError
        If the file is missing, or does not hold architectures 0 to 199 once each with
        200 accuracies per column that are means over 3 seeds; with line and column.
    """
    percent, lines = _values(check_file(source, URL), progress)
    label = facts.label_of(_OFFICIAL, EPOCHS)
    curves: dict[tuple[str, Split], Curves] = {}
    for (column, split), values in zip(COLUMNS.items(), percent, strict=True):
        images = facts.SPLIT_SIZES[_OFFICIAL, split]
        where = partial(_where, source, lines, column)
        counts = whole_counts(values.ravel(), images, SCALE, where).reshape(values.shape)
        curves[label, split] = Curves(
            counts.T[None],
            images,
            np.arange(1, EPOCHS + 1, dtype=np.int32),
            np.array([MEAN_OF_SEEDS], dtype=np.int32),
            scale=SCALE,
        )
    return facts.table_of(
        [SPACE.from_index(index) for index in range(ARCHITECTURES)],
        curves,
        provenance_of(
            "_clean_all_merged.csv, github.com/SamuelMintal/Masters_Thesis, commit 5db5b991",
            "_clean_all_merged.csv: Apache-2.0",
            __name__,
        ),
        caveats=(
            "accuracies of every epoch from _clean_all_merged.csv are means over 3 seeds, single "
            "seeds are not in it",
        ),
    )


def _where(path: Path, lines: Sequence[int], column: str, place: int) -> str:
    row, epoch = divmod(place, EPOCHS)
    return f"{path} line {lines[row]}, column {column!r}, epoch {epoch + 1}"


def _values(path: Path, progress: Progress) -> tuple[FloatArray, list[int]]:
    """Return per cent by column, architecture and epoch, (2, A, E), and each one's line."""
    percent = np.zeros((len(COLUMNS), ARCHITECTURES, EPOCHS))
    # The rows are in no order: 10 comes after 189.
    lines = [_NO_LINE] * ARCHITECTURES
    found = 0
    for line, (index, text, *lists) in csv_rows(path, (INDEX, TEXT, *COLUMNS)):
        where = f"{path} line {line}, column"
        row = _INDICES.get(index, ARCHITECTURES)
        if row == ARCHITECTURES:
            raise SourceFileError(
                f"{where} {INDEX!r}: expected 0 to {ARCHITECTURES - 1}, found {index[:40]!r}"
            )
        if lines[row] != _NO_LINE:
            raise SourceFileError(f"{where} {INDEX!r}: {row} is on line {lines[row]} already")
        if parse(text, f"{where} {TEXT!r}") != SPACE.from_index(row):
            raise SourceFileError(
                f"{where} {TEXT!r}: expected architecture {row}, "
                f"{SPACE.format(SPACE.from_index(row))}, found {text}"
            )
        for place, (column, values) in enumerate(zip(COLUMNS, lists, strict=True)):
            percent[place, row] = _list(values, f"{where} {column!r}")
        lines[row] = line
        found += 1
        progress(found / ARCHITECTURES)
    if found < ARCHITECTURES:
        raise SourceFileError(
            f"{path}: expected architectures 0 to {ARCHITECTURES - 1}, found {found} of them; the "
            "file may be truncated"
        )
    return percent, lines


def _list(text: str, where: str) -> list[float]:
    """Return the accuracies that a cell lists."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceFileError(f"{where}: expected a list of numbers ({error})") from error
    numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    if not numbers or len(values) != EPOCHS:
        found = f"{len(values)} values" if isinstance(values, list) else type(values).__name__
        raise SourceFileError(f"{where}: expected a list of {EPOCHS} numbers, found {found}")
    return [float(value) for value in values]
