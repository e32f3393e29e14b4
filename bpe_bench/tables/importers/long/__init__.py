"""Your own results as a table: one row per training, recorded epoch and split.

Reads CSV (plain or compressed with gzip) and Parquet; ``docs/importing.md`` lists the columns.
Rows are read in chunks and kept as a few numbers each, so memory grows by about fifty bytes per
row, however long the text is.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....errors import BpeBenchWarning, SourceFileError
from ....hyper_parameters import HYPER_PARAMETERS, written
from ....spaces import SearchSpace
from ...curves import MEAN_OF_SEEDS, MISSING, Curves, Split
from ...exporting import facts_path
from ...table import Provenance, Setting, Table, plain_name
from .. import Progress
from ._exported import _read_exported
from ._faults import _LARGEST, _Array
from ._files import _BadRowError, _LongFile
from ._rows import _TOLERANCE, _UNKNOWN_DATASET, TRAINING, _Rows

if TYPE_CHECKING:
    import pandas as pd

_MOST_CELLS = 2**28
"""Most cells of all arrays together, a gigabyte; more would be few rows in a vast grid."""


def read(source: str | Path, progress: Progress, space: SearchSpace | None = None) -> Table:
    """Read a file of results in the long format.

    Parameters
    ----------
    source
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file. What `export_table` wrote beside it is
        read, too, if it is there.
    progress
        Called with the share of the work that is done.
    space
        The space of its architectures; by default the one that the file names, or the one whose
        grammar reads the first architecture.

    Raises
    ------
    SourceFileError
        If the file cannot be read, or with the lines of its inconsistent rows (the
        header is line 1; a Parquet file's first row is row 1).
    OptionalDependencyError
        If it is Parquet and pyarrow is not installed.
    """
    source = Path(source)
    file = _LongFile(source)
    if facts_path(source).is_file():
        return _read_exported(source, facts_path(source), file, progress)
    rows = _Rows(source, file, space)
    try:
        for chunk in file.chunks(rows.texts):
            if len(chunk.frame):
                rows.add(chunk)
            progress(0.9 * chunk.share)
    except _BadRowError as error:
        line, said = error.args
        rows.faults.add(np.array([line]), "{}", np.array([said], dtype=object))
    found = rows.all()
    if not len(found) or rows.space is None:
        rows.faults.stop()
        raise SourceFileError(f"{source} has no rows below its header; add some results")
    measures = _measures(rows)
    settings = _settings(rows, measures)
    curves = dict(_curves(found, rows, [s.label for s in settings]))
    rows.faults.stop()
    full = [s for s, known in zip(settings, rows.settings, strict=True) if known.facts["reference"]]
    progress(1.0)
    return Table(
        space=rows.space.name,
        dataset=(full or settings)[0].dataset,
        architectures=tuple(rows.architectures),
        settings=tuple(settings),
        curves=curves,
        references=tuple(setting.label for setting in full),
        provenance=Provenance(
            source="results imported from a long-format file",
            licence="not stated; imported results",
            citation="none",
            builder=__name__,
            builder_version=version("bpe-bench"),
        ),
        measures={(settings[p].label, name): values for (p, name), values in measures.items()},
    )


def _settings(rows: _Rows, measures: dict[tuple[int, str], _Array]) -> list[Setting]:
    """Return the settings with their costs; a missing label is made from what differs."""
    bare = [f.setting.budget.to_dict() for f in rows.settings if not f.labelled]
    changed = [name for name in HYPER_PARAMETERS if len({b[name] for b in bare}) > 1]
    taken = {f.setting.label for f in rows.settings if f.labelled}
    settings: list[Setting] = []
    full: dict[str, tuple[str, int]] = {}
    for place, found in enumerate(rows.settings):
        setting, label = found.setting, found.setting.label
        if not found.labelled:
            parts = [setting.dataset] if setting.dataset != _UNKNOWN_DATASET else []
            parts += [f"{name}-{written(getattr(setting.budget, name))}" for name in changed]
            label = plain_name("-".join(parts), taken)
            taken.add(label)
        seconds = measures.get((place, "seconds"))
        mean = math.nan if seconds is None else float(np.nanmean(seconds))
        settings.append(dataclasses.replace(setting, label=label, seconds=mean))
        if not found.facts["reference"]:
            continue
        known, line = full.setdefault(setting.dataset, (label, found.line))
        if known != label:
            said = f"a second reference, {label!r}, for data set {setting.dataset!r}; in "
            said += f"{rows.faults.where(line)} it is {known!r}"
            rows.faults.stop(found.line, said)
    return settings


def _curves(
    found: pd.DataFrame, rows: _Rows, labels: list[str]
) -> Iterator[tuple[tuple[str, Split], Curves]]:
    faults, broken, cells = rows.faults, [], 0
    groups: Any = found.groupby(["setting", "split"]).indices
    for (setting, place), own in sorted(groups.items()):
        label, split = labels[setting], list(Split)[place]
        what = f"the {split} results of {label!r}"
        sizes = found["split_size"].to_numpy()[own]
        lines = found["line"].to_numpy()[own]
        said = f"split_size is {{}}, but {{}} in {{}} for {what}"
        faults.add_unequal(lines, sizes, np.zeros_like(lines), said)
        own, lines = own[sizes == sizes[0]], lines[sizes == sizes[0]]
        seed, epoch, network, images = (
            found[name].to_numpy()[own] for name in ("seed", "epoch", "architecture", "images")
        )
        seeds, epochs = np.unique(seed), np.unique(epoch)
        shape = (seeds.size, epochs.size, len(rows.architectures))
        cells += math.prod(shape)
        if cells > _MOST_CELLS:
            said = f"{what} are {len(own)} rows in a grid of {shape[0]} seeds x {shape[1]} "
            said += f"epochs x {shape[2]} architectures, too large for a table; count each "
            faults.stop(int(lines[0]), said + "architecture's seeds from 0")
        cell = np.searchsorted(seeds, seed).astype(np.int32) * np.int32(epochs.size)
        cell = (cell + np.searchsorted(epochs, epoch).astype(np.int32)) * np.int32(shape[2])
        cell += network
        owner = np.zeros(math.prod(shape), dtype=np.int32)
        # Of equal places, the last written stays: here the first row.
        owner[cell[::-1]] = np.arange(cell.size, dtype=np.int32)[::-1]
        said = "{:.12g} correct images, but {:.12g} in {} for the same training and epoch; give "
        said += "other trainings other seeds, and other settings other labels"
        faults.add_unequal(lines, images, owner[cell], said, _TOLERANCE)
        scale = _scale(images, int(sizes[0]))
        counts = np.full(shape, MISSING, dtype=np.int32)
        counts.reshape(-1)[cell] = np.rint(images * scale)
        off = np.abs(images - np.rint(images)) > _TOLERANCE
        off &= seed != MEAN_OF_SEEDS
        if off.any():
            row = int(np.argmax(off))
            where = f"of {sizes[0]} images in {faults.where(lines[row])}"
            broken.append(f"{what} ({images[row]:.6g} {where})")
        yield (label, split), Curves(counts, int(sizes[0]), epochs, seeds, scale)
    if broken:
        _warn(
            "accuracies that are not whole numbers of images are kept as they are: "
            f"{'; '.join(broken)}; if that is a slip, correct split_size or accuracy"
        )


def _scale(images: _Array, size: int) -> int:
    """Return the smallest scale in which all numbers of images are whole, else the finest."""
    decimals = (int(f"1{'0' * places}") for places in range(1, 10))
    fitting = {1, *range(1, 21), *(ten // math.gcd(ten, size) for ten in decimals)}
    scales: list[int] = sorted(scale for scale in fitting if scale * size <= _LARGEST)
    for scale in scales:
        if np.all(np.abs(images * scale - np.rint(images * scale)) <= _TOLERANCE):
            return scale
    return scales[-1]


def _measures(rows: _Rows) -> dict[tuple[int, str], _Array]:
    """Return the measures other than accuracy by setting: means over seeds, each (A,)."""
    measures = _means(rows, "seconds", rows.measured("seconds"), "seconds")
    epochs = rows.measured("epoch_seconds")
    if len(epochs):
        for epoch, part in epochs.groupby("epoch"):
            measures |= _means(rows, "epoch_seconds", part, f"seconds@{epoch}")
    kept: list[str] = []
    for name in rows.extras:
        measure = plain_name(name, {taken for _, taken in measures})
        means = _means(rows, name, rows.measured(name), measure, required=False)
        measures |= means
        (kept if means else rows.ignored).append(name)
    said = [f"{', '.join(kept)} kept as measures"] if kept else []
    said += [f"{', '.join(rows.ignored)} ignored"] if rows.ignored else []
    if said:
        _warn(f"columns that the long form does not know: {'; '.join(said)}")
    return measures


def _means(
    rows: _Rows, name: str, found: pd.DataFrame, measure: str, *, required: bool = True
) -> dict[tuple[int, str], _Array]:
    """Return by setting the means over seeds of a column that has one value per training.

    Different values are a fault if the column is required; else the column is left out.
    """
    if not len(found):
        return {}
    found = found.drop_duplicates([*TRAINING, "value"], ignore_index=True)
    twice = found.duplicated([*TRAINING])
    if twice.any() and not required:
        return {}
    keys = [found[part] for part in TRAINING]
    owner = found.index.to_series().groupby(keys).transform("first").to_numpy()
    said = f"{name} are {{:g}}, but {{:g}} in {{}} for the same training"
    said += "; costs up to an epoch are epoch_seconds" if name == "seconds" else ""
    rows.faults.add_unequal(found["line"].to_numpy(), found["value"].to_numpy(), owner, said)
    means: Any = found[~twice.to_numpy()].groupby(["setting", "architecture"])["value"].mean()
    measures = {}
    for setting, part in means.groupby(level=0):
        array = np.full(len(rows.architectures), math.nan)
        array[part.index.get_level_values(1)] = part
        measures[int(setting), measure] = array
    return measures


def _warn(text: str) -> None:
    warnings.warn(text, BpeBenchWarning, stacklevel=2)
