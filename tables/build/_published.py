"""Shared by the importers of published accuracy files: reading and exact counts.

The files give per cent, often as means over seeds. A mean over 2 or 3 trainings is
a whole number of halves or thirds of an image, so counts in units of 1/scale image
hold it without loss. Any other value is a fault of the file.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bpe_bench.errors import GenotypeError, SourceFileError
from bpe_bench.spaces import Architecture
from bpe_bench.spaces.nas_bench_201 import NasBench201Space
from bpe_bench.tables.curves import MEAN_OF_SEEDS, CountArray, Curves, FloatArray
from bpe_bench.tables.table import Provenance

from ._nas_bench_201 import CITATION

SPACE = NasBench201Space()
OFF_BY = 1e-3
"""How far a value may be from a whole number of 1/scale images: what rounding leaves."""


def check_file(path: Path, published: str) -> Path:
    """Return a path after checking that a file is there; ``published`` is where to get it.

    Raises
    ------
    SourceFileError
        If it is missing.
    """
    if not path.is_file():
        raise SourceFileError(f"no file {path}; it is published at {published}")
    return path


def whole_counts(
    percent: FloatArray, images: int, scale: int, where: Callable[[int], str]
) -> CountArray:
    """Return accuracies in per cent as counts in units of 1/scale image.

    Parameters
    ----------
    percent
        Shape (N,).
    images
        Images in the split.
    scale
        Least common multiple of the numbers of seeds that means were taken over.
    where
        From a place in ``percent`` to its file, row and column, for the error.

    Raises
    ------
    SourceFileError
        At the first value that is outside 0 to 100 or no whole number of 1/scale images.
    """
    with np.errstate(invalid="ignore"):
        outside = ~((percent >= 0) & (percent <= 100))
        exact = np.where(outside, 0.0, percent) * (images * scale) / 100
    counts = np.rint(exact)
    for place in np.flatnonzero(outside)[:1].tolist():
        raise SourceFileError(
            f"{where(place)}: accuracy must be 0 to 100 %, found {percent[place]}"
        )
    for place in np.flatnonzero(np.abs(exact - counts) > OFF_BY)[:1].tolist():
        unit = "images" if scale == 1 else f"1/{scale} images, as a mean over seeds would be"
        raise SourceFileError(
            f"{where(place)}: {percent[place]} % of {images} images is no whole number of {unit}"
        )
    return counts.astype(np.int32)


def last_epoch(
    counts: CountArray, images: int, epochs: int, *, seed: int = MEAN_OF_SEEDS, scale: int = 1
) -> Curves:
    """Return curves of one seed that hold the last epoch of a schedule only, from shape (A,)."""
    return Curves(
        counts.reshape(1, 1, -1), images, np.array([epochs]), np.array([seed]), scale=scale
    )


def parse(text: str, where: str) -> Architecture:
    """Return the architecture of a text.

    Raises
    ------
    SourceFileError
        If it is not an architecture of NAS-Bench-201.
    """
    try:
        return SPACE.parse(text)
    except GenotypeError as error:
        raise SourceFileError(f"{where}: {error}") from error


def provenance_of(source: str, licence: str, builder: str) -> Provenance:
    """Return the provenance of figures of NAS-Bench-201 that others published again."""
    return Provenance(source, licence, CITATION, builder, version("bpe-bench"))


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Iterate over a CSV file: the number of each line and its values in the columns named.

    Raises
    ------
    SourceFileError
        If it is not such a file.
    """
    with _reading(path), path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream, strict=True)
        header = next(reader, [])
        lacking = [name for name in columns if name not in header]
        if lacking:
            raise SourceFileError(
                f"{path}: it lacks the column {lacking[0]!r}; its columns are: "
                f"{', '.join(header)[:200] or 'none'}"
            )
        places = [header.index(name) for name in columns]
        for row in reader:
            if len(row) != len(header):
                raise SourceFileError(
                    f"{path} line {reader.line_num}: expected {len(header)} values, found "
                    f"{len(row)}; the file may be truncated"
                )
            yield reader.line_num, [row[place] for place in places]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what reading a broken CSV file raises into one line."""
    try:
        yield
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SourceFileError(f"{path}: not a readable CSV file: {reason}") from error


def number(text: str, where: str) -> float:
    """Return a text as a number.

    Raises
    ------
    SourceFileError
        If it is not a number.
    """
    try:
        return float(text)
    except ValueError:
        raise SourceFileError(f"{where}: expected a number, found {text[:40]!r}") from None
