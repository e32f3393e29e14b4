"""Where settings come from: the axes of a space, their codes, and how much each part weighs.

A model sees *codes*, in which a tree can only ask what the axis means: a real
number (or its logarithm), the place of a value in an ordered list (so its
scale is no matter), or one column per category.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..budget import BudgetSpace, check_hyper_parameter, encode_value
from ..errors import SelectionError
from .base import Groups, check_finite
from .models import FloatArray

Kind = Literal["real", "ordered", "categorical"]
MeasureName = Literal["space", "observed"]
MEASURES: tuple[MeasureName, ...] = ("space", "observed")
_CATEGORICAL = ("lr_schedule", "precision")


@dataclass(frozen=True)
class Axis:
    """One hyper-parameter: which values it can take, and what each of them weighs.

    Made by `Axis.real`, `Axis.ordered` or `Axis.categorical`.

    Raises
    ------
    SelectionError
        If it has no values, repeats one, or its bounds or weights cannot be.

    Examples
    --------
    >>> Axis.ordered("layers", [6, 8, 20]).code(np.array([20.0, 6.0])).tolist()
    [[2.0], [0.0]]
    >>> Axis.categorical("precision", [0, 2]).code(np.array([2.0])).tolist()
    [[0.0, 1.0]]
    """

    name: str
    kind: Kind
    values: tuple[float, ...] = ()
    """Candidates, ascending if ordered. Of a real axis: the points that it was observed at, if
    they are to weigh instead of the interval."""
    weights: tuple[float, ...] = ()
    """What each of the values weighs, with sum 1; empty if all weigh the same."""
    low: float = math.nan
    high: float = math.nan
    """Bounds of a real axis."""
    log: bool = False
    """Whether a real axis is uniform in the logarithm."""

    def __post_init__(self) -> None:
        if self.kind == "real":
            self._check_bounds()
        elif not self.values:
            raise SelectionError(f"the axis {self.name} needs at least one value, found none")
        check_finite(f"values of {self.name}", np.array(self.values, dtype=float))
        if len(set(self.values)) < len(self.values):
            raise SelectionError(f"the axis {self.name} repeats a value: {_listed(self.values)}")
        if self.kind != "categorical" and list(self.values) != sorted(self.values):
            raise SelectionError(
                f"the values of {self.name} must ascend, found {_listed(self.values)}"
            )
        if self.weights:
            self._check_weights()

    @classmethod
    def real(cls, name: str, low: float, high: float, *, log: bool = False) -> Axis:
        """Return an interval, uniform in the value or in its logarithm."""
        return cls(name, "real", low=float(low), high=float(high), log=log)

    @classmethod
    def ordered(
        cls, name: str, values: Sequence[float], weights: Sequence[float] | None = None
    ) -> Axis:
        """Return a finite set of numbers of which only the order counts."""
        return cls(name, "ordered", _floats(values), _floats(weights or ()))

    @classmethod
    def categorical(
        cls, name: str, values: Sequence[float], weights: Sequence[float] | None = None
    ) -> Axis:
        """Return a finite set without an order, each category coded by a number."""
        return cls(name, "categorical", _floats(values), _floats(weights or ()))

    @property
    def width(self) -> int:
        """Columns of its code."""
        return len(self.values) if self.kind == "categorical" else 1

    @property
    def points(self) -> FloatArray:
        """Its values, coded, shape (n, width)."""
        return self.code(np.array(self.values, dtype=float))

    def code(self, column: FloatArray) -> FloatArray:
        """Return values (S,) as a model sees them, shape (S, width).

        Raises
        ------
        SelectionError
            If a value is not on the axis.
        """
        if self.kind == "real":
            self._check_inside(column)
            code = np.log(column) if self.log else column
            return np.array(code, dtype=np.float64)[:, None]
        places = self._places(column)
        if self.kind == "categorical":
            return np.eye(self.width, dtype=np.float64)[places]
        return places.astype(np.float64)[:, None]

    def observed(self, column: FloatArray) -> Axis:
        """Return the axis with its values weighing as often as they occur among (S,) settings."""
        if self.kind == "real":
            self._check_inside(column)
            values, counts = np.unique(column, return_counts=True)
        else:
            places = self._places(column)
            values, counts = np.array(self.values), np.bincount(places, minlength=len(self.values))
        return replace(self, values=_floats(values), weights=_floats(counts / counts.sum()))

    def _places(self, column: FloatArray) -> npt.NDArray[np.intp]:
        order = np.argsort(self.values)
        found = np.searchsorted(self.values, column, sorter=order)
        places = order[np.minimum(found, len(order) - 1)]
        odd = np.asarray(column)[np.array(self.values)[places] != column]
        if odd.size:
            raise SelectionError(
                f"{self.name} = {odd[0]:g} is not on its axis; its values are "
                f"{_listed(self.values)}"
            )
        return places

    def _check_inside(self, column: FloatArray) -> None:
        odd = np.asarray(column)[~((column >= self.low) & (column <= self.high))]
        if odd.size:
            raise SelectionError(
                f"{self.name} = {odd[0]:g} is not on its axis, which goes from {self.low:g} to "
                f"{self.high:g}"
            )

    def _check_bounds(self) -> None:
        if not -math.inf < self.low < self.high < math.inf or (self.log and self.low <= 0):
            above = " and above 0" if self.log else ""
            raise SelectionError(
                f"the bounds of {self.name} must be finite, ascending{above}, found {self.low:g} "
                f"and {self.high:g}"
            )

    def _check_weights(self) -> None:
        right = len(self.weights) == len(self.values) and min(self.weights) >= 0
        if not right or not math.isclose(sum(self.weights), 1.0, abs_tol=1e-9):
            raise SelectionError(
                f"the weights of {self.name} must be one per value, not negative, with sum 1, "
                f"found {_listed(self.weights)} for {len(self.values)} values"
            )


@dataclass(frozen=True)
class Points:
    """A measure that sits on n coded points of some columns, with weights (n,)."""

    columns: npt.NDArray[np.intp]
    """Shape (c,)."""
    points: FloatArray
    """Shape (n, c)."""
    weights: FloatArray
    """Shape (n,), with sum 1."""


@dataclass(frozen=True)
class Interval:
    """A measure that is uniform between two bounds of one coded column."""

    column: int
    low: float
    high: float


Measure = Points | Interval


@dataclass(frozen=True)
class Domain:
    """The d axes of a space, in the order of the columns of its settings."""

    axes: tuple[Axis, ...]

    @classmethod
    def of_values(cls, x: FloatArray, names: Sequence[str] = ()) -> Domain:
        """Return ordered axes with the distinct values of settings (S, d), all weighing the same.

        Examples
        --------
        >>> Domain.of_values(np.array([[6.0, 10.0], [20.0, 10.0]])).axes[0].values
        (6.0, 20.0)
        """
        names = names or [f"column {place}" for place in range(x.shape[1])]
        columns = zip(names, x.T, strict=True)
        return cls(tuple(Axis.ordered(name, _floats(np.unique(c))) for name, c in columns))

    @classmethod
    def of_space(cls, space: BudgetSpace, names: Sequence[str]) -> Domain:
        """Return the candidates of some hyper-parameters of a space of budgets.

        Schedule and precision are categories, everything else is ordered; the
        codes of categories are those of `bpe_bench.budget.encode`.
        """
        return cls(tuple(_axis_of_space(space, name) for name in names))

    @property
    def starts(self) -> list[int]:
        """The first coded column of each axis, and how many there are in all, d + 1 numbers."""
        return [0, *np.cumsum([axis.width for axis in self.axes]).tolist()]

    def code(self, x: FloatArray) -> FloatArray:
        """Return settings (S, d) as a model sees them, shape (S, c).

        Raises
        ------
        SelectionError
            If they have other columns than the domain has axes, or a value that is on none.
        """
        if x.shape[1] != len(self.axes):
            raise SelectionError(
                f"the settings have {x.shape[1]} columns, but the domain has {len(self.axes)} "
                f"axes: {', '.join(axis.name for axis in self.axes)}"
            )
        return np.hstack([axis.code(c) for axis, c in zip(self.axes, x.T, strict=True)])

    def measures(self, x: FloatArray, groups: Groups, measure: MeasureName) -> list[Measure]:
        """Return what weighs on each group of axes; groups are independent of each other.

        Parameters
        ----------
        x
            Settings (S, d).
        groups
            Axes that are judged as one. What a group of several can be is the
            combinations that the settings have: nothing else is known of how
            they move together.
        measure
            ``"space"``: an axis weighs as it says itself, and combinations all weigh the
            same. ``"observed"``: values and combinations weigh as often as they occur.
        """
        return [
            self._alone(group[0], x, measure)
            if len(group) == 1
            else self._together(group, x, measure)
            for group in groups
        ]

    def _alone(self, place: int, x: FloatArray, measure: MeasureName) -> Measure:
        axis, start = self.axes[place], self.starts[place]
        if measure == "observed":
            axis = axis.observed(x[:, place])
        if not axis.values:
            low, high = (axis.low, axis.high) if not axis.log else np.log([axis.low, axis.high])
            return Interval(start, float(low), float(high))
        count = len(axis.values)
        weights = np.array(axis.weights) if axis.weights else np.full(count, 1 / count)
        return Points(np.arange(start, start + axis.width), axis.points, weights)

    def _together(self, group: Sequence[int], x: FloatArray, measure: MeasureName) -> Points:
        starts = self.starts
        columns = np.concatenate([np.arange(starts[j], starts[j + 1]) for j in group])
        points, counts = np.unique(self.code(x)[:, columns], axis=0, return_counts=True)
        weights = (
            counts / len(x) if measure == "observed" else np.full(len(points), 1 / len(points))
        )
        return Points(columns, points, weights)


def combinations(x: FloatArray, group: Sequence[int]) -> npt.NDArray[np.intp]:
    """Return the place of each setting's values of a group among those seen, shape (S,).

    In the order of the first column, then of the second, and so on.
    """
    _, places = np.unique(x[:, list(group)], axis=0, return_inverse=True)
    return places.reshape(-1)


def _axis_of_space(space: BudgetSpace, name: str) -> Axis:
    values = [encode_value(name, value) for value in space.values[check_hyper_parameter(name)]]
    make = Axis.categorical if name in _CATEGORICAL else Axis.ordered
    return make(name, values)


def _floats(values: Sequence[float] | FloatArray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
