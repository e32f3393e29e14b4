"""The records in the official NAS-Bench-201 and NATS-Bench files.

A record holds the trainings of one network: by schedule ("12" and "200", or "less" and "full")
the state of an ``ArchResults`` object, which has by data set and seed the state of a
``ResultsCount`` object. Records are read one at a time into arrays, so only one is in memory
beside the arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from bpe_bench.errors import GenotypeError, SourceFileError, unknown_name
from bpe_bench.spaces import Architecture, get_space
from bpe_bench.tables.curves import MISSING, CountArray, Curves, FloatArray, Split
from bpe_bench.tables.table import Provenance, Table

from ._nas_bench_201 import DATASETS, SPACE, SPLIT_SIZES, SPLITS, label_of, table_of

_SCHEDULES: Mapping[str, int] = MappingProxyType({"less": 12, "full": 200, "12": 12, "200": 200})
"""Epochs of a schedule by its key in a record."""
_WHOLE = 0.01
"""How far a count may lie from a whole number: accuracies went through 32-bit averages."""
_MOST_SEEDS = 16
"""More seeds than this (there are four) are taken for a damaged or hostile file."""
_SURE_SEED = 888
"""Where seeds disagree about a size, the official package takes that of this seed."""

CAVEATS = (
    "The 12-epoch schedule was trained with other seeds (111, 777) than the 200-epoch schedule "
    "(777, 888, 999), and most data sets have one seed only there.",
    "On some splits the 200-epoch schedule was evaluated after the last epoch only.",
    "Training times are as published: estimates, one constant per network and data set for all "
    "epochs and seeds, on hardware that is not documented; evaluation is not in them.",
)
"""What a user of either file has to know."""


class _Place(NamedTuple):
    """What a figure is of."""

    name: str
    """The record, as messages call it."""
    column: int
    """The network's place in the arrays."""
    official: str
    """Official name of what was trained on."""
    schedule: int
    """Epochs."""

    @property
    def label(self) -> str:
        return label_of(self.official, self.schedule)


class _OfficialRecords:
    """Collects the records of A networks; `table` then empties it.

    Counts are kept as one column of 32-bit integers per seed and epoch. A column is made for
    the first network that has it, so no memory is used for what was not recorded.
    """

    def __init__(self, networks: int) -> None:
        self._networks = networks
        self._columns: dict[tuple[str, Split], dict[tuple[int, int], CountArray]] = {}
        self._measures: dict[tuple[str, str], FloatArray] = {}

    def add(self, column: int, record: Mapping[str, Any], text: str, name: str) -> None:
        """Add one record.

        Parameters
        ----------
        column
            The network's place in the arrays, 0 to A - 1.
        record
            State of ``ArchResults`` by schedule.
        text
            The architecture that it must be of.
        name
            What messages call it.

        Raises
        ------
        SourceFileError
            If it is not an official record, is of another architecture, or has an accuracy that
            is not a whole number of images.
        """
        with _explaining(name):
            for key, results in record.items():
                if key not in _SCHEDULES:
                    raise unknown_name("schedule", str(key)[:40], _SCHEDULES)
                if results["arch_str"] != text:
                    raise ValueError(
                        f"it is of architecture {str(results['arch_str'])[:120]!r}, but the list "
                        f"of architectures has {text!r} in its place"
                    )
                for official, seeds in results["dataset_seed"].items():
                    if official not in DATASETS:
                        raise unknown_name("data set", str(official)[:40], DATASETS)
                    trials = {seed: results["all_results"][official, seed] for seed in seeds}
                    self._add_trials(_Place(name, column, official, _SCHEDULES[key]), trials)

    def table(
        self,
        architectures: Sequence[Architecture],
        provenance: Provenance,
        caveats: Sequence[str],
        name: str,
    ) -> Table:
        """Return the table of all records, and forget them.

        Raises
        ------
        SourceFileError
            If no record held anything.
        """
        if not self._columns:
            raise SourceFileError(f"{name} holds no results of any network; fetch it again")
        curves = {}
        for key in sorted(self._columns):
            label, split = key
            official = label.rpartition("-")[0]
            # Taken out one by one, so that nothing is in memory twice for long.
            curves[key] = _curves(self._columns.pop(key), SPLIT_SIZES[official, split])
        known = {key: m for key, m in self._measures.items() if np.isfinite(m).any()}
        return table_of(architectures, curves, provenance, measures=known, caveats=caveats)

    def _add_trials(self, place: _Place, trials: Mapping[int, Mapping[str, Any]]) -> None:
        for seed, trial in trials.items():
            self._add_counts(place, Split.TRAIN, seed, trial["train_acc1es"], "train")
            by_split: dict[str, dict[int, float]] = {}
            for key, accuracy in trial["eval_acc1es"].items():
                evaluated, epoch = _evaluation(key)
                by_split.setdefault(evaluated, {})[epoch] = accuracy
            for evaluated, accuracies in by_split.items():
                split = SPLITS.get((place.official, evaluated))
                if split is None:
                    known = [e for o, e in SPLITS if o == place.official]
                    raise unknown_name(f"evaluation on {place.official}", evaluated[:40], known)
                self._add_counts(place, split, seed, accuracies, evaluated)
        if trials:
            for measure, value in _measures(trials).items():
                key = (place.label, measure)
                if key not in self._measures:
                    self._measures[key] = np.full(self._networks, np.nan)
                self._measures[key][place.column] = value

    def _add_counts(
        self,
        place: _Place,
        split: Split,
        seed: int,
        accuracies: Mapping[int, float],
        evaluated: str,
    ) -> None:
        size = SPLIT_SIZES[place.official, split]
        exact = np.array(list(accuracies.values()), dtype=np.float64) * (size / 100)
        counts = np.rint(exact)
        with np.errstate(invalid="ignore"):  # an infinite accuracy is refused below
            sound = (np.abs(exact - counts) <= _WHOLE) & (counts >= 0) & (counts <= size)
        if not sound.all():
            fault = int(np.argmin(sound))
            epoch = list(accuracies)[fault]
            raise ValueError(
                f"{place.official}, {place.schedule} epochs, seed {seed}, {evaluated}@{epoch}: "
                f"{accuracies[epoch]} % of {size} images is {exact[fault]:.2f} images, "
                f"not a whole number from 0 to {size}"
            )
        columns = self._columns.setdefault((place.label, split), {})
        for epoch, count in zip(accuracies, counts.astype(np.int32).tolist(), strict=True):
            # Official epochs count from 0.
            column = columns.get((seed, epoch + 1))
            if column is None:
                column = self._new_column(columns, place, seed, epoch)
            column[place.column] = count

    def _new_column(
        self, columns: dict[tuple[int, int], CountArray], place: _Place, seed: int, epoch: int
    ) -> CountArray:
        if not isinstance(seed, int) or not 0 <= seed < 2**31:
            raise ValueError(f"a seed should be a number from 0, found {str(seed)[:40]!r}")
        if not isinstance(epoch, int) or not 0 <= epoch < place.schedule:
            raise ValueError(
                f"an epoch of {place.label} should be 0 to {place.schedule - 1}, "
                f"found {str(epoch)[:40]!r}"
            )
        if len(columns) >= _MOST_SEEDS * place.schedule:
            raise ValueError(f"more than {_MOST_SEEDS} seeds on {place.label}")
        column = columns[seed, epoch + 1] = np.full(self._networks, MISSING, dtype=np.int32)
        return column


def _parse_architectures(texts: Any, indices: Iterable[int], name: str) -> tuple[Architecture, ...]:
    """Return the architectures of some indices from the official list of texts.

    Raises
    ------
    SourceFileError
        If the list lacks an index, or has something else than an architecture there.
    """
    space = get_space(SPACE)
    found = []
    for index in indices:
        if not isinstance(texts, Sequence) or not 0 <= index < len(texts):
            raise SourceFileError(
                f"{name} has a record {index:06d}, which its list of architectures lacks; "
                "fetch it again"
            )
        try:
            found.append(space.parse(str(texts[index])))
        except GenotypeError as error:
            raise SourceFileError(
                f"{name} lists an unknown architecture at index {index}, "
                f"{str(texts[index])[:120]!r}: {error}"
            ) from error
    return tuple(found)


def _curves(columns: dict[tuple[int, int], CountArray], size: int) -> Curves:
    seeds = sorted({seed for seed, _ in columns})
    epochs = sorted({epoch for _, epoch in columns})
    networks = next(iter(columns.values())).size
    counts = np.full((len(seeds), len(epochs), networks), MISSING, dtype=np.int32)
    for r, seed in enumerate(seeds):
        for e, epoch in enumerate(epochs):
            column = columns.pop((seed, epoch), None)
            if column is not None:
                counts[r, e] = column
    return Curves(counts, size, np.array(epochs), np.array(seeds))


@lru_cache(maxsize=4096)
def _evaluation(key: str) -> tuple[str, int]:
    """Return the two parts of ``x-valid@11``: the evaluated images and the epoch."""
    evaluated, _, epoch = key.rpartition("@")
    return evaluated, int(epoch)


def _measures(trials: Mapping[int, Mapping[str, Any]]) -> dict[str, float]:
    """Return what the official package answers for a network on a data set, NaN if unknown."""
    latencies = [_mean(trial["latency"] or ()) for trial in trials.values()]
    times = [trial["train_times"] for trial in trials.values()]
    return {
        "seconds": _mean([float(sum(t.values())) for t in times if t]),
        "parameters": _agreed({seed: float(trial["params"]) for seed, trial in trials.items()}),
        "flops": _agreed({seed: float(trial["flop"]) for seed, trial in trials.items()}),
        # The official files write -1 where latency was not measured.
        "latency": _mean([latency for latency in latencies if latency > 0]),
    }


def _agreed(by_seed: Mapping[int, float]) -> float:
    """Return a size that all seeds should share.

    Some official records are known to be wrong. As the NATS-Bench package does, the
    value of seed 888 is taken where values differ in the fifth decimal.
    """
    differ = len({f"{value:.5f}" for value in by_seed.values()}) > 1
    if differ and _SURE_SEED in by_seed:
        return by_seed[_SURE_SEED]
    return _mean(list(by_seed.values()))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


@contextmanager
def _explaining(name: str) -> Iterator[None]:
    """Turn the errors that a malformed record causes into one line."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        lacks = "it lacks " if isinstance(error, KeyError) else ""
        fault = " ".join(str(error).split())[:400]
        raise SourceFileError(f"{name} is not an official record: {lacks}{fault}") from error
