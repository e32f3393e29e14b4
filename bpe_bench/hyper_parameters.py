"""Facts of the hyper-parameters of a budget, each in one place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from .errors import InvalidBudgetError, unknown_name

Schedule = Literal["cosine", "linear", "step"]
Precision = Literal["fp16", "bf16", "fp32"]
Value = int | float | str | None
"""The value of a hyper-parameter; None if a table does not know it."""

UNKNOWN = "unknown"
"""Text of the value None."""


@dataclass(frozen=True)
class HyperParameter:
    """The facts of one hyper-parameter."""

    name: str
    """Field of `Budget`."""
    type: type[int] | type[float] | type[str]
    kind: Literal["real", "ordered", "categorical"]
    """``ordered`` values are whole numbers whose order counts."""
    least: int = 1
    """The smallest value of ``ordered`` ones; ``real`` ones must be above 0."""
    most: float = math.inf
    """The largest value."""
    categories: tuple[str, ...] = ()
    """All values of a ``categorical`` one; a value's place here is its number."""
    scale: Literal["linear", "log", "log1p"] = "log"
    """The scale with equal steps everywhere; ``log1p`` is the logarithm of one plus the value."""
    costs: bool = True
    """Whether it changes the amount of arithmetic."""
    may_be_unknown: bool = True
    """Whether a table may lack it."""

    def check(self, value: Any) -> Value:
        """Return a value in the type of the hyper-parameter.

        Raises
        ------
        InvalidBudgetError
            If the hyper-parameter cannot have it.
        """
        if value is None and self.may_be_unknown:
            return None
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if self.kind == "categorical":
            if value not in self.categories:
                raise InvalidBudgetError(
                    f"{self.name} must be one of {', '.join(self.categories)}, found {value!r}"
                )
        elif self.kind == "ordered":
            whole = number and isinstance(value, int | np.integer)
            if not whole or value < self.least:
                raise InvalidBudgetError(
                    f"{self.name} must be a whole number of at least {self.least}, found {value!r}"
                )
        elif not number or not math.isfinite(value) or not 0 < value <= self.most:
            limit = "" if self.most == math.inf else f" and at most {self.most:g}"
            raise InvalidBudgetError(f"{self.name} must be above 0{limit}, found {value!r}")
        return self.type(value)

    def encode(self, value: Value) -> float:
        """Return the number of a value: itself, or the place of its category.

        Raises
        ------
        InvalidBudgetError
            If the value is unknown.
        """
        if value is None:
            raise InvalidBudgetError(
                f"{self.name} must be a number or a category to compute with, found a setting in "
                "which it is unknown; leave the setting out, or name its value in the table"
            )
        return float(self.categories.index(self.check(value)) if self.categories else value)


HYPER_PARAMETERS: Mapping[str, HyperParameter] = MappingProxyType(
    {
        fact.name: fact
        for fact in (
            HyperParameter("epochs", int, "ordered", may_be_unknown=False),
            HyperParameter("batch_size", int, "ordered"),
            HyperParameter("learning_rate", float, "real", costs=False),
            HyperParameter(
                "lr_schedule", str, "categorical", scale="linear", costs=False,
                categories=("cosine", "linear", "step"),
            ),
            HyperParameter("layers", int, "ordered"),
            HyperParameter("channels", int, "ordered"),
            HyperParameter("image_size", int, "ordered"),
            HyperParameter(
                "precision", str, "categorical", scale="linear",
                categories=("fp16", "bf16", "fp32"),
            ),
            HyperParameter("cutout", int, "ordered", least=0, scale="log1p", costs=False),
            HyperParameter("data_fraction", float, "real", most=1.0),
        )
    }
)  # fmt: skip
"""The hyper-parameters by name, in the order in which they are always listed."""


def written(value: Value) -> str:
    """Return a value as text."""
    return UNKNOWN if value is None else str(value)


def check_hyper_parameter(name: str) -> str:
    """Return ``name`` if it is a hyper-parameter of `Budget`.

    Raises
    ------
    UnknownNameError
        If it is not; the message lists those that are.
    """
    if name not in HYPER_PARAMETERS:
        raise unknown_name("hyper-parameter", name, HYPER_PARAMETERS)
    return name
