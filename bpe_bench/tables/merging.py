"""Several tables into one, cell by cell; nothing is averaged.

A cell is one training's count on a split after an epoch. Where two tables hold
the same cell with different counts, or one holds a mean over seeds that is not the
mean of the seeds that others hold, they contradict each other, and the user decides.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import ContradictionError, SelectionError
from ..spaces import Architecture, SearchSpace, get_space
from .catalog import TableLike, given_table
from .curves import MEAN_OF_SEEDS, MISSING, CountArray, Curves, FloatArray, Split
from .table import Provenance, Setting, Table

_LISTED = 10_000
"""So many contradictions are listed; the rest are only counted."""
_SHOWN = 5
_SAME = 1e-6
"""Measured figures that differ relatively by at most this count as the same."""
_LARGEST_COUNT = 2**31 - 1
_NOBODY = -1

_Places = npt.NDArray[np.intp]
_Owners = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Contradiction:
    """A cell for which two tables have different figures."""

    label: str
    """The setting."""
    split: str
    """The split, or the name of a measure."""
    seed: int | None
    """The seed, `MEAN_OF_SEEDS` for a mean over seeds, None for a measure."""
    epoch: int | None
    """The epoch, None for a measure."""
    architecture: str
    """The architecture's text."""
    sources: tuple[str, str]
    """Names of the two tables, in the order in which they were given."""
    values: tuple[float, float]
    """Their figures: accuracies as fractions in [0, 1], measures in their unit."""

    def __str__(self) -> str:
        seed = {None: "", MEAN_OF_SEEDS: ", mean over seeds"}.get(self.seed, f", seed {self.seed}")
        epoch = "" if self.epoch is None else f", epoch {self.epoch}"
        found = " but ".join(
            f"{value:.8g} in {name}" for value, name in zip(self.values, self.sources, strict=True)
        )
        return f"{self.label} {self.split}{seed}{epoch} of {self.architecture}: {found}"


@dataclass(frozen=True)
class Merged:
    """The result of `merge`."""

    table: Table
    """The merged table."""
    contradictions: tuple[Contradiction, ...]
    """Cells on which the tables differ, the first `_LISTED` of them."""
    contradiction_count: int
    """How many contradictions there are."""


def merge(
    tables: Sequence[TableLike],
    names: Sequence[str] | None = None,
    *,
    prefer: Literal["first"] | None = None,
) -> Merged:
    """Merge tables of one search space.

    Architectures are united (by official index for NAS-Bench-201, else in the order
    in which they come), settings by label, and curves by label and split over their
    seeds and epochs, counts brought to a common unit exactly. Missing stays missing.
    A mean over seeds is compared with the single seeds of the same cell if there are
    at least two and other tables hold some of them; both are kept.

    Parameters
    ----------
    tables
        At least two: objects, names or paths.
    names
        Their names in messages and in `Curves.sources`, all different; by default how they
        were given, or ``table 1``.
    prefer
        Where tables contradict each other, ``"first"`` keeps the figure of the table that comes
        first; None raises.

    Raises
    ------
    ContradictionError
        If tables contradict each other and ``prefer`` is None.
    SelectionError
        If the tables cannot be merged: other spaces, a label that means two budgets or
        data sets, or splits of different sizes.
    """
    given = [given_table(table) for table in tables]
    names = names or [name or f"table {n}" for n, (_, name) in enumerate(given, 1)]
    return _merge([table for table, _ in given], names, prefer)


def _merge(tables: Sequence[Table], names: Sequence[str], prefer: str | None) -> Merged:
    _check(tables, names, prefer)
    settings = _merge_settings(tables, names)
    space = get_space(tables[0].space)
    architectures, places = _unite(tables, names, space)
    log = _Log(names, architectures, space)
    curves = {
        key: _merge_curves(key, parts, len(architectures), log)
        for key, parts in _parts(tables, names, places).items()
    }
    caveats = [caveat for table in tables for caveat in table.caveats]
    timed = _timed(tables, names, caveats)
    measures = _merge_measures(tables, places, len(architectures), timed, log)
    if log.count and prefer is None:
        raise ContradictionError(log.message(), tuple(log.listed), log.count)
    table = Table(
        space=space.name,
        dataset=tables[0].dataset,
        architectures=architectures,
        settings=_with_seconds(settings, tables, timed, measures),
        curves=curves,
        references=_references(tables),
        provenance=_provenance(tables),
        caveats=tuple(dict.fromkeys(caveats)),
        measures=measures,
    )
    return Merged(table, tuple(log.listed), log.count)


def _check(tables: Sequence[Table], names: Sequence[str], prefer: str | None) -> None:
    if len(tables) < 2:
        raise SelectionError(f"a merge needs at least 2 tables, found {len(tables)}; name another")
    if len(set(names)) < len(tables) or len(names) != len(tables):
        raise SelectionError(
            f"a merge needs {len(tables)} different names of tables, found: {', '.join(names)}"
        )
    if prefer not in (None, "first"):
        raise SelectionError(f"prefer must be 'first' or not given, found {prefer!r}")
    for table, name in zip(tables, names, strict=True):
        if table.space != tables[0].space:
            raise SelectionError(
                f"tables of different spaces cannot be merged: {names[0]} is of "
                f"{tables[0].space!r}, {name} of {table.space!r}"
            )


def _unite(
    tables: Sequence[Table], names: Sequence[str], space: SearchSpace
) -> tuple[tuple[Architecture, ...], list[_Places]]:
    """Return all architectures, and by table the places of its architectures among them."""
    found: dict[object, Architecture] = {}
    keys: list[list[object]] = []
    for table, name in zip(tables, names, strict=True):
        own = list(table.architectures)
        keys.append(_keys(own, space))
        if len(set(keys[-1])) < len(own):
            raise SelectionError(f"table {name} holds an architecture twice, so its cells clash")
        for key, architecture in zip(keys[-1], own, strict=True):
            found.setdefault(key, architecture)
    if space.listed:
        found = dict(sorted(found.items(), key=lambda item: space.index_of(item[1])))
    order = {key: place for place, key in enumerate(found)}
    return tuple(found.values()), [np.array([order[key] for key in own]) for own in keys]


def _keys(architectures: Sequence[Architecture], space: SearchSpace) -> list[object]:
    """Return what distinguishes architectures: their choices, not the order of the text.

    Isomorphic architectures with other choices were trained separately and stay different.
    """
    choices = space.encode(architectures)
    return [
        (space.canonical(architecture), row.tobytes())
        for architecture, row in zip(architectures, choices, strict=True)
    ]


class _Part(NamedTuple):
    """The part of some curves that one table has."""

    number: int
    """The table's place among the tables."""
    name: str
    curves: Curves
    places: _Places
    """Places of its architectures among all."""


def _parts(
    tables: Sequence[Table], names: Sequence[str], places: Sequence[_Places]
) -> dict[tuple[str, Split], list[_Part]]:
    parts: dict[tuple[str, Split], list[_Part]] = {}
    for number, (table, name, own) in enumerate(zip(tables, names, places, strict=True)):
        for key, curves in table.curves.items():
            parts.setdefault(key, []).append(_Part(number, name, curves, own))
    return parts


class _Log:
    """Collects contradictions, up to `_LISTED`, and counts all."""

    def __init__(
        self, names: Sequence[str], architectures: Sequence[Architecture], space: SearchSpace
    ) -> None:
        self.listed: list[Contradiction] = []
        self.count = 0
        self._names, self._architectures, self._space = names, architectures, space

    def add(
        self,
        cell: tuple[str, str, int | None, int | None],
        where: npt.NDArray[np.bool_],
        owners: tuple[_Owners | int, _Owners | int],
        values: tuple[FloatArray, FloatArray],
    ) -> None:
        """Note where two tables differ; all arrays are (A,), ``cell`` names the rest."""
        found = np.flatnonzero(where)
        self.count += found.size
        for place in found[: _LISTED - len(self.listed)].tolist():
            pair = [
                (int(np.broadcast_to(owner, where.shape)[place]), float(value[place]))
                for owner, value in zip(owners, values, strict=True)
            ]
            (first, one), (second, other) = sorted(pair)
            self.listed.append(
                Contradiction(
                    *cell,
                    architecture=self._space.format(self._architectures[place]),
                    sources=(self._names[first], self._names[second]),
                    values=(one, other),
                )
            )

    def message(self) -> str:
        """Return one line with the number of contradictions and the first of them."""
        shown = "; ".join(map(str, self.listed[:_SHOWN]))
        more = f"; and {self.count - _SHOWN} more" if self.count > _SHOWN else ""
        return (
            f"the tables contradict each other in {self.count} "
            f"{'figure' if self.count == 1 else 'figures'}: {shown}{more}; leave one of them out, "
            "or prefer the first"
        )


def _merge_curves(
    key: tuple[str, Split], parts: Sequence[_Part], networks: int, log: _Log
) -> Curves:
    """Return the union of curves over seeds, epochs and architectures."""
    sources = tuple(dict.fromkeys(itertools.chain(*map(_sources, parts))))
    alone = parts[0]
    if len(parts) == 1 and np.array_equal(alone.places, np.arange(networks)):
        # As they are, without being read if they are still in a file.
        return dataclasses.replace(alone.curves, sources=sources)
    size, scale = _unit(key, parts)
    seeds, epochs = (_union(getattr(part.curves, axis) for part in parts) for axis in _AXES)
    counts = np.full((seeds.size, epochs.size, networks), MISSING, dtype=np.int32)
    for place, epoch in enumerate(epochs.tolist()):
        sheet = _Sheet(key, epoch, seeds.tolist(), scale, size, networks, log)
        for part in parts:
            sheet.add(part)
        sheet.check_means([part for part in parts if MEAN_OF_SEEDS in part.curves.seeds])
        counts[:, place] = sheet.counts
    return Curves(counts, size, epochs, seeds, scale, sources)


_AXES = ("seeds", "epochs")


def _union(axes: Iterable[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    return np.unique(np.concatenate(list(axes))).astype(np.int32)


def _sources(part: _Part) -> tuple[str, ...]:
    return part.curves.sources or (part.name,)


def _unit(key: tuple[str, Split], parts: Sequence[_Part]) -> tuple[int, int]:
    """Return the images of a split and the scale in which the counts of all parts are whole."""
    first = parts[0]
    for part in parts:
        if part.curves.split_size != first.curves.split_size:
            raise SelectionError(
                f"the {key[1]} split of {key[0]!r} has {first.curves.split_size} images in "
                f"{first.name} and {part.curves.split_size} in {part.name}: not the same split"
            )
    scale = math.lcm(*(part.curves.scale for part in parts))
    if first.curves.split_size * scale > _LARGEST_COUNT:
        raise SelectionError(
            f"the {key[1]} counts of {key[0]!r} have no common unit that fits 32 bits: they are in "
            f"1/{' and 1/'.join(str(part.curves.scale) for part in parts)} images"
        )
    return first.curves.split_size, scale


class _Sheet:
    """All seeds of one setting and split after one epoch: counts (R, A) and who gave them."""

    def __init__(
        self,
        key: tuple[str, Split],
        epoch: int,
        seeds: Sequence[int],
        scale: int,
        size: int,
        networks: int,
        log: _Log,
    ) -> None:
        self.counts = np.full((len(seeds), networks), MISSING, dtype=np.int32)
        self._owners = np.full((len(seeds), networks), _NOBODY, dtype=np.int16)
        self._key, self._epoch, self._scale, self._log = key, epoch, scale, log
        self._most = size * scale
        self._rows = {seed: row for row, seed in enumerate(seeds)}

    def add(self, part: _Part) -> None:
        """Fill in what is missing from a table, and note where it contradicts what is there."""
        curves = part.curves
        if self._epoch not in curves.epochs:
            return
        epoch = curves.epoch_place(self._epoch)
        for place, seed in enumerate(curves.seeds.tolist()):
            row = self._rows[seed]
            column = self._spread(curves.column(place, epoch), part)
            old, owners = self.counts[row], self._owners[row]
            new = (old == MISSING) & (column != MISSING)
            differs = ~new & (column != MISSING) & (column != old)
            self._note(seed, differs, (owners, part.number), (old, column))
            old[new], owners[new] = column[new], part.number

    def _spread(self, column: CountArray, part: _Part) -> CountArray:
        """Return a table's column in the common unit, over all architectures."""
        factor = self._scale // part.curves.scale
        spread = np.full(self.counts.shape[1], MISSING, dtype=np.int32)
        spread[part.places] = np.where(column == MISSING, MISSING, column * factor)
        return spread

    def check_means(self, parts: Sequence[_Part]) -> None:
        """Compare means over seeds with the single seeds that other tables give.

        Where they differ, the later figure is removed again.
        """
        singles = [row for seed, row in self._rows.items() if seed != MEAN_OF_SEEDS]
        if not parts or not singles:
            return
        row = self._rows[MEAN_OF_SEEDS]
        mean, owner = self.counts[row], self._owners[row]
        counts, owners = self.counts[singles], self._owners[singles]
        known = counts != MISSING
        number, total = known.sum(axis=0), np.where(known, counts, 0).sum(axis=0, dtype=np.int64)
        others = (known & (owners != owner)).any(axis=0)
        # A mean is as exact as the unit in which its own table counts.
        unit = np.ones(mean.size, dtype=np.int64)
        for part in parts:
            unit[owner == part.number] = self._scale // part.curves.scale
        apart = 2 * np.abs(mean.astype(np.int64) * number - total) > unit * number
        differs = (mean != MISSING) & (number >= 2) & others & apart
        if not differs.any():
            return
        theirs = np.where(known & (owners != owner), owners, np.iinfo(np.int16).max).min(axis=0)
        self._note(
            MEAN_OF_SEEDS, differs, (owner.copy(), theirs), (mean, total / np.maximum(number, 1))
        )
        first = np.where(known, owners, np.iinfo(np.int16).max).min(axis=0)
        mean[differs & (first < owner)] = MISSING
        for single in singles:
            later = differs & (first >= owner) & (self._owners[single] != owner)
            self.counts[single][later] = MISSING

    def _note(
        self,
        seed: int,
        where: npt.NDArray[np.bool_],
        owners: tuple[_Owners | int, _Owners | int],
        counts: tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]],
    ) -> None:
        if where.any():
            first, second = (np.asarray(values, dtype=np.float64) / self._most for values in counts)
            cell = (self._key[0], str(self._key[1]), seed, self._epoch)
            self._log.add(cell, where, owners, (first, second))


def _merge_settings(tables: Sequence[Table], names: Sequence[str]) -> list[Setting]:
    """Return the settings of all tables, each label once."""
    merged: dict[str, tuple[Setting, str]] = {}
    for number, setting in _all_settings(tables):
        first, name = merged.setdefault(setting.label, (setting, names[number]))
        for part in ("budget", "dataset"):
            if getattr(first, part) != getattr(setting, part):
                raise SelectionError(
                    f"setting {setting.label!r} has the {part} {getattr(first, part)} in {name} "
                    f"and {getattr(setting, part)} in {names[number]}; label one of them otherwise"
                )
    return [setting for setting, _ in merged.values()]


def _timed(
    tables: Sequence[Table], names: Sequence[str], caveats: list[str]
) -> dict[str, tuple[int, str]]:
    """Return by label the first table that knows the seconds, and their device.

    A caveat says where another device's seconds are left out.
    """
    timed: dict[str, tuple[int, str]] = {}
    for number, setting in _all_settings(tables):
        measured = (setting.label, "seconds") in tables[number].measures
        if math.isnan(setting.seconds) and not measured:
            continue
        owner, device = timed.setdefault(setting.label, (number, setting.device))
        if setting.device != device:
            caveats.append(
                f"seconds of {setting.label} are those of {names[owner]} on {device or 'a device'}"
                f", those of {names[number]} on {setting.device or 'another'} are left out"
            )
    return timed


def _all_settings(tables: Sequence[Table]) -> Iterator[tuple[int, Setting]]:
    for number, table in enumerate(tables):
        for setting in table.settings:
            yield number, setting


def _merge_measures(
    tables: Sequence[Table],
    places: Sequence[_Places],
    networks: int,
    timed: Mapping[str, tuple[int, str]],
    log: _Log,
) -> dict[tuple[str, str], FloatArray]:
    """Return the union of measures over architectures."""
    merged: dict[tuple[str, str], FloatArray] = {}
    owners: dict[tuple[str, str], _Owners] = {}
    for number, table in enumerate(tables):
        for (label, name), values in table.measures.items():
            device = table.setting(label).device
            # Costs up to an epoch (``seconds@EPOCH``) only go with the whole costs of their device.
            is_cost = name.partition("@")[0] == "seconds"
            if is_cost and label in timed and device != timed[label][1]:
                continue
            key = label, name
            old = merged.setdefault(key, np.full(networks, np.nan))
            owner = owners.setdefault(key, np.full(networks, _NOBODY, dtype=np.int16))
            column = np.full(networks, np.nan)
            column[places[number]] = values
            differs = ~np.isnan(old) & ~np.isnan(column) & ~np.isclose(old, column, _SAME, 0)
            log.add((label, name, None, None), differs, (owner, number), (old, column))
            new = np.isnan(old) & ~np.isnan(column)
            old[new], owner[new] = column[new], number
    return merged


def _with_seconds(
    settings: Sequence[Setting],
    tables: Sequence[Table],
    timed: Mapping[str, tuple[int, str]],
    measures: Mapping[tuple[str, str], FloatArray],
) -> tuple[Setting, ...]:
    """Return the settings with mean seconds, of the networks or as a table gives them."""
    found = []
    for setting in settings:
        if setting.label in timed:
            owner, device = timed[setting.label]
            seconds = tables[owner].setting(setting.label).seconds
            cost = measures.get((setting.label, "seconds"))
            if cost is not None and not np.isnan(cost).all():
                seconds = float(np.nanmean(cost))
            setting = dataclasses.replace(setting, seconds=seconds, device=device)
        found.append(setting)
    return tuple(found)


def _references(tables: Sequence[Table]) -> tuple[str, ...]:
    """Return the references of all tables, for each data set the first."""
    first: dict[str, str] = {}
    for table in tables:
        for label in table.references:
            first.setdefault(table.setting(label).dataset, label)
    return tuple(first.values())


def _provenance(tables: Sequence[Table]) -> Provenance:
    def joined(part: str) -> str:
        texts = [getattr(table.provenance, part) for table in tables]
        return "; ".join(dict.fromkeys(text for text in texts if text))

    return Provenance(
        joined("source"), joined("licence"), joined("citation"), __name__, version("bpe-bench")
    )
