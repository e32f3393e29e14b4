"""A table of finished trainings: immutable, in memory, knowing nothing of files.

A `Table` holds A architectures, a number of `Setting`s (a budget on a data set)
and, per setting and split, `Curves`: how many images each network got right,
for every seed and recorded epoch. Missing stays missing.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .budget import NAMED_BUDGETS, Budget
from .errors import (
    InvalidTableError,
    LeakError,
    MissingReferenceError,
    SelectionError,
    unknown_name,
)
from .spaces import Architecture, get_space

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.float64]
CountArray = npt.NDArray[np.int32]

MISSING = -1
"""The count that stands for a training that was not made or not recorded."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Split(StrEnum):
    """The part of a data set on which accuracy was measured."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"

    @property
    def may_steer(self) -> bool:
        """Whether a search may look at it; test accuracy is for the final report only."""
        return self is not Split.TEST


@dataclass(frozen=True)
class Setting:
    """One way of training that a table has results for: a budget on a data set."""

    label: str
    """Name within the table: letters, digits, ``.``, ``_`` and ``-``."""
    budget: Budget
    """How the networks were trained."""
    dataset: str
    """What they were trained on."""
    seconds: float = math.nan
    """Mean device seconds per network for the whole budget; NaN if unknown."""
    device: str = ""
    """Device on which the seconds were measured; empty if unknown."""

    def __post_init__(self) -> None:
        if not _LABEL.fullmatch(self.label):
            raise InvalidTableError(
                f"a setting's label must be letters, digits, '.', '_' or '-', found {self.label!r}"
            )
        if not math.isnan(self.seconds) and not 0 < self.seconds < math.inf:
            raise InvalidTableError(
                f"seconds of setting {self.label!r} must be above 0 or unknown (NaN), "
                f"found {self.seconds}"
            )


@dataclass(frozen=True)
class Curves:
    """Correctly classified images per seed, epoch and architecture."""

    counts: CountArray
    """Shape (R seeds, E recorded epochs, A architectures); `MISSING` where there is none."""
    split_size: int
    """Images in the split, the denominator of every accuracy."""
    epochs: npt.NDArray[np.int32]
    """The E epochs recorded, counted from 1, ascending."""
    seeds: npt.NDArray[np.int32]
    """The R seeds."""

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts)  # turned into 32 bits only once known to fit
        epochs = np.ascontiguousarray(self.epochs, dtype=np.int32)
        seeds = np.ascontiguousarray(self.seeds, dtype=np.int32)
        if counts.ndim != 3 or counts.shape[:2] != (seeds.size, epochs.size):
            raise InvalidTableError(
                f"counts must have the shape (seeds, epochs, architectures) = "
                f"({seeds.size}, {epochs.size}, A), found {counts.shape}"
            )
        if self.split_size < 1 or counts.size == 0:
            raise InvalidTableError("curves need at least one image, seed, epoch and architecture")
        if counts.dtype.kind not in "iu":
            raise InvalidTableError(f"counts must be whole numbers, found {counts.dtype}")
        if counts.min() < MISSING or counts.max() > self.split_size:
            raise InvalidTableError(
                f"counts must lie between 0 and the split's {self.split_size} images, or be "
                f"{MISSING} where missing; found {counts.min()} to {counts.max()}"
            )
        if epochs[0] < 1 or np.any(np.diff(epochs) <= 0):
            raise InvalidTableError("recorded epochs must count from 1 and ascend")
        counts = np.ascontiguousarray(counts, dtype=np.int32)
        for name, array in (("counts", counts), ("epochs", epochs), ("seeds", seeds)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def accuracy(self, *, epoch: int | None = None) -> FloatArray:
        """Return the accuracies after an epoch.

        Parameters
        ----------
        epoch
            A recorded epoch, or None for the last one.

        Returns
        -------
        array of shape (R, A)
            Fractions in [0, 1], NaN where missing.

        Raises
        ------
        UnknownNameError
            If that epoch was not recorded.
        """
        if epoch is None:
            column = self.counts[:, -1]
        else:
            found = np.flatnonzero(self.epochs == epoch)
            if found.size == 0:
                raise unknown_name("epoch", str(epoch), map(str, self.epochs))
            column = self.counts[:, found[0]]
        return np.where(column == MISSING, np.nan, column / self.split_size)


@dataclass(frozen=True)
class Provenance:
    """Where a table's figures come from."""

    source: str
    """The publication and files."""
    licence: str
    """Under what terms the figures were published."""
    citation: str
    """What to cite when using them."""
    builder: str = ""
    """The program that made the table."""
    builder_version: str = ""
    """That program's version."""
    created: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    """When, in ISO 8601."""


@dataclass(frozen=True)
class Table:
    """Finished trainings of A architectures under a number of settings.

    Raises
    ------
    InvalidTableError
        If the parts do not fit together; the message says which.
    """

    space: str
    """Name of the search space."""
    dataset: str
    """The data set that is meant when none is named."""
    architectures: tuple[Architecture, ...]
    """The A architectures, in the order of every array's last axis."""
    settings: tuple[Setting, ...]
    """The settings, in order."""
    curves: Mapping[tuple[str, Split], Curves]
    """Results by setting label and split."""
    references: tuple[str, ...]
    """Labels of the settings that are full training, at most one per data set."""
    provenance: Provenance
    """Source, licence and citation."""
    caveats: tuple[str, ...] = ()
    """What a user of the figures must know, a sentence each."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "curves", MappingProxyType(dict(self.curves)))
        labels = [s.label for s in self.settings]
        if not self.architectures or not labels:
            raise InvalidTableError("a table needs at least one architecture and one setting")
        if len(set(labels)) < len(labels):
            twice = sorted({name for name in labels if labels.count(name) > 1})
            raise InvalidTableError(f"labels of settings must differ, found twice: {twice}")
        for architecture in self.architectures:
            if architecture.space != self.space:
                raise InvalidTableError(
                    f"a table of space {self.space!r} cannot hold an architecture of "
                    f"{architecture.space!r}"
                )
        for (label, split), curves in self.curves.items():
            if label not in labels:
                raise InvalidTableError(f"curves of setting {label!r}, which the table lacks")
            if curves.counts.shape[2] != len(self.architectures):
                raise InvalidTableError(
                    f"the {split} curves of {label!r} have {curves.counts.shape[2]} architectures, "
                    f"the table has {len(self.architectures)}"
                )
        for label in self.references:
            if label not in labels:
                raise InvalidTableError(f"reference {label!r} is not a setting of the table")
        datasets = [self.setting(label).dataset for label in self.references]
        if len(set(datasets)) < len(datasets):
            raise InvalidTableError("a data set can have one reference only")
        if self.dataset not in {s.dataset for s in self.settings}:
            raise InvalidTableError(f"no setting of the table is on its data set {self.dataset!r}")

    def setting(self, name: str) -> Setting:
        """Return a setting by its label, or by the name of a published budget (``BPE-1``).

        Raises
        ------
        UnknownNameError
            If the table has no such setting.
        """
        published = self.published_names()
        for setting in self.settings:
            if name in (setting.label, published.get(setting.label)):
                return setting
        known = [*(s.label for s in self.settings), *published.values()]
        raise unknown_name("budget", name, known)

    def published_names(self) -> Mapping[str, str]:
        """Return the names of published budgets (BPE-1) by the label of the setting they name."""
        return {
            s.label: name
            for s in self.settings
            for name, budget in NAMED_BUDGETS.items()
            if s.budget == budget and s.dataset == self.dataset
        }

    def reference(self, dataset: str | None = None) -> Setting:
        """Return full training on a data set.

        Raises
        ------
        MissingReferenceError
            If the table names none.
        """
        wanted = dataset or self.dataset
        for label in self.references:
            if self.setting(label).dataset == wanted:
                return self.setting(label)
        exist = ", ".join(self.references) or "none"
        raise MissingReferenceError(
            f"the table has no reference (full training) for data set {wanted!r}; references: "
            f"{exist}; without one there is nothing to correlate with, so build the table with a "
            "setting named as its reference"
        )

    def splits(self, label: str) -> tuple[Split, ...]:
        """Return the splits on which a setting was measured."""
        return tuple(split for split in Split if (label, split) in self.curves)

    def curves_of(self, label: str, split: Split) -> Curves:
        """Return the curves of a setting on a split.

        Raises
        ------
        UnknownNameError
            If it was not measured there.
        """
        if (label, split) not in self.curves:
            raise unknown_name(f"split of setting {label!r}", str(split), self.splits(label))
        return self.curves[label, split]

    def ranking_split(self, *labels: str) -> Split:
        """Return the split to rank by: validation if all settings have it, else test.

        Raises
        ------
        SelectionError
            If the settings share neither.
        """
        for split in (Split.VALIDATION, Split.TEST):
            if all((label, split) in self.curves for label in labels):
                return split
        raise SelectionError(
            f"settings {', '.join(labels)} share no validation or test accuracies to rank by"
        )

    def accuracy(
        self,
        label: str,
        split: Split,
        *,
        epoch: int | None = None,
        seed: int | Literal["mean"] = "mean",
    ) -> FloatArray:
        """Return the accuracy of every architecture.

        Parameters
        ----------
        label, split
            Which curves.
        epoch
            A recorded epoch, or None for the last.
        seed
            A recorded seed, or ``"mean"`` over those that each architecture has.

        Returns
        -------
        array of shape (A,)
            Fractions in [0, 1], NaN where missing.
        """
        curves = self.curves_of(label, split)
        values = curves.accuracy(epoch=epoch)
        if seed == "mean":
            present = ~np.isnan(values)
            total = np.where(present, values, 0.0).sum(axis=0)
            count = present.sum(axis=0)
            return np.where(count > 0, total / np.maximum(count, 1), np.nan)
        found = np.flatnonzero(curves.seeds == seed)
        if found.size == 0:
            raise unknown_name("seed", str(seed), map(str, curves.seeds))
        chosen: FloatArray = values[found[0]]
        return chosen

    def steering_accuracy(self, label: str, split: Split, **options: Any) -> FloatArray:
        """Return accuracies that a search may look at; otherwise as `accuracy`.

        Raises
        ------
        LeakError
            If asked for test accuracy.
        """
        if not split.may_steer:
            raise LeakError(
                f"a search may not look at {split} accuracy of {label!r}; use one of: "
                f"{', '.join(s for s in self.splits(label) if s.may_steer) or 'none recorded'}"
            )
        return self.accuracy(label, split, **options)

    def index(self, architecture: Architecture) -> int:
        """Return the place of an architecture, however its text orders what has no order.

        Raises
        ------
        SelectionError
            If the table does not hold it.
        """
        space = get_space(self.space)
        wanted = space.canonical(architecture)
        for place, other in enumerate(self.architectures):
            if other.genes == architecture.genes or space.canonical(other) == wanted:
                return place
        raise SelectionError(
            f"the table does not hold the architecture {space.format(architecture)}; it holds "
            f"{len(self.architectures)} architectures of {self.space}"
        )

    def results_of(self, architecture: Architecture) -> list[dict[str, Any]]:
        """Return what the table says of one architecture, a row per setting and split.

        Each row has ``setting``, ``split``, ``accuracy`` (mean over seeds, a fraction;
        None if missing) and ``rank`` (1 plus the number of better ones).

        Raises
        ------
        SelectionError
            If the table does not hold the architecture.
        """
        place = self.index(architecture)
        rows: list[dict[str, Any]] = []
        for setting in self.settings:
            for split in self.splits(setting.label):
                values = self.accuracy(setting.label, split)
                found = not math.isnan(values[place])
                rows.append(
                    {
                        "setting": setting.label,
                        "split": str(split),
                        "accuracy": float(values[place]) if found else None,
                        "rank": 1 + int(np.sum(values > values[place])) if found else None,
                    }
                )
        return rows

    def describe(self) -> dict[str, Any]:
        """Return what the table holds and where it comes from, as JSON values."""
        settings = [
            {
                "label": s.label,
                "dataset": s.dataset,
                **s.budget.to_dict(),
                "seconds": None if math.isnan(s.seconds) else s.seconds,
                "device": s.device,
            }
            for s in self.settings
        ]
        return {
            "space": self.space,
            "dataset": self.dataset,
            "architectures": len(self.architectures),
            "references": list(self.references),
            "splits": sorted({str(split) for _, split in self.curves}),
            **vars(self.provenance),
            "caveats": list(self.caveats),
            "settings": settings,
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one line per training and recorded epoch, without what is missing."""
        import pandas as pd

        space = get_space(self.space)
        texts = np.array([space.format(a) for a in self.architectures], dtype=object)
        parts = []
        for setting in self.settings:
            for split in self.splits(setting.label):
                curves = self.curves[setting.label, split]
                r, e, a = np.nonzero(curves.counts != MISSING)
                correct = curves.counts[r, e, a]
                parts.append(
                    pd.DataFrame(
                        {
                            "setting": setting.label,
                            "dataset": setting.dataset,
                            "split": str(split),
                            "seed": curves.seeds[r],
                            "epoch": curves.epochs[e],
                            "architecture": texts[a],
                            "correct": correct,
                            "split_size": curves.split_size,
                            "accuracy": correct / curves.split_size,
                        }
                    )
                )
        return pd.concat(parts, ignore_index=True)

    def seconds(self) -> Mapping[str, float]:
        """Return mean device seconds per network by setting label."""
        return {s.label: s.seconds for s in self.settings}

    def devices(self, labels: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the devices on which the costs of some settings (all by default) were measured."""
        chosen = self.settings if labels is None else [self.setting(label) for label in labels]
        return tuple(sorted({s.device for s in chosen if s.device}))
