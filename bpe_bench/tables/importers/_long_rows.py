"""What the rows of a long-format file mean, and which of them are wrong.

Rows are checked a chunk at a time and column by column; Python looks at each
different text, setting or group once, not at each row.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import GenotypeError
from ...hyper_parameters import HYPER_PARAMETERS
from ...spaces import SPACES, Architecture, SearchSpace, get_space
from ..curves import Split
from ._long_files import Chunk, IntArray
from ._long_settings import DEFAULTS, SETTING_COLUMNS, Settings
from ._long_view import Faults, FloatArray, View, combine

TEXTS = ("architecture", "space", "split", *SETTING_COLUMNS)
"""Columns of few different values, read as categories."""
COLUMNS = (
    "architecture", "space", *HYPER_PARAMETERS, "seed", "epoch", "split", "correct", "accuracy",
    "split_size", "seconds", "device", "dataset", "label", "reference",
)  # fmt: skip
"""All columns that a file may have."""
REQUIRED = ("architecture", *(n for n in HYPER_PARAMETERS if n not in DEFAULTS), "epoch", "split",
            "split_size")  # fmt: skip
"""Columns that a file must have, beside ``correct`` or ``accuracy``."""
_SPLITS = tuple(Split)
_TOLERANCE = 1e-3
"""How far, in images, an accuracy may be from a whole number of them."""


@dataclass(frozen=True)
class Rows:
    """Checked rows, as numbers."""

    setting: IntArray
    """Place among the settings."""
    split: IntArray
    """Place in `Split`."""
    architecture: IntArray
    """Place among the architectures."""
    seed: IntArray
    epoch: IntArray
    correct: IntArray
    """Correct images."""
    seconds: FloatArray
    """NaN where unknown."""
    line: IntArray


class Checker:
    """Turns chunks into `Rows`, and remembers what the rows have in common."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.architectures = _Architectures(faults)
        self.settings = Settings(faults)
        self.split_sizes: dict[tuple[int, Split], tuple[int, int]] = {}
        """By setting and split: the number of images, and the line that says so first."""

    def check(self, chunk: Chunk) -> Rows:
        """Return the rows of a chunk that are right."""
        view = View(chunk, self._faults)
        architecture = self.architectures.places(view)
        setting = self.settings.places(view)
        split = _splits(view)
        seed = view.whole("seed", least=0, default=0)
        epoch = view.whole("epoch", least=1)
        self._check_schedule(view, setting, epoch)
        size = view.whole("split_size", least=1)
        self._check_sizes(view, setting, split, size)
        correct = _correct(view, size)
        seconds = view.numbers("seconds", default=np.nan)
        view.refuse(
            ~(np.isnan(seconds) | ((seconds > 0) & np.isfinite(seconds))),
            lambda i: f"seconds must be above 0, found {seconds[i]:g}",
        )
        good = view.good
        return Rows(
            setting[good], split[good], architecture[good], seed[good], epoch[good], correct[good],
            seconds[good], chunk.lines[good],
        )  # fmt: skip

    def _check_schedule(self, view: View, setting: IntArray, epoch: IntArray) -> None:
        schedules = np.array([s.budget.epochs for s in self.settings.found] or [0])
        view.refuse(
            epoch > schedules[setting],
            lambda i: f"epoch {epoch[i]} is past the schedule of {schedules[setting[i]]} epochs",
        )

    def _check_sizes(self, view: View, setting: IntArray, split: IntArray, size: IntArray) -> None:
        """Check that a split keeps its size within a setting, from chunk to chunk."""
        # Only right rows say what the size is; a wrong one may be the first of its group.
        places = np.flatnonzero(view.good)
        groups, first = combine(setting[places], split[places])
        known = []
        for place in places[first]:
            key = (int(setting[place]), _SPLITS[split[place]])
            known.append(
                self.split_sizes.setdefault(key, (int(size[place]), int(view.lines[place])))
            )
        sizes, lines = np.array(known, dtype=np.int64).reshape(-1, 2).T
        expected, said = size.copy(), np.zeros_like(size)
        expected[places], said[places] = sizes[groups], lines[groups]
        view.refuse(
            size != expected,
            lambda i: (
                f"split_size is {size[i]}, but {expected[i]} in {self._faults.where(said[i])} for "
                f"the {_SPLITS[split[i]]} split of the same setting"
            ),
        )


def _splits(view: View) -> IntArray:
    codes, values = view.categories("split")
    known = [str(split) for split in _SPLITS]
    numbers = [known.index(str(value)) if str(value) in known else -1 for value in values]
    split = np.array([*numbers, -1], dtype=np.int64)[codes]
    view.refuse(codes < 0, lambda i: "no value in column 'split'")
    view.refuse(
        split < 0,
        lambda i: f"unknown split {str(values[codes[i]])!r}; there are: {', '.join(known)}",
    )
    return split


def _correct(view: View, size: IntArray) -> IntArray:
    """Return the correct images, from their number or their share; both must agree."""
    correct = np.zeros_like(size)
    if "correct" in view:
        correct = view.whole("correct", least=0)
        view.refuse(
            correct > size, lambda i: f"correct is {correct[i]} of a split_size of {size[i]}"
        )
    if "accuracy" not in view:
        return correct
    accuracy = view.numbers("accuracy")
    view.refuse(
        ~((accuracy >= 0) & (accuracy <= 1)),
        lambda i: f"accuracy must be a fraction in [0, 1], found {accuracy[i]:g}",
    )
    images = np.where(view.good, accuracy, 0.0) * size
    counts = np.rint(images).astype(np.int64)
    view.refuse(
        np.abs(images - counts) > _TOLERANCE,
        lambda i: (
            f"accuracy {accuracy[i]:.12g} of {size[i]} images is {images[i]:.6g}, which is not a "
            "whole number of images"
        ),
    )
    if "correct" in view:
        view.refuse(
            counts != correct,
            lambda i: f"correct is {correct[i]}, but accuracy says {counts[i]} of {size[i]} images",
        )
    return counts


class _Architectures:
    """The different architectures, in the order of their appearance."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.found: list[Architecture] = []
        self._by_text: dict[str, int] = {}
        self._by_choices: dict[bytes, int] = {}
        self._space: SearchSpace | None = None
        self._said = 0

    @property
    def space(self) -> SearchSpace:
        """The space that the file is of."""
        assert self._space is not None
        return self._space

    def places(self, view: View) -> IntArray:
        """Return each row's place among the architectures."""
        codes, values = view.categories("architecture")
        view.refuse(codes < 0, lambda i: "no value in column 'architecture'")
        if "space" in view:
            self._read_spaces(view)
        if self._space is None:
            self._recognise(view, codes, values)
        if self._space is None:
            return np.zeros_like(codes)
        places, messages = np.full(len(values) + 1, -1, dtype=np.int64), {}
        _, first = combine(codes)
        for code in codes[first].tolist():  # categories are sorted; these come as in the file
            try:
                places[code] = self._place(str(values[code])) if code >= 0 else -1
            except GenotypeError as error:
                messages[code] = str(error)
        places = places[codes]
        view.refuse(places < 0, lambda i: messages[int(codes[i])])
        return places

    def _place(self, text: str) -> int:
        place = self._by_text.get(text)
        if place is None:
            architecture = self.space.parse(text)
            # Texts that differ only in an order without meaning are the same network.
            choices = hashlib.sha256(self.space.encode([architecture]).tobytes()).digest()
            place = self._by_choices.setdefault(choices, len(self.found))
            if place == len(self.found):
                self.found.append(architecture)
            self._by_text[text] = place
        return place

    def _read_spaces(self, view: View) -> None:
        """Check that all rows that name a space name the same one."""
        codes, values = view.categories("space")
        view.refuse(
            np.isin(codes, [c for c, name in enumerate(values) if str(name) not in SPACES]),
            lambda i: f"unknown space {str(values[codes[i]])!r}; there are: {', '.join(SPACES)}",
        )
        named = np.flatnonzero((codes >= 0) & view.good)
        if self._space is None and named.size:
            self._space = get_space(str(values[codes[named[0]]]))
            self._said = int(view.lines[named[0]])
        if self._space is not None:
            own = self._space.name
            view.refuse(
                np.isin(codes, [c for c, name in enumerate(values) if str(name) != own]),
                lambda i: (
                    f"space is {str(values[codes[i]])!r}, but {own!r} in "
                    f"{self._faults.where(self._said)}; a table has one"
                ),
            )

    def _recognise(self, view: View, codes: IntArray, values: list[Any]) -> None:
        """Find the space whose grammar reads the first architecture."""
        places = np.flatnonzero(view.good)
        if not places.size:
            return
        text, reasons = str(values[codes[places[0]]]), []
        for space in SPACES.values():
            try:
                space.parse(text)
            except GenotypeError as error:
                reasons.append(str(error))
            else:
                self._space, self._said = space, int(view.lines[places[0]])
                return
        self._faults.add(
            [int(view.lines[places[0]])],
            f"architecture of no registered space: {'; '.join(reasons)}",
        )
        self._faults.stop()
