"""The settings of a long-format file: which budgets its rows were trained under."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...budget import Budget
from ...errors import BpeBenchError, InvalidBudgetError, SourceFileError
from ...hyper_parameters import HYPER_PARAMETERS
from ..table import Setting
from ._long_files import IntArray
from ._long_view import Faults, View, combine

DEFAULTS: Mapping[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(Budget)
    if field.default is not dataclasses.MISSING
}
"""Hyper-parameters that a file may leave out."""
SETTING_COLUMNS = (*HYPER_PARAMETERS, "dataset", "label", "device", "reference")
UNKNOWN_DATASET = "unknown"


_MOST_SETTINGS = 10_000
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Settings:
    """The different settings, in the order of their appearance."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.found: list[Setting] = []
        """Labels of settings without one are made by `named`."""
        self.references: list[bool] = []
        self.lines: list[int] = []
        """Where each setting appears first."""
        self._labelled: list[bool] = []
        self._by_cells: dict[tuple[Any, ...], int | str] = {}
        self._by_key: dict[Any, int] = {}

    def places(self, view: View) -> IntArray:
        """Return each row's place among the settings."""
        columns = {name: view.categories(name) for name in SETTING_COLUMNS if name in view}
        codes, first = combine(*(column for column, _ in columns.values()))
        answers: list[int | str] = []
        for row in first:
            cells = {n: None if c[row] < 0 else v[c[row]] for n, (c, v) in columns.items()}
            answers.append(self._answer(cells, int(view.lines[row])))
        numbers = np.array([-1 if isinstance(a, str) else a for a in answers], dtype=np.int64)
        places = numbers[codes]
        view.refuse(places < 0, lambda i: str(answers[codes[i]]))
        return places

    def _answer(self, cells: dict[str, Any], line: int) -> int | str:
        """Return the setting of some cells, or what is wrong with them."""
        key = tuple(cells.items())
        if key not in self._by_cells:
            if len(self._by_cells) == _MOST_SETTINGS:
                self._faults.add(
                    [line],
                    f"the file has more than {_MOST_SETTINGS} different settings; columns "
                    f"{', '.join(SETTING_COLUMNS)} must not differ from training to training",
                )
                self._faults.stop()
            try:
                self._by_cells[key] = self._place(cells, line)
            except BpeBenchError as error:
                self._by_cells[key] = str(error)
        return self._by_cells[key]

    def _place(self, cells: dict[str, Any], line: int) -> int:
        values = {name: _hyper_parameter(name, cells.get(name)) for name in HYPER_PARAMETERS}
        budget = Budget(**values)
        dataset = _text(cells.get("dataset")) or UNKNOWN_DATASET
        label, device = _text(cells.get("label")), _text(cells.get("device"))
        reference = _truth(cells.get("reference"))
        setting = Setting(label or "unnamed", budget, dataset, device=device)
        place = self._by_key.setdefault(label or (budget, dataset), len(self.found))
        if place < len(self.found):
            self._agree(place, setting, reference)
            return place
        self.found.append(setting)
        self.references.append(reference)
        self.lines.append(line)
        self._labelled.append(bool(label))
        return place

    def _agree(self, place: int, setting: Setting, reference: bool) -> None:
        """Check that a setting is what an earlier row says it is."""
        known = self.found[place]
        if not known.device:
            known = self.found[place] = dataclasses.replace(known, device=setting.device)
        described = [(setting, reference), (known, self.references[place])]
        new, old = (
            {
                **s.budget.to_dict(),
                "dataset": s.dataset,
                "device": s.device or known.device,
                "reference": r,
            }
            for s, r in described
        )
        for name, value in new.items():
            if value != old[name]:
                which = f"label {setting.label!r}" if self._labelled[place] else "the same budget"
                raise SourceFileError(
                    f"{which} has {name} {_shown(value)}, but {_shown(old[name])} in "
                    f"{self._faults.where(self.lines[place])}"
                )

    def named(self) -> list[Setting]:
        """Return the settings, those without a label named by what they differ in."""
        bare = [s for s, labelled in zip(self.found, self._labelled, strict=True) if not labelled]
        changed = [n for n in HYPER_PARAMETERS if len({getattr(s.budget, n) for s in bare}) > 1]
        taken = {
            s.label for s, labelled in zip(self.found, self._labelled, strict=True) if labelled
        }
        settings = []
        for setting, labelled in zip(self.found, self._labelled, strict=True):
            if not labelled:
                label = _made_label(setting, changed, taken)
                taken.add(label)
                setting = dataclasses.replace(setting, label=label)
            settings.append(setting)
        return settings


def _made_label(setting: Setting, changed: Sequence[str], taken: set[str]) -> str:
    dataset = [] if setting.dataset == UNKNOWN_DATASET else [setting.dataset]
    parts = [*dataset, *(f"{name}-{getattr(setting.budget, name)}" for name in changed)]
    text = "-".join(parts) or "training"
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)
    stem = label = allowed.lstrip("._-") or "training"
    number = 1
    while label in taken:
        number += 1
        label = f"{stem}-{number}"
    return label


def _hyper_parameter(name: str, value: Any) -> Any:
    """Return a cell as the value of a hyper-parameter; what `Budget` refuses is left to it."""
    if value is None:
        if name not in DEFAULTS:
            raise InvalidBudgetError(f"no value in column {name!r}")
        return DEFAULTS[name]
    if isinstance(DEFAULTS.get(name), str):
        return str(value)
    try:
        number = float("x" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        raise InvalidBudgetError(f"{name} must be a number, found {str(value)!r}") from None
    return int(number) if number.is_integer() else number


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _truth(value: Any) -> bool:
    if value is None:
        return False
    text = str(value).lower().removesuffix(".0")
    if text not in _TRUTHS:
        raise SourceFileError(f"reference must be true or false, found {str(value)!r}")
    return _TRUTHS[text]
