"""Learning curves: how many images each network got right, by seed and epoch.

Counts are whole numbers, so nothing is lost to rounding, and missing stays missing. They
are in memory or, for large tables, read column by column by a `CountReader`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..errors import InvalidTableError, unknown_name

FloatArray = npt.NDArray[np.float64]
CountArray = npt.NDArray[np.int32]
_Seed = int | Literal["mean"]
"""A recorded seed, or the mean over the recorded seeds."""

MISSING = -1
"""The count of a training that was not made or not recorded."""
MEAN_OF_SEEDS = -1
"""The seed of figures that their source gives only as a mean over seeds."""
LARGEST = 2**31 - 1
"""Seeds and epochs are kept in 32 bits, so none may be larger."""


class Split(StrEnum):
    """The part of a data set on which accuracy was measured."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    HELDOUT = "heldout"
    """Validation and test images together (NAS-Bench-201's 'ori-test' of some data sets)."""

    @classmethod
    def of(cls, name: Split | str) -> Split:
        """Return the split of a name.

        Raises
        ------
        UnknownNameError
            If there is no such split.
        """
        try:
            return cls(name)
        except ValueError:
            raise unknown_name("split", str(name), map(str, cls)) from None

    @property
    def may_steer(self) -> bool:
        """Whether a search may look at it: test images are for the final report only."""
        return self in (Split.TRAIN, Split.VALIDATION)


@runtime_checkable
class CountReader(Protocol):
    """Counts that are not in memory yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(R seeds, E epochs, A architectures)."""

    def column(self, seed: int, epoch: int) -> CountArray:
        """Read the counts of all architectures at a place of the first two axes, (A,)."""

    def read(self) -> CountArray:
        """Read everything, (R, E, A)."""


@dataclass(frozen=True, repr=False)
class Curves:
    """Correctly classified images per seed, epoch and architecture.

    Raises
    ------
    InvalidTableError
        If shapes do not fit or a count is out of range.
    """

    counts: CountArray | CountReader
    """Shape (R, E, A); `MISSING` where there is no result."""
    split_size: int
    """Images in the split."""
    epochs: npt.NDArray[np.int32]
    """The E epochs recorded, counted from 1, ascending."""
    seeds: npt.NDArray[np.int32]
    """The R seeds; `MEAN_OF_SEEDS` for figures that are known only as a mean."""
    scale: int = 1
    """Counts are in units of 1/scale image; above 1 if means over seeds are stored exactly."""
    sources: tuple[str, ...] = ()
    """Sources of the counts, if they differ from the table's."""

    def __repr__(self) -> str:
        seeds = ", ".join(map(str, self.seeds))
        return (
            f"<Curves: {self.counts.shape[2]:,} architectures, {self.split_size:,} images, seeds "
            f"{seeds}, epochs {', '.join(ranges(self.epochs.tolist()))}>"
        )

    def __post_init__(self) -> None:
        epochs = _in_32_bits(self.epochs, "recorded epochs must count from 1 and ascend", 1)
        seeds = _in_32_bits(
            self.seeds, f"seeds count from 0, and {MEAN_OF_SEEDS} is a mean", MEAN_OF_SEEDS
        )
        counts = self.counts
        if not isinstance(counts, CountReader):
            counts = np.asarray(counts)
        if len(counts.shape) != 3 or counts.shape[:2] != (seeds.size, epochs.size):
            raise InvalidTableError(
                f"counts must have the shape (seeds, epochs, architectures) = "
                f"({seeds.size}, {epochs.size}, A), found {counts.shape}"
            )
        if self.split_size < 1 or self.scale < 1 or 0 in counts.shape:
            raise InvalidTableError("curves need at least one image, seed, epoch and architecture")
        if np.any(np.diff(epochs) <= 0):
            raise InvalidTableError("recorded epochs must count from 1 and ascend")
        if np.unique(seeds).size < seeds.size:
            raise InvalidTableError(f"seeds must differ, found {seeds.tolist()}")
        if isinstance(counts, np.ndarray):
            _check_counts(counts, self.most)
            # Turned into 32 bits only now that it is known to fit; frozen, so never the caller's.
            counts = np.array(counts, dtype=np.int32, order="C")
            counts.setflags(write=False)
        object.__setattr__(self, "counts", counts)
        for name, array in (("epochs", epochs), ("seeds", seeds)):
            array = array.copy()
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def most(self) -> int:
        """The count of a network that gets every image right."""
        return self.split_size * self.scale

    @property
    def own_seeds(self) -> list[int]:
        """Places of the seeds that are single trainings, not means."""
        return [r for r, seed in enumerate(self.seeds.tolist()) if seed != MEAN_OF_SEEDS]

    def all_counts(self) -> CountArray:
        """Return all counts in memory, shape (R, E, A)."""
        return self.counts if isinstance(self.counts, np.ndarray) else self.counts.read()

    def column(self, seed: int, epoch: int) -> CountArray:
        """Return the counts of all architectures at a place of the first two axes, shape (A,)."""
        if isinstance(self.counts, np.ndarray):
            column: CountArray = self.counts[seed, epoch]
            return column
        return self.counts.column(seed, epoch)

    def epoch_place(self, epoch: int | None) -> int:
        """Return where on the second axis an epoch is, the last one for None.

        Raises
        ------
        UnknownNameError
            If that epoch was not recorded.
        """
        if epoch is None:
            return self.epochs.size - 1
        if epoch not in self._epoch_places:
            raise unknown_name("epoch", str(epoch), ranges(self.epochs.tolist()))
        return self._epoch_places[epoch]

    def seed_place(self, seed: int) -> int:
        """Return where on the first axis a seed is.

        Raises
        ------
        UnknownNameError
            If that seed was not recorded.
        """
        if seed not in self._seed_places:
            raise unknown_name("seed", str(seed), map(str, self.seeds))
        return self._seed_places[seed]

    def accuracy(self, *, epoch: int | None = None) -> FloatArray:
        """Return the accuracies of the single trainings after an epoch.

        Parameters
        ----------
        epoch
            A recorded epoch, or None for the last one.

        Returns
        -------
        array of shape (R, A)
            Fractions in [0, 1], NaN where missing; means over seeds are left out.
        """
        place = self.epoch_place(epoch)
        rows = [self._fractions(self.column(seed, place)) for seed in self.own_seeds]
        return np.array(rows).reshape(len(rows), self.counts.shape[2])

    def seed_accuracy(self, seed: _Seed, *, epoch: int | None = None) -> FloatArray:
        """Return the accuracy of every architecture for a seed, shape (A,).

        ``"mean"`` is the mean over the single trainings of an architecture; without any, it is
        the mean that the source gives, if it gives one.
        """
        place = self.epoch_place(epoch)
        if seed != "mean":
            return self._fractions(self.column(self.seed_place(seed), place))
        mean = np.full(self.counts.shape[2], np.nan)
        if MEAN_OF_SEEDS in self._seed_places:
            mean = self._fractions(self.column(self._seed_places[MEAN_OF_SEEDS], place))
        # Whole numbers are added up and divided once, so equal means are equal floats: ties stay.
        total = np.zeros(self.counts.shape[2], dtype=np.int64)
        count = np.zeros(self.counts.shape[2], dtype=np.int64)
        for seed in self._own_places:
            column = self.column(seed, place)
            total += np.where(column == MISSING, 0, column)
            count += column != MISSING
        return np.where(count > 0, total / np.maximum(count * self.most, 1), mean)

    def value(self, architecture: int, seed: _Seed, epoch: int | None) -> float:
        """Return one accuracy, NaN if missing; otherwise as `seed_accuracy`."""
        return self.value_of(architecture, seed, self.epoch_place(epoch))[0]

    def value_of(self, architecture: int, seed: _Seed, place: int) -> tuple[float, int]:
        """Return one accuracy at a place of the epochs, and the number of trainings behind it.

        That is 0 if it is missing, or if the source gives only a mean over seeds.
        """
        if seed != "mean":
            count = int(self.column(self.seed_place(seed), place)[architecture])
            if count == MISSING:
                return float("nan"), 0
            return count / self.most, int(seed != MEAN_OF_SEEDS)
        counts = [int(self.column(r, place)[architecture]) for r in self._own_places]
        known = [count for count in counts if count != MISSING]
        if known:
            return sum(known) / (len(known) * self.most), len(known)
        if MEAN_OF_SEEDS in self._seed_places:
            return self.value_of(architecture, MEAN_OF_SEEDS, place)
        return float("nan"), 0

    @cached_property
    def _own_places(self) -> tuple[int, ...]:
        return tuple(self.own_seeds)

    @cached_property
    def _epoch_places(self) -> dict[int, int]:
        return {epoch: place for place, epoch in enumerate(self.epochs.tolist())}

    @cached_property
    def _seed_places(self) -> dict[int, int]:
        return {seed: place for place, seed in enumerate(self.seeds.tolist())}

    def _fractions(self, column: CountArray) -> FloatArray:
        return np.where(column == MISSING, np.nan, column / self.most)


def _in_32_bits(values: npt.ArrayLike, rule: str, least: int) -> npt.NDArray[np.int32]:
    """Return whole numbers as they are kept; refuse those that would become others."""
    try:
        whole = np.asarray(values).astype(np.int64)
    except OverflowError:
        whole = np.array([LARGEST + 1])
    if whole.size and not (least <= whole.min() and whole.max() <= LARGEST):
        raise InvalidTableError(
            f"{rule}, and none is larger than {LARGEST}; found {np.asarray(values).tolist()}"
        )
    return np.ascontiguousarray(whole, dtype=np.int32)


def _check_counts(counts: npt.NDArray[np.generic], most: int) -> None:
    """Raise `InvalidTableError` unless counts are whole and in range, or `MISSING`."""
    if counts.dtype.kind not in "iu":
        raise InvalidTableError(f"counts must be whole numbers, found {counts.dtype}")
    low, high = int(counts.min()), int(counts.max())
    if low < MISSING or high > most:
        raise InvalidTableError(
            f"counts must lie between 0 and the split's {most} images, or be "
            f"{MISSING} where missing; found {low} to {high}"
        )


def ranges(epochs: list[int]) -> list[str]:
    """Return ascending epochs as short text, runs as ``first-last``.

    Examples
    --------
    >>> ranges([1, 2, 3, 12])
    ['1-3', '12']
    """
    runs: list[list[int]] = []
    for epoch in epochs:
        if runs and epoch == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], epoch]
        else:
            runs.append([epoch])
    return [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
