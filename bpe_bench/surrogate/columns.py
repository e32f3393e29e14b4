"""Architectures and budgets as the columns of a regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..budget import Budget, BudgetSpace, encode_scaled
from ..errors import SelectionError
from ..hyper_parameters import HYPER_PARAMETERS, Value, written
from ..spaces import Architecture, get_space
from .question import FloatArray

_Ranges = Mapping[str, tuple[Value, ...]]
"""The smallest and largest number, or the categories, seen of each hyper-parameter."""


@dataclass(frozen=True)
class _Columns:
    """The columns that describe an architecture under a budget.

    In this order: the architecture, its known accuracies under other settings,
    the budget (each hyper-parameter in its scale, logarithms to base 2), and the device.
    """

    space: str
    """Search space of the architectures."""
    encoding: str
    """Encoding of the architectures; empty if they are not used."""
    given: tuple[str, ...]
    """Settings whose accuracies are known."""
    hyper_parameters: tuple[str, ...]
    """Hyper-parameters that varied in the data."""
    devices: tuple[str, ...] = ()
    """Devices other than the one that predictions are for."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        features = get_space(self.space).feature_names(self.encoding) if self.encoding else ()
        given = (f"accuracy under {label}" for label in self.given)
        devices = (f"on {device}" for device in self.devices)
        return (*features, *given, *self.hyper_parameters, *devices)

    def of_architectures(
        self, architectures: Sequence[Architecture], given: FloatArray
    ) -> FloatArray:
        """Return the columns of A architectures with accuracies (A, G) under the given settings."""
        if not self.encoding:
            return given
        features = get_space(self.space).features(architectures, self.encoding)
        return np.hstack([features, given])

    def of_budgets(
        self, budgets: Sequence[Budget], devices: Sequence[str] | None = None
    ) -> FloatArray:
        """Return the columns of B budgets, on the usual device unless devices are named."""
        numbers = encode_scaled(budgets, self.hyper_parameters, np.log2)
        used = ["" for _ in budgets] if devices is None else devices
        other = [[float(device == name) for name in self.devices] for device in used]
        return np.hstack([numbers, np.array(other).reshape(len(budgets), len(self.devices))])


def _ranges_of(budgets: Sequence[Budget]) -> dict[str, tuple[Value, ...]]:
    """Return the values seen of each hyper-parameter: smallest and largest, or categories."""
    seen = BudgetSpace.of(budgets).values
    return {
        name: values if HYPER_PARAMETERS[name].categories else (values[0], values[-1])
        for name, values in seen.items()
    }


def _outside(budget: Budget, ranges: _Ranges) -> list[str]:
    """Return the hyper-parameters of a budget that lie outside of ranges, as text."""
    faults = []
    for name, seen in ranges.items():
        value, fact = getattr(budget, name), HYPER_PARAMETERS[name]
        if None in seen:  # it was no column of the fit
            continue
        if fact.categories or value is None:
            inside, said = value in seen, ", ".join(map(str, seen))
        else:
            least, largest = fact.encode(seen[0]), fact.encode(seen[-1])
            inside = least <= value <= largest
            said = str(seen[0]) if least == largest else f"{seen[0]} to {seen[-1]}"
        if not inside:
            faults.append(f"{name}={written(value)} (fitted: {said})")
    return faults


def _check_inside(budget: Budget, ranges: _Ranges) -> None:
    """Raise `SelectionError` if a budget lies outside of ranges."""
    faults = _outside(budget, ranges)
    if faults:
        raise SelectionError(
            f"the surrogate would have to extrapolate: {', '.join(faults)}; ask for a budget "
            "within, or allow it (--extrapolate)"
        )
