"""What of a table is ranked, and against what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import SelectionError, unknown_name
from ..hyper_parameters import Value, check_hyper_parameter
from ..inference import FloatArray
from ..tables.curves import ranges
from ..tables.table import Setting, Split, Table
from .candidates import Candidate, Cost


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which settings of a table to rank by, after which epochs, and against what.

    Everything that is given must hold.
    """

    dataset: str | None = None
    """Data set of the settings; the table's own by default."""
    reference_dataset: str | None = None
    """Data set of the full training, if not the same."""
    split: Split | str | None = None
    """Where the settings' accuracy is taken; validation if they have it, else test."""
    reference_split: Split | str | None = None
    """Where the accuracy of full training is taken; by default where the settings' is."""
    epochs: Sequence[int] | Literal["all", "last"] = "all"
    """Recorded epochs after which a setting is a candidate."""
    labels: Sequence[str] | None = None
    """Settings to keep, each as ``LABEL`` or ``LABEL@EPOCH``; all by default."""
    where: Mapping[str, Value] | None = None
    """Keep the settings with these values of hyper-parameters."""
    device: str | None = None
    """Keep the settings whose cost was measured on this device."""
    device_factors: Mapping[str, float] | None = None
    """Multiplies the seconds of each device, to compare costs across devices."""


@dataclass(frozen=True)
class _Selected:
    """What a selection comes to in a table."""

    dataset: str
    candidates: tuple[Candidate, ...]
    """In the table's order."""
    reference: Setting
    """Full training."""
    reference_split: Split
    truth: FloatArray
    """Accuracy of full training, shape (A,); NaN where missing."""
    notes: tuple[str, ...]
    """What a user must know, a sentence each."""


def accuracy_of(table: Table, candidate: Candidate) -> FloatArray:
    """Return a candidate's accuracy in the table that it is of, shape (A,); NaN where missing."""
    split = candidate.split or _own_split(table, candidate.setting)
    return table.accuracy(candidate.setting, split, epoch=candidate.epoch)


def _own_split(table: Table, label: str) -> Split:
    """Return the split that a setting is ranked by: validation if it has it, else test."""
    return Split.VALIDATION if Split.VALIDATION in table.splits(label) else Split.TEST


def _select(table: Table, wanted: Selection) -> _Selected:
    """Return the candidates that a selection means.

    Raises
    ------
    UnknownNameError
        For a data set, label, epoch, hyper-parameter, device or split that does not exist.
    MissingReferenceError
        If the table does not name its full training.
    SelectionError
        If nothing is left.
    """
    notes: list[str] = []
    dataset = wanted.dataset or table.dataset
    reference = _reference(table, dataset, wanted.reference_dataset, notes)
    asked = wanted.reference_split or wanted.split
    reference_split = Split.of(asked) if asked else table.ranking_split(reference.label)
    curves = table.curves_of(reference.label, reference_split)  # refuses what does not exist
    settings = _settings(table, dataset, wanted)
    costs = _costs(settings, wanted.device_factors, notes)
    chosen = _epochs(table, settings, reference, reference_split, wanted, notes)
    candidates = []
    for setting, split, epoch in chosen:
        whole = setting.budget.epochs
        share = table.cost_share(setting.label, epoch)
        cost = Cost(costs[setting.label] * share, device=setting.device)
        label = setting.label if epoch == whole else f"{setting.label}@{epoch}"
        candidates.append(
            Candidate(
                label=label,
                budget=setting.budget,
                cost=cost,
                setting=setting.label,
                epoch=epoch,
                split=split,
            )
        )
    return _Selected(
        dataset, tuple(candidates), reference, reference_split,
        curves.seed_accuracy("mean"), tuple(notes),
    )  # fmt: skip


def _reference(table: Table, dataset: str, wanted: str | None, notes: list[str]) -> Setting:
    """Return full training: of the data set wanted, else of the candidates' own.

    If the table has a single reference, of another data set, that one is taken.
    """
    if wanted is None and len(table.references) == 1:
        (label,) = table.references
        reference = table.setting(label)
        if reference.dataset != dataset and any(s.dataset == dataset for s in table.settings):
            notes.append(
                f"the reference {label!r} is of data set {reference.dataset}, and ranked by its "
                "own split; the budgets are ranked by theirs"
            )
            return reference
    return table.reference(wanted or dataset)


def _settings(table: Table, dataset: str, wanted: Selection) -> list[Setting]:
    known = sorted({s.dataset for s in table.settings})
    if dataset not in known:
        raise unknown_name("data set", dataset, known)
    settings = [s for s in table.settings if s.dataset == dataset]
    for name, value in (wanted.where or {}).items():
        check_hyper_parameter(name)
        settings = [s for s in settings if getattr(s.budget, name) == value]
    if wanted.labels is not None:
        kept = {table.setting_at(label)[0].label for label in wanted.labels}
        settings = [s for s in settings if s.label in kept]
    if wanted.device is not None:
        if wanted.device not in table.devices():
            raise unknown_name("device", wanted.device, table.devices())
        settings = [s for s in settings if s.device == wanted.device]
    return settings


def _epochs(
    table: Table,
    settings: Sequence[Setting],
    reference: Setting,
    reference_split: Split,
    wanted: Selection,
    notes: list[str],
) -> list[tuple[Setting, Split, int]]:
    """Return the settings with split and epoch, in the table's order.

    The end of full training is left out where it would be ranked against itself;
    its earlier epochs are candidates like others.
    """
    named = [table.setting_at(label) for label in wanted.labels or ()]
    whole = {setting.label for setting, epoch in named if epoch is None}
    found: list[tuple[Setting, Split, int]] = []
    recorded: set[int] = set()
    for setting in settings:
        split = _split(table, setting, reference, reference_split, wanted)
        if (setting.label, split) not in table.curves:
            if setting.label not in table.references:
                notes.append(f"{setting.label} has no {split} accuracies and is left out")
            continue
        epochs: list[int] = table.curves_of(setting.label, split).epochs.tolist()
        recorded.update(epochs)
        chosen = {epoch for other, epoch in named if other is setting}
        if not named or setting.label in whole:
            chosen.update(_chosen(epochs, wanted.epochs))
        found += [(setting, split, epoch) for epoch in epochs if epoch in chosen]
    if not isinstance(wanted.epochs, str):
        for epoch in wanted.epochs:
            if epoch not in recorded:
                raise unknown_name("epoch", str(epoch), ranges(sorted(recorded)))
    end = (reference, reference_split, _last(table, reference, reference_split))
    left = [candidate for candidate in found if candidate != end]
    if any(setting is reference for setting, _, _ in left):
        notes.append(
            f"earlier epochs of {reference.label} are of the same trainings as the reference and "
            "share their luck, so their correlation can exceed the noise ceiling"
        )
    if not left:
        said = _nothing_left(table, reference, reference_split, notes, bool(found))
        raise SelectionError(said + _asked(wanted))
    return left


def _split(
    table: Table, setting: Setting, reference: Setting, reference_split: Split, wanted: Selection
) -> Split:
    """Return where a setting's accuracy is taken."""
    if wanted.split is not None:
        return Split.of(wanted.split)
    # Another data set's reference need not have the split that these are ranked by.
    same = wanted.reference_split is None and setting.dataset == reference.dataset
    return reference_split if same else _own_split(table, setting.label)


def _chosen(epochs: list[int], wanted: Sequence[int] | Literal["all", "last"]) -> Sequence[int]:
    return epochs if wanted == "all" else epochs[-1:] if wanted == "last" else [*wanted]


def _last(table: Table, setting: Setting, split: Split) -> int:
    return int(table.curves_of(setting.label, split).epochs[-1])


def _asked(wanted: Selection) -> str:
    """Return the hyper-parameters that were asked for."""
    values = [f"{name}={value}" for name, value in (wanted.where or {}).items()]
    return f"; the selection asks for {','.join(values)}" if values else ""


def _nothing_left(
    table: Table, reference: Setting, split: Split, notes: Sequence[str], only_itself: bool
) -> str:
    """Return why there is nothing to rank, and what to do."""
    if not only_itself:
        left_out = f" ({'; '.join(notes)})" if notes else ""
        return (
            f"no budget is left to correlate with the reference {reference.label!r}; the table has "
            f"{len(table.settings)} settings{left_out}, so widen the selection"
        )
    why = (
        f"no budget is left to correlate with the reference {reference.label!r}: its {split} "
        f"accuracies at epoch {_last(table, reference, split)} are the only ones selected, and are "
        "the reference itself"
    )
    epochs = table.curves_of(reference.label, split).epochs
    others = [str(s) for s in table.splits(reference.label) if s is not split]
    if len(epochs) == 1 and others:
        return (
            f"{why}; {split} was measured at no other epoch, so rank another split against it: "
            f"--split {others[0]} --reference-split {split}"
        )
    return f"{why}; widen the selection"


def _costs(
    settings: Sequence[Setting], factors: Mapping[str, float] | None, notes: list[str]
) -> dict[str, float]:
    if not factors:
        return {s.label: s.seconds for s in settings}
    devices = sorted({s.device for s in settings if s.device})
    for name, factor in factors.items():
        if name not in devices:
            raise unknown_name("device", name, devices)
        if not 0 < factor < math.inf:
            raise SelectionError(f"the factor of device {name!r} must be above 0, found {factor}")
    said = ", ".join(f"{name} x {factors.get(name, 1.0):g}" for name in devices)
    notes.append(f"costs are normalised across devices by the factors given: {said}")
    return {s.label: s.seconds * factors.get(s.device, 1.0) for s in settings}
