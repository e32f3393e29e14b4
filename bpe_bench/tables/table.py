"""A table of finished trainings: immutable, and independent of files.

A `Table` holds A architectures, a number of `Setting`s (a budget on a data set)
and, per setting and split, `Curves`: how many images each network got right,
for every seed and recorded epoch. Missing stays missing.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..budget import NAMED_BUDGETS, Budget
from ..errors import (
    InvalidTableError,
    LeakError,
    MissingReferenceError,
    SelectionError,
    duration,
    unknown_name,
)
from ..files import Shown, to_json_value
from ..spaces import Architecture, get_space
from ._architectures import _ArchitectureTexts, _Places
from .curves import MEAN_OF_SEEDS, MISSING, Curves, FloatArray, Split, _Seed, ranges
from .results import Result, rows_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MEAN_OF_SEEDS",
    "MISSING",
    "Curves",
    "Provenance",
    "Result",
    "Setting",
    "Split",
    "Table",
]

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MEASURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")


def plain_name(text: str, taken: Collection[str] = ()) -> str:
    """Return text as a label or the name of a measure; with a number if it is ``taken``.

    Examples
    --------
    >>> plain_name("CIFAR 10", taken=["CIFAR-10"])
    'CIFAR-10-2'
    """
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)
    stem = name = allowed.lstrip("._-") or "training"
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


@dataclass(frozen=True, repr=False)
class Setting:
    """One way of training that a table has results for: a budget on a data set."""

    label: str
    """Name within the table: letters, digits, ``.``, ``_`` and ``-``."""
    budget: Budget
    """How the networks were trained."""
    dataset: str
    """The data set that they were trained on."""
    seconds: float = math.nan
    """Mean device seconds per network for the whole budget; NaN if unknown."""
    device: str = ""
    """Device on which the seconds were measured; empty if unknown."""

    def __repr__(self) -> str:
        cost = " on ".join(filter(None, (duration(self.seconds), self.device)))
        return f"<Setting {self.label} on {self.dataset}: {self.budget}; {cost}>"

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


def settings_frame(settings: Sequence[Setting]) -> pd.DataFrame:
    """Return a line per setting, the hyper-parameters in columns of their own."""
    import pandas as pd

    rows = [
        {
            "label": s.label,
            "dataset": s.dataset,
            **s.budget.to_dict(),
            "seconds": s.seconds,
            "device": s.device,
        }
        for s in settings
    ]
    return pd.DataFrame(rows).set_index("label")


@dataclass(frozen=True)
class Provenance:
    """Where a table's figures come from."""

    source: str
    """The publication and files."""
    licence: str
    """The terms under which the figures were published."""
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


@dataclass(frozen=True, repr=False)
class Table(Shown):
    """Finished trainings of A architectures under a number of settings.

    Raises
    ------
    InvalidTableError
        If the parts do not fit together; the message says which.
    """

    space: str
    """Name of the search space."""
    dataset: str
    """The default data set."""
    architectures: Sequence[Architecture]
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
    """What a user of the figures has to know, one sentence each."""
    measures: Mapping[tuple[str, str], FloatArray] = field(default_factory=dict)
    """By setting label and name: shape (A,), means over seeds, NaN where unknown.

    ``seconds`` are device seconds of the whole budget, ``seconds@E`` those up to epoch E,
    ``parameters`` and ``flops`` millions, ``latency`` seconds of inference per batch; other
    names are the user's own."""

    def _line(self) -> str:
        full = " and ".join(self.references)
        splits = dict.fromkeys(str(s) for s in Split for _, own in self.curves if own == s)
        return (
            f"{len(self.architectures):,} architectures of {self.space} under "
            f"{len(self.settings)} settings, data set {self.dataset}, {' and '.join(splits)} "
            f"accuracies; full training: {full or 'not named'}"
        )

    def _frame(self) -> pd.DataFrame:
        return settings_frame(self.settings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "curves", MappingProxyType(dict(self.curves)))
        labels = [s.label for s in self.settings]
        if not len(self.architectures) or not labels:
            raise InvalidTableError("a table needs at least one architecture and one setting")
        if len(set(labels)) < len(labels):
            twice = sorted({name for name in labels if labels.count(name) > 1})
            raise InvalidTableError(f"labels of settings must differ, found twice: {twice}")
        self._check_architectures()
        self._check_measures(labels)
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

    def _check_architectures(self) -> None:
        if isinstance(self.architectures, _ArchitectureTexts):
            spaces = {self.architectures.space}
        else:
            object.__setattr__(self, "architectures", tuple(self.architectures))
            spaces = {architecture.space for architecture in self.architectures}
        if spaces != {self.space}:
            other = sorted(spaces - {self.space})[0]
            raise InvalidTableError(
                f"a table of space {self.space!r} cannot hold an architecture of {other!r}"
            )

    def _check_measures(self, labels: list[str]) -> None:
        frozen = {}
        for (label, name), values in self.measures.items():
            if label not in labels:
                raise InvalidTableError(f"{name} of setting {label!r}, which the table lacks")
            if not _MEASURE.fullmatch(name):
                raise InvalidTableError(
                    "a measure's name must be letters, digits, '.', '_', '-' or '@', found "
                    f"{name!r}"
                )
            array = np.array(values, dtype=np.float64)
            if array.shape != (len(self.architectures),):
                raise InvalidTableError(
                    f"{name} of {label!r} must have the shape ({len(self.architectures)},), "
                    f"found {array.shape}"
                )
            array.setflags(write=False)
            frozen[label, name] = array
        object.__setattr__(self, "measures", MappingProxyType(frozen))

    def setting(self, name: str) -> Setting:
        """Return a setting by its label, or by the name of a published budget (``BPE-1``).

        Raises
        ------
        UnknownNameError
            If the table has no such setting.
        """
        if name not in self._settings:
            raise unknown_name("budget", name, self._settings)
        return self._settings[name]

    def setting_at(self, name: str) -> tuple[Setting, int | None]:
        """Return the setting and the recorded epoch of ``LABEL`` or ``LABEL@EPOCH``.

        The epoch is None, for the last one, if the name has none.

        Raises
        ------
        UnknownNameError
            If the table has no such setting, or the setting no such epoch.
        """
        label, sign, epoch = name.partition("@")
        setting = self.setting(label if sign else name)
        if not sign:
            return setting, None
        curves = [self.curves[setting.label, split] for split in self.splits(setting.label)]
        recorded = sorted({int(e) for found in curves for e in found.epochs})
        if epoch not in map(str, recorded):
            raise unknown_name("epoch", epoch, ranges(recorded), of=f"setting {label!r}")
        return setting, int(epoch)

    @cached_property
    def _settings(self) -> dict[str, Setting]:
        """Settings by label, and by published name unless a label is the same."""
        named = {name: label for label, name in self._names.items()}
        by_label = {s.label: s for s in self.settings}
        return by_label | {n: by_label[label] for n, label in named.items() if n not in by_label}

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
            If the table names no full training.
        """
        wanted = dataset or self.dataset
        known = sorted({s.dataset for s in self.settings})
        if wanted not in known:
            raise unknown_name("data set", wanted, known)
        for label in self.references:
            if self.setting(label).dataset == wanted:
                return self.setting(label)
        exist = ", ".join(self.references) or "none"
        raise MissingReferenceError(
            f"the table has no reference (full training) for data set {wanted!r}; references: "
            f"{exist}; without one there is nothing to correlate with, so build the table with a "
            "setting named as its reference"
        )

    def with_reference(self, name: str) -> Table:
        """Return the table with a setting named as full training of its data set.

        Raises
        ------
        UnknownNameError
            If the table has no such setting.
        """
        setting = self.setting(name)
        others = [r for r in self.references if self.setting(r).dataset != setting.dataset]
        return dataclasses.replace(
            self, dataset=setting.dataset, references=(setting.label, *others)
        )

    def splits(self, label: str) -> tuple[Split, ...]:
        """Return the splits on which a setting was measured."""
        return tuple(split for split in Split if (label, split) in self.curves)

    def curves_of(self, label: str, split: Split | str) -> Curves:
        """Return the curves of a setting on a split.

        Raises
        ------
        UnknownNameError
            If it was not measured on that split.
        """
        if (label, split) not in self.curves:
            known = map(str, self.splits(label))
            raise unknown_name("split", str(split), known, of=f"setting {label!r}")
        return self.curves[label, Split(split)]

    def ranking_split(self, *labels: str) -> Split:
        """Return the split to rank by: validation if all settings have it, else test.

        Raises
        ------
        SelectionError
            If neither split is shared by all settings.
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
        split: Split | str,
        *,
        epoch: int | None = None,
        seed: _Seed = "mean",
    ) -> FloatArray:
        """Return the accuracy of every architecture.

        Parameters
        ----------
        label, split
            Setting and split of the curves.
        epoch
            A recorded epoch, or None for the last.
        seed
            A recorded seed, or ``"mean"`` over the seeds of each architecture.

        Returns
        -------
        array of shape (A,)
            Fractions in [0, 1], NaN where missing.
        """
        return self.curves_of(label, split).seed_accuracy(seed, epoch=epoch)

    def query(
        self,
        architecture: Architecture | str | int,
        budget: str | None = None,
        *,
        split: Split | str | None = None,
        seed: _Seed = "mean",
        epoch: int | None = None,
    ) -> Result:
        """Return accuracy and cost of one architecture.

        Parameters
        ----------
        architecture
            An architecture of the table: the object, its text, or its place in `architectures`.
        budget
            A setting's label, also as ``LABEL@EPOCH``, or the name of a published budget. By
            default full training, the `reference`.
        split
            Split that accuracy was measured on; by default validation if recorded, else test.
        seed
            A recorded seed, or ``"mean"`` over the seeds of this architecture.
        epoch
            A recorded epoch, or None for the last.

        Returns
        -------
        Result
            It says, too, what was chosen by default. A missing training has accuracy NaN.

        Raises
        ------
        UnknownNameError
            For a budget, split, seed or epoch that the table does not have.
        SelectionError
            For an architecture that the table does not hold, or two different epochs.
        MissingReferenceError
            If no budget is given and the table names no full training.
        GenotypeError
            For a malformed text.

        Examples
        --------
        >>> from bpe_bench import open_table
        >>> open_table("darts-bpe").query(11, "BPE-1").answer
        'test accuracy 65.16 % after epoch 10 of test5 (BPE-1), one seed; 5.11 min on V100'
        """
        setting, named = (self._full, None) if budget is None else self.setting_at(budget)
        if named is not None:
            if epoch not in (None, named):
                raise SelectionError(
                    f"{budget} names an epoch, found epoch={epoch}, too; leave it out"
                )
            epoch = named
        label = setting.label
        measured = self.usual_split(label) if split is None else Split.of(split)
        curves, place = self.curves_of(label, measured), self.index(architecture)
        at = curves.epoch_place(epoch)
        accuracy, trainings = curves.value_of(place, seed, at)
        return Result(
            accuracy,
            float(self._costs_to(label, epoch)[place]),
            label,
            measured,
            int(curves.epochs[at]),
            seed,
            trainings,
            setting.device,
            self._names.get(label, ""),
        )

    @cached_property
    def _full(self) -> Setting:
        return self.reference()

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return self.published_names()

    def usual_split(self, label: str) -> Split:
        """Return the split of a setting that queries take: validation if recorded, else test."""
        order = (Split.VALIDATION, Split.TEST, Split.HELDOUT, Split.TRAIN)
        known = (split for split in order if (label, split) in self.curves)
        return next(known, Split.VALIDATION)

    def seconds_of(self, label: str, epoch: int | None = None) -> FloatArray:
        """Return device seconds of training each architecture up to an epoch, by default the last.

        Returns
        -------
        array of shape (A,)
            Where an architecture's own are not known, the mean over architectures; NaN if that is
            not known.
        """
        setting = self.setting(label)
        own = self.measures.get(
            (setting.label, "seconds"), np.full(len(self.architectures), np.nan)
        )
        seconds = np.where(np.isnan(own), setting.seconds, own)
        if epoch is None:
            return seconds
        measured = self.measures.get((setting.label, f"seconds@{epoch}"), np.nan)
        shares = seconds * self.cost_share(setting.label, epoch)
        return np.where(np.isnan(measured), shares, measured)

    def _costs_to(self, label: str, epoch: int | None) -> FloatArray:
        if (label, epoch) not in self._known_costs:
            self._known_costs[label, epoch] = self.seconds_of(label, epoch)
        return self._known_costs[label, epoch]

    @cached_property
    def _known_costs(self) -> dict[tuple[str, int | None], FloatArray]:
        """What `seconds_of` has returned, so that many queries add it up once."""
        return {}

    def measure(self, label: str, name: str) -> FloatArray:
        """Return a measure of a setting's networks other than accuracy, shape (A,).

        Raises
        ------
        UnknownNameError
            If the table does not have it for this setting.
        """
        label = self.setting(label).label
        if (label, name) not in self.measures:
            known = [n for other, n in self.measures if other == label]
            raise unknown_name("measure", name, known, of=f"setting {label!r}")
        return self.measures[label, name]

    def cost_share(self, label: str, epoch: int) -> float:
        """Return the share of a setting's seconds that training up to an epoch takes.

        As measured, where the table has ``seconds@EPOCH``; else the share of the epochs.
        """
        setting = self.setting(label)
        part = self.measures.get((setting.label, f"seconds@{epoch}"))
        whole = self.measures.get((setting.label, "seconds"))
        if part is not None and whole is not None:
            both = np.isfinite(part) & np.isfinite(whole)
            if both.any():
                return float(part[both].sum() / whole[both].sum())
        return epoch / setting.budget.epochs

    def steering_accuracy(self, label: str, split: Split | str, **options: Any) -> FloatArray:
        """Return accuracies that a search may look at; otherwise as `accuracy`.

        Raises
        ------
        LeakError
            If asked for test accuracy.
        """
        split = Split.of(split)
        if not split.may_steer:
            allowed = ", ".join(s for s in self.splits(label) if s.may_steer)
            raise LeakError(
                f"a search may not look at {split} accuracy of {label!r}"
                + (
                    f"; use one of: {allowed}"
                    if allowed
                    else ", and the table has no validation accuracy of it; take another budget or "
                    "table, or ask for it: --split test"
                )
            )
        return self.accuracy(label, split, **options)

    def index(self, architecture: Architecture | str | int) -> int:
        """Return the place of an architecture, whatever the order of inputs in its text.

        Raises
        ------
        SelectionError
            If the table does not hold it.
        GenotypeError
            If it is a malformed text.
        """
        return self._places.find(architecture)

    @cached_property
    def _places(self) -> _Places:
        return _Places(self.space, self.architectures)

    def results_of(
        self,
        architecture: Architecture | str | int,
        budget: str | None = None,
        *,
        split: Split | str | None = None,
        seed: _Seed = "mean",
    ) -> list[dict[str, Any]]:
        """Return the results of one architecture, a row per setting and split.

        Parameters
        ----------
        architecture, budget, split, seed
            As for `query`; by default all settings, all splits, and the mean over seeds. A
            setting without that split or seed has no row.

        Returns
        -------
        list of dict
            The fields of `Result` as JSON values, None where unknown, and ``rank``: 1 plus the
            number of better architectures, of ``ranked`` ones that have an accuracy.

        Raises
        ------
        UnknownNameError
            For a budget or split that the table does not have.
        SelectionError
            For an architecture that the table does not hold, or if nothing is left.
        """
        return rows_of(self, self.index(architecture), budget, split, seed)

    def describe(self) -> dict[str, Any]:
        """Return what the table holds and where it comes from, as JSON values."""
        settings = [
            {
                "label": s.label,
                "dataset": s.dataset,
                **s.budget.to_dict(),
                "seconds": to_json_value(s.seconds),
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
        """Return one line per training and recorded epoch; missing results have no line."""
        import pandas as pd

        space = get_space(self.space)
        texts = np.array([space.format(a) for a in self.architectures], dtype=object)
        parts = []
        for setting in self.settings:
            for split in self.splits(setting.label):
                curves = self.curves[setting.label, split]
                counts = curves.all_counts()
                r, e, a = np.nonzero(counts != MISSING)
                found = counts[r, e, a]
                correct = found if curves.scale == 1 else found / curves.scale
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
