"""The meaning of the rows of a long-format file, and which of them are wrong.

Rows are checked chunk by chunk and column by column; Python code handles each different text or
setting once, not each row.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....budget import Budget
from ....errors import (
    BpeBenchError,
    InvalidBudgetError,
    InvalidTableError,
    SourceFileError,
    unknown_name,
)
from ....hyper_parameters import HYPER_PARAMETERS, UNKNOWN, written
from ....spaces import SPACES, Architecture, SearchSpace, get_space
from ...curves import MEAN_OF_SEEDS, Split
from ...table import Setting
from ._faults import _Array, _Faults, _numbers_of, _View
from ._files import _Chunk, _LongFile

if TYPE_CHECKING:
    import pandas as pd

_TOLERANCE = 1e-3
"""How far an accuracy may be from a whole number of images."""
_UNKNOWN_DATASET = "unknown"
TRAINING = ("setting", "architecture", "seed")
_NETWORK = ("architecture", "space")
_SETTING = (*HYPER_PARAMETERS, "dataset", "label", "device", "reference")
_COSTS = ("seconds", "epoch_seconds")
_COLUMNS = (
    *_NETWORK, *HYPER_PARAMETERS, "seed", "epoch", "split", "correct", "accuracy", "split_size",
    *_COSTS, "device", "dataset", "label", "reference",
)  # fmt: skip
_REQUIRED = ("architecture", "epochs", "split", "split_size")
_DEFAULTS: dict[str, Any] = {
    field.name: None if field.default is dataclasses.MISSING else field.default
    for field in dataclasses.fields(Budget)
    if field.name != "epochs"
}
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_MOST_SETTINGS = 10_000


@dataclasses.dataclass
class _Found:
    """A setting, the values that all its rows must share, and the line where it first appears."""

    setting: Setting
    facts: dict[str, Any]
    line: int
    labelled: bool
    """Whether the file gives its label; else one is made."""


class _Rows:
    """The rows of a file: checked chunk by chunk, and kept as a few numbers each."""

    def __init__(self, source: Path, file: _LongFile, space: SearchSpace | None) -> None:
        self.extras = _extra_columns(source, file.columns)
        """Unknown columns in which all cells were numbers so far."""
        self.ignored: list[str] = []
        """Unknown columns with other cells."""
        self.faults = _Faults(source, file.unit)
        self.space, self._said = space, "--space"
        self.settings: list[_Found] = []
        self.architectures: list[Architecture] = []
        self.texts = {*_NETWORK, "split", *_SETTING} & set(file.columns)
        """Columns with few different values."""
        self._by_key: dict[Any, int] = {}
        self._answers: dict[Hashable, int | str] = {}
        self._chunks: list[pd.DataFrame] = []
        self._measured: dict[str, list[pd.DataFrame]] = {}

    def add(self, chunk: _Chunk) -> None:
        """Keep the rows of a chunk that are right."""
        import pandas as pd

        view = _View(chunk, self.faults)
        rows: dict[str, _Array] = {
            "line": chunk.lines.astype(np.int32),
            "architecture": view.places(_NETWORK, self._architecture, self._answers),
            "setting": view.places(_SETTING, self._setting, self._answers),
            "split": view.places(("split",), _split, self._answers),
            "seed": view.whole("seed", MEAN_OF_SEEDS, 0, ", or -1 for a mean over seeds"),
            "split_size": view.whole("split_size", 1),
        }
        schedules = [found.setting.budget.epochs for found in self.settings]
        last = np.array([*schedules, 0], np.int32)[rows["setting"]]
        epoch = view.whole("epoch", 1) if "epoch" in chunk.frame else last
        view.refuse(epoch > last, "epoch {} is past the schedule of {} epochs", epoch, last)
        rows |= {"epoch": epoch, "images": _images(view, rows["split_size"])}
        measured = {name: view.positive(name) for name in _COSTS}
        frame = pd.DataFrame(rows)[view.good]
        ends = np.isnan(measured["seconds"]) & (epoch == last)
        measured["seconds"] = np.where(ends, measured["epoch_seconds"], measured["seconds"])
        for name in list(self.extras):
            measured[name], bad = _numbers_of(chunk.frame[name])
            if bad.any():
                self.extras.remove(name)
                self.ignored.append(name)
        for name, values in measured.items():
            key = [*TRAINING, *(["epoch"] if name == "epoch_seconds" else [])]
            own = frame[["line", *key]].assign(value=values[view.good]).dropna()
            self._measured.setdefault(name, []).append(own.drop_duplicates([*key, "value"]))
        self._chunks.append(frame)

    def all(self) -> pd.DataFrame:
        """Return all right rows, once: the chunks are not kept."""
        import pandas as pd

        chunks, self._chunks = self._chunks, []
        return pd.concat([pd.DataFrame(), *(c for c in chunks if len(c))], ignore_index=True)

    def measured(self, name: str) -> pd.DataFrame:
        """Return the different values of a column: line, training and ``value``."""
        import pandas as pd

        return pd.concat([pd.DataFrame(), *self._measured.get(name, [])], ignore_index=True)

    def _architecture(self, cells: dict[str, str], line: int) -> int:
        if "architecture" not in cells:
            raise InvalidTableError("no value in column 'architecture'")
        if self.space is None:
            self.space, self._said = self._space_of(line, **cells), self.faults.where(line)
        if cells.get("space", self.space.name) != self.space.name:
            raise InvalidTableError(
                f"space is {cells['space']!r}, but {self.space.name!r} in {self._said}; a table "
                "has one"
            )
        architecture = self.space.parse(cells["architecture"])
        # Texts that differ only in an order without meaning are the same network.
        key = self.space.canonical(architecture), self.space.encode([architecture]).tobytes()
        place = self._by_key.setdefault(key, len(self.architectures))
        if place == len(self.architectures):
            self.architectures.append(architecture)
        return place

    def _space_of(self, line: int, architecture: str, space: str | None = None) -> SearchSpace:
        """Return the space that a row names, or the first whose grammar reads its architecture."""
        reasons = []
        for name in list(SPACES) if space is None else [space]:
            try:
                known = get_space(name)
                if space is None:
                    known.parse(architecture)
            except BpeBenchError as error:
                reasons.append(str(error))
            else:
                return known
        hint = "declare a space of your own with --space FILE.toml (docs/importing.md)"
        self.faults.stop(line, f"architecture of no known space: {'; '.join(reasons)}; {hint}")
        raise AssertionError

    def _setting(self, cells: dict[str, str], line: int) -> int:
        budget = Budget(**{name: _value(name, cells.get(name)) for name in HYPER_PARAMETERS})
        dataset, label = cells.get("dataset", _UNKNOWN_DATASET), cells.get("label", "")
        device, reference = cells.get("device", ""), cells.get("reference", "false").lower()
        if reference.removesuffix(".0") not in _TRUTHS:
            raise InvalidTableError(f"reference must be true or false, found {reference!r}")
        truth = _TRUTHS[reference.removesuffix(".0")]
        facts = {**budget.to_dict(), "dataset": dataset, "reference": truth, "device": device}
        setting = Setting(label or "unnamed", budget, dataset, device=device)
        place = self._by_key.setdefault(label or (budget, dataset), len(self.settings))
        if place == _MOST_SETTINGS:
            said = f"the file has more than {_MOST_SETTINGS} different settings; columns "
            said += f"{', '.join(_SETTING)} must not differ from training to training"
            self.faults.stop(line, said)
        if place == len(self.settings):
            self.settings.append(_Found(setting, facts, line, bool(label)))
            return place
        known = self.settings[place]
        known.facts["device"] = known.facts["device"] or device
        known.setting = dataclasses.replace(known.setting, device=known.facts["device"])
        for name, value in facts.items():
            if value != known.facts[name] and (name, value) != ("device", ""):
                raise InvalidTableError(
                    f"{f'label {label!r}' if label else 'the same budget'} has {name} "
                    f"{_shown(value)}, but {_shown(known.facts[name])} in "
                    f"{self.faults.where(known.line)}"
                )
        return place


def _extra_columns(source: Path, columns: tuple[str, ...]) -> list[str]:
    """Return the columns that the long form does not know; refuse likely misspellings."""
    extras = [name for name in columns if name not in _COLUMNS]
    absent = [name for name in _COLUMNS if name not in columns]
    guesses = {name: difflib.get_close_matches(name, absent, n=1) for name in extras}
    slips = [f"{n!r} (did you mean {g[0]!r}?)" for n, g in guesses.items() if g]
    missing = [name for name in _REQUIRED if name not in columns]
    missing += [] if {"correct", "accuracy"} & set(columns) else ["correct or accuracy"]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    said = {
        f"unknown columns {', '.join(slips)}; there are: {', '.join(_COLUMNS)}": slips,
        f"missing columns: {', '.join(missing)}": missing,
        f"columns that are there twice: {', '.join(twice)}": twice,
    }
    if faults := [text for text, found in said.items() if found]:
        raise SourceFileError(f"{source}: line 1: {'; '.join(faults)}")
    return extras


def _split(cells: dict[str, str], line: int) -> int:
    if not cells:
        raise InvalidTableError("no value in column 'split'")
    if cells["split"] not in list(Split):
        raise unknown_name("split", cells["split"], map(str, Split))
    return list(Split).index(Split(cells["split"]))


def _images(view: _View, size: _Array) -> _Array:
    """Return the number of correct images, from their number or share; both must agree."""
    correct = view.numbers("correct", required="accuracy" not in view.frame)
    accuracy = view.numbers("accuracy", required="correct" not in view.frame)
    bad = (correct < 0) | (correct > size)
    view.refuse(bad, "correct is {:.12g} of a split_size of {}", correct, size)
    hint = "; divide per cent by 100"
    hints = np.where((accuracy > 1) & (accuracy <= 100), hint, "")
    bad = (accuracy < 0) | (accuracy > 1)
    view.refuse(bad, "accuracy must be a fraction in [0, 1], found {:g}{}", accuracy, hints)
    images = accuracy * size
    bad = np.abs(images - correct) > np.maximum(_TOLERANCE, 1e-6 * size)
    said = "correct is {:.12g}, but accuracy says {:.12g} of {} images"
    view.refuse(bad, said, correct, images, size)
    images = np.where(np.isnan(correct), images, correct)
    view.refuse(np.isnan(images), "no value in columns 'correct' and 'accuracy'")
    return images


def _value(name: str, cell: str | None) -> Any:
    """Return a cell as the value of a hyper-parameter; `Budget` checks the value."""
    if cell is None and name not in _DEFAULTS:
        raise InvalidBudgetError(f"no value in column {name!r}")
    if cell is None or cell == UNKNOWN:
        return _DEFAULTS[name] if cell is None else None
    if HYPER_PARAMETERS[name].type is str:
        return cell
    try:
        number = float(cell)
    except ValueError:
        raise InvalidBudgetError(f"{name} must be a number, found {cell!r}") from None
    return int(number) if number.is_integer() else number


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else written(value)
