"""Importer of journals: the trainings of `bpe-bench train` as a table.

A setting is a budget on a data set with the protocol, recipe and version of the training code.
A training that diverged is missing from that epoch on; failed and unfinished trainings are
missing completely.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..budget import DARTS_FULL, NAMED_BUDGETS, Budget
from ..errors import JournalError, SourceFileError
from ..hyper_parameters import HYPER_PARAMETERS
from ..spaces import Architecture, get_space
from ..tables.curves import MISSING, Curves, FloatArray, Split
from ..tables.importers import Progress
from ..tables.table import Provenance, Setting, Table, plain_name
from ..training.trial import EpochRecord, Protocol, Recipe, State
from .journal import Journal, JournalEntry


@dataclass(frozen=True)
class _Key:
    """How a network was trained: trainings with the same are of one setting."""

    budget: Budget
    dataset: str
    protocol: Protocol
    recipe: Recipe
    code_version: str
    trainer: str

    @classmethod
    def of(cls, entry: JournalEntry) -> _Key:
        return cls(**{f.name: getattr(entry.trial, f.name) for f in dataclasses.fields(cls)})


def read(source: str | Path, progress: Progress, only: Collection[str] | None = None) -> Table:
    """Read the finished trainings of a journal.

    Parameters
    ----------
    source
        The store of ``bpe-bench train``; it may be in use.
    progress
        Called with the share of the work that is done.
    only
        Identities of the trials to read; all by default.

    Raises
    ------
    SourceFileError
        If it is not a journal, has no finished trainings, or has trainings of several spaces.
    """
    source = Path(source)
    try:
        with Journal(source, read_only=True) as journal:
            counts = journal.counts()
            entries = list(_shown(journal, counts["done"] + counts["diverged"], progress, only))
    except JournalError as error:
        raise SourceFileError(str(error)) from error
    if not any(entry.state == "done" for entry in entries):
        found = ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "no trials"
        raise SourceFileError(
            f"the journal {source} has no finished trainings: {found}; "
            f"`bpe-bench train --store {shlex.quote(str(source))}` continues with the planned ones"
        )
    spaces = sorted({entry.trial.architecture.space for entry in entries})
    if len(spaces) > 1:
        raise SourceFileError(
            f"the journal {source} has trainings of several spaces, {' and '.join(spaces)}; a "
            "table holds one, so keep a journal for each"
        )
    keys: dict[_Key, list[JournalEntry]] = {}
    for entry in entries:
        keys.setdefault(_Key.of(entry), []).append(entry)
    table = _table(source, spaces[0], keys, _left_out(counts))
    progress(1.0)
    return table


def _shown(
    journal: Journal, number: int, progress: Progress, only: Collection[str] | None
) -> Iterator[JournalEntry]:
    for place, entry in enumerate(journal.entries(["done", "diverged"])):
        # One that diverged in its first epoch has nothing to show.
        if _records(entry) and (only is None or entry.trial.id in only):
            yield entry
        progress(min(0.9, 0.9 * (place + 1) / max(number, 1)))


def _records(entry: JournalEntry) -> Sequence[EpochRecord]:
    """Return the epochs before a training diverged."""
    return [record for record in entry.records if record.finite]


def _left_out(counts: Mapping[State, int]) -> list[str]:
    waiting = counts["planned"] + counts["running"]
    caveats = []
    if counts["failed"]:
        caveats.append(f"{counts['failed']} trainings of the journal failed and are missing.")
    if waiting:
        caveats.append(f"{waiting} trainings of the journal were not finished and are missing.")
    return caveats


def _table(
    source: Path, space: str, keys: Mapping[_Key, list[JournalEntry]], caveats: list[str]
) -> Table:
    entries = [entry for own in keys.values() for entry in own]
    places: dict[Architecture, int] = {}
    for entry in entries:
        places.setdefault(entry.trial.architecture, len(places))
    full = get_space(space).full_training
    labels = _labels(list(keys), full)
    settings: list[Setting] = []
    references: dict[str, str] = {}
    measures: dict[tuple[str, str], FloatArray] = {}
    curves: dict[tuple[str, Split], Curves] = {}
    for key, label in zip(keys, labels, strict=True):
        own = keys[key]
        seconds, device = _seconds(own, places, label, caveats)
        mean = math.nan if np.isnan(seconds).all() else float(np.nanmean(seconds))
        settings.append(Setting(label, key.budget, key.dataset, mean, device))
        measures[label, "seconds"] = seconds
        curves.update(_curves(source, own, places, label))
        if key.budget == full:
            references.setdefault(key.dataset, label)
        if diverged := sum(entry.state == "diverged" for entry in own):
            caveats.append(
                f"{diverged} trainings under {label} diverged: they have the epochs before, and "
                "are missing at the last."
            )
    caveats += _differences(list(keys), labels)
    return Table(
        space=space,
        dataset=next(iter(references), settings[0].dataset),
        architectures=tuple(places),
        settings=tuple(settings),
        curves=curves,
        references=tuple(references.values()),
        provenance=Provenance(
            source=f"trained with bpe-bench (journal {source.name}); {_versions(entries)}",
            licence="not stated; own trainings",
            citation="none",
            builder="bpe_bench.execution.journal_table",
            builder_version=version("bpe-bench"),
        ),
        caveats=tuple(caveats),
        measures={key: values for key, values in measures.items() if np.isfinite(values).any()},
    )


def _labels(keys: Sequence[_Key], full: Budget | None) -> list[str]:
    """Return a short name per setting: that of a published budget, or made from what differs."""
    published = {budget: name for name, budget in NAMED_BUDGETS.items()}
    published |= {budget: "full" for budget in (DARTS_FULL, full) if budget}
    others = [key.budget for key in keys if key.budget not in published]
    changed = [name for name in HYPER_PARAMETERS if len({getattr(b, name) for b in others}) > 1]
    several = len({key.dataset for key in keys}) > 1
    labels: list[str] = []
    for key in keys:
        if key.budget in published:
            parts = [published[key.budget], *([key.dataset] if several else [])]
        else:
            values = (f"{name}-{getattr(key.budget, name)}" for name in changed)
            parts = [key.dataset, *values]
        parts += ["paper"] if key.protocol == "paper" else []
        labels.append(plain_name("-".join(parts), labels))
    return labels


def _differences(keys: Sequence[_Key], labels: Sequence[str]) -> list[str]:
    """Return caveats: protocol, and recipe and code version if they differ."""
    caveats = []
    if paper := [n for w, n in zip(keys, labels, strict=True) if w.protocol == "paper"]:
        caveats.append(
            f"Trained on all training images, without a validation split: {', '.join(paper)}."
        )
    for name in ("trainer", "code_version", *(f.name for f in dataclasses.fields(Recipe))):
        values = [str(getattr(w, name, getattr(w.recipe, name, ""))) or "bpe-bench" for w in keys]
        if len(set(values)) > 1:
            each = (f"{v} for {n}" for v, n in zip(values, labels, strict=True))
            caveats.append(f"The settings differ in {name}: {', '.join(each)}.")
    return caveats


def _seconds(
    entries: Sequence[JournalEntry],
    places: Mapping[Architecture, int],
    label: str,
    caveats: list[str],
) -> tuple[FloatArray, str]:
    """Return mean seconds by network (A,) and the device, the most used of several."""
    done = [entry for entry in entries if entry.state == "done"]
    devices = Counter(_device(entry) for entry in done)
    device = devices.most_common(1)[0][0] if devices else ""
    total, number = np.zeros(len(places)), np.zeros(len(places))
    for entry in done:
        if _device(entry) == device:
            place = places[entry.trial.architecture]
            total[place] += sum(record.seconds for record in entry.records)
            number[place] += 1
    if len(devices) > 1:
        caveats.append(
            f"{len(done) - devices[device]} of {len(done)} trainings under {label} were made on "
            f"another device than {device or 'an unknown one'}; their seconds are left out."
        )
    with np.errstate(invalid="ignore"):
        seconds = np.where((number > 0) & (total > 0), total / np.maximum(number, 1), math.nan)
    return seconds, device


def _device(entry: JournalEntry) -> str:
    """Return the device of a training; several are joined if it moved."""
    return " and ".join(dict.fromkeys(made.get("device", "") for made in entry.made_on))


def _versions(entries: Sequence[JournalEntry]) -> str:
    """Return the versions that the trainings were made with, all that were recorded."""
    found: dict[str, dict[str, None]] = {}
    for entry in entries:
        for made in entry.made_on:
            for name, value in made.items():
                found.setdefault(name, {})[value] = None
    texts = [f"{name}: {' or '.join(values)}" for name, values in found.items()]
    return "; ".join(texts) or "device and versions not recorded"


def _curves(
    source: Path, entries: Sequence[JournalEntry], places: Mapping[Architecture, int], label: str
) -> dict[tuple[str, Split], Curves]:
    seeds = sorted({entry.trial.seed for entry in entries})
    epochs = sorted({record.epoch for entry in entries for record in _records(entry)})
    seed_places = {seed: place for place, seed in enumerate(seeds)}
    counts: dict[Split, np.ndarray[tuple[int, ...], np.dtype[np.int32]]] = {}
    sizes: dict[Split, int] = {}
    for entry in entries:
        seed, network = seed_places[entry.trial.seed], places[entry.trial.architecture]
        for record in _records(entry):
            for split, result in record.results.items():
                if sizes.setdefault(split, result.size) != result.size:
                    raise SourceFileError(
                        f"{source}: the {split} split of {label!r} has {result.size} images in "
                        f"trial {entry.trial.id[:12]}, {sizes[split]} in others: they were trained "
                        "on different data under one name"
                    )
                if split not in counts:
                    shape = (len(seeds), len(epochs), len(places))
                    counts[split] = np.full(shape, MISSING, dtype=np.int32)
                counts[split][seed, record.epoch - 1, network] = result.correct
    # Epochs are recorded without gaps, from the first on, so an epoch's place is its number.
    return {
        (label, split): Curves(values, sizes[split], np.array(epochs), np.array(seeds))
        for split, values in counts.items()
    }
