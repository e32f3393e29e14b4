"""Anyone's own results as a table: one row per training, recorded epoch and split.

Reads CSV (plain or compressed with gzip) and Parquet; ``docs/importing.md`` lists
the columns. Rows are read in chunks and kept as a few numbers each, so memory
grows by some thirty bytes per row, whatever the file's text takes.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import SourceFileError
from ..curves import MISSING, CountArray, Curves, FloatArray, Split
from ..table import Provenance, Setting, Table
from . import Progress
from ._long_files import BadRowError, IntArray, open_rows
from ._long_rows import COLUMNS, REQUIRED, TEXTS, Checker, Rows
from ._long_view import Faults, combine

_MOST_CELLS = 2**28
"""Cells of all arrays together, a gigabyte: more is a file of few rows in a vast grid."""

_Group = tuple[int, Split]


def read(source: Path, progress: Progress) -> Table:
    """Read a file of results in the long format.

    Parameters
    ----------
    source
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file.
    progress
        Called with the share that is done.

    Raises
    ------
    SourceFileError
        If the file cannot be read, or with the lines of its inconsistent rows (the
        header is line 1; a Parquet file's first row is row 1).
    OptionalDependencyError
        If it is Parquet and pyarrow is not installed.
    """
    reader = open_rows(source)
    _check_columns(source, reader.columns)
    faults = Faults(source, reader.unit)
    checker, kept = Checker(faults), _Kept()
    try:
        for chunk in reader.chunks([name for name in TEXTS if name in reader.columns]):
            if len(chunk.frame):
                kept.add(checker.check(chunk))
            progress(0.9 * chunk.share)
    except BadRowError as error:
        faults.add([error.line], str(error))
    if not kept.groups:
        faults.stop()
        raise SourceFileError(f"{source} has no rows below its header")
    table = _table(source, kept, checker, faults)
    progress(1.0)
    return table


def _check_columns(source: Path, columns: Sequence[str]) -> None:
    """Refuse columns that are unknown, missing or there twice, all of them at once."""
    faults = []
    if unknown := [name for name in columns if name not in COLUMNS]:
        guesses = [difflib.get_close_matches(name, COLUMNS, n=1) for name in unknown]
        texts = [
            f"{name!r}" + (f" (did you mean {guess[0]!r}?)" if guess else "")
            for name, guess in zip(unknown, guesses, strict=True)
        ]
        faults.append(f"unknown columns {', '.join(texts)}; there are: {', '.join(COLUMNS)}")
    missing = [name for name in REQUIRED if name not in columns]
    if not {"correct", "accuracy"} & set(columns):
        missing.append("correct or accuracy")
    if missing:
        faults.append(f"missing columns: {', '.join(missing)}")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        faults.append(f"columns that are there twice: {', '.join(twice)}")
    if faults:
        raise SourceFileError(f"{source}: line 1: {'; '.join(faults)}")


@dataclass(frozen=True)
class _Part:
    """Rows of one setting and split."""

    architecture: npt.NDArray[np.int32]
    seed: npt.NDArray[np.int32]
    epoch: npt.NDArray[np.int32]
    correct: npt.NDArray[np.int32]
    line: npt.NDArray[np.int32]


class _Kept:
    """All right rows as numbers, by setting and split; costs by training."""

    def __init__(self) -> None:
        self.groups: dict[_Group, list[_Part]] = {}
        self.costs: list[Rows] = []
        """Rows that differ in setting, architecture, seed or seconds, within a chunk."""

    def add(self, rows: Rows) -> None:
        """Keep the rows of a chunk."""
        splits = tuple(Split)
        groups = rows.setting * len(splits) + rows.split
        order = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        for places in np.split(order, starts[1:]) if order.size else []:
            setting, split = divmod(int(groups[places[0]]), len(splits))
            columns = (rows.architecture, rows.seed, rows.epoch, rows.correct, rows.line)
            part = _Part(*(column[places].astype(np.int32) for column in columns))
            self.groups.setdefault((setting, splits[split]), []).append(part)
        known = _take(rows, np.flatnonzero(np.isfinite(rows.seconds)))
        _, first = combine(known.setting, known.architecture, known.seed, known.seconds)
        self.costs.append(_take(known, first))

    def group(self, key: _Group) -> _Part:
        """Give a group's rows, once: its memory is not kept."""
        parts = self.groups.pop(key)
        names = ("architecture", "seed", "epoch", "correct", "line")
        return _Part(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _take(rows: Rows, places: IntArray) -> Rows:
    return Rows(*(column[places] for column in vars(rows).values()))


def _seconds(kept: _Kept, checker: Checker, faults: Faults) -> Mapping[int, FloatArray]:
    """Return by setting the mean seconds of each architecture's trainings."""
    names = ("setting", "architecture", "seed", "seconds", "line")
    setting, architecture, seed, seconds, line = (
        np.concatenate([getattr(rows, name) for rows in kept.costs]) for name in names
    )
    trainings, first = combine(setting, architecture, seed)
    owner = first[trainings]
    places = np.flatnonzero(seconds != seconds[owner])
    faults.add(
        line[places],
        lambda i: (
            f"seconds are {seconds[places[i]]:g}, but {seconds[owner[places[i]]]:g} in "
            f"{faults.where(line[owner[places[i]]])} for the same training"
        ),
    )
    means = {}
    for place in np.unique(setting).tolist():
        own = first[setting[first] == place]
        size = len(checker.architectures.found)
        total = np.bincount(architecture[own], seconds[own], minlength=size)
        number = np.bincount(architecture[own], minlength=size)
        means[place] = np.where(number > 0, total / np.maximum(number, 1), math.nan)
    return means


def _table(source: Path, kept: _Kept, checker: Checker, faults: Faults) -> Table:
    seconds = _seconds(kept, checker, faults)
    settings = [
        Setting(
            s.label, s.budget, s.dataset,
            float(np.nanmean(seconds[place])) if place in seconds else math.nan,
            s.device,
        )
        for place, s in enumerate(checker.settings.named())
    ]  # fmt: skip
    references = _references(settings, checker, faults)
    curves = _all_curves(source, kept, checker, settings, faults)
    faults.stop()
    full = next((s for s in settings if s.label in references), settings[0])
    return Table(
        space=checker.architectures.space.name,
        dataset=full.dataset,
        architectures=tuple(checker.architectures.found),
        settings=tuple(settings),
        curves=curves,
        references=references,
        provenance=Provenance(
            source=source.name,
            licence="not stated; imported results",
            citation="none",
            builder="bpe_bench.tables.importers.long",
            builder_version=version("bpe-bench"),
        ),
        measures={(settings[p].label, "seconds"): values for p, values in seconds.items()},
    )


def _references(settings: Sequence[Setting], checker: Checker, faults: Faults) -> tuple[str, ...]:
    """Return the labels of full training; a data set has one."""
    labels: list[str] = []
    first: dict[str, int] = {}
    lines = checker.settings.lines
    for place, setting in enumerate(settings):
        if not checker.settings.references[place]:
            continue
        known = first.setdefault(setting.dataset, place)
        if known != place:
            faults.add(
                [lines[place]],
                f"a second reference, {setting.label!r}, for data set {setting.dataset!r}; in "
                f"{faults.where(lines[known])} it is {settings[known].label!r}",
            )
        labels.append(setting.label)
    return tuple(labels)


def _all_curves(
    source: Path,
    kept: _Kept,
    checker: Checker,
    settings: Sequence[Setting],
    faults: Faults,
) -> dict[tuple[str, Split], Curves]:
    curves, cells = {}, 0
    for key in sorted(kept.groups, key=lambda key: (key[0], list(Split).index(key[1]))):
        part = kept.group(key)
        label, split = settings[key[0]].label, key[1]
        seeds, epochs = np.unique(part.seed), np.unique(part.epoch)
        shape = (seeds.size, epochs.size, len(checker.architectures.found))
        cells += math.prod(shape)
        if cells > _MOST_CELLS:
            faults.stop()
            raise SourceFileError(
                f"{source}: the {split} results of {label!r} are {part.line.size} rows in a grid "
                f"of {shape[0]} seeds x {shape[1]} epochs x {shape[2]} architectures, too large "
                "for a table; count each architecture's seeds from 0"
            )
        counts = _counts(part, seeds, epochs, shape, faults)
        curves[label, split] = Curves(counts, checker.split_sizes[key][0], epochs, seeds)
    return curves


def _counts(
    part: _Part,
    seeds: npt.NDArray[np.int32],
    epochs: npt.NDArray[np.int32],
    shape: tuple[int, int, int],
    faults: Faults,
) -> CountArray:
    """Return a group's rows as an array (R, E, A), after checking that no cell has two values."""
    places = np.searchsorted(seeds, part.seed), np.searchsorted(epochs, part.epoch)
    cell = np.ravel_multi_index((*places, part.architecture), shape)
    owner = np.zeros(math.prod(shape), dtype=np.int32)
    # Of equal places, the last written stays: here the first row.
    owner[cell[::-1]] = np.arange(cell.size, dtype=np.int32)[::-1]
    first = owner[cell]
    wrong = np.flatnonzero(part.correct != part.correct[first])
    faults.add(
        part.line[wrong],
        lambda i: (
            f"{part.correct[wrong[i]]} correct images, but {part.correct[first[wrong[i]]]} in "
            f"{faults.where(int(part.line[first[wrong[i]]]))} for the same training and epoch"
        ),
    )
    counts = np.full(shape, MISSING, dtype=np.int32)
    counts.reshape(-1)[cell] = part.correct
    return counts
