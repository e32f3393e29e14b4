"""Chunks of a long-format file as numbers, and its wrong rows by their lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import SourceFileError
from ._long_files import Chunk, IntArray

if TYPE_CHECKING:
    import pandas as pd

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

_NAMED = 5
"""Lines that an error names; the rest are counted."""
_LARGEST = 2**31 - 1


class Faults:
    """The wrong rows of a file: the first few by their lines, the rest as a number."""

    def __init__(self, source: Path, unit: str) -> None:
        self._source, self._unit, self._count = source, unit, 0
        self._named: list[tuple[int, str]] = []

    def add(
        self, lines: npt.NDArray[Any] | Sequence[int], describe: Callable[[int], str] | str
    ) -> None:
        """Add wrong rows and what is wrong, given a place in ``lines`` if it differs."""
        self._count += len(lines)
        for i in range(min(_NAMED, len(lines))):
            text = describe if isinstance(describe, str) else describe(i)
            self._named.append((int(lines[i]), text))
        self._named = sorted(self._named, key=lambda named: named[0])[:_NAMED]

    def where(self, line: int) -> str:
        """Return a place in the file as text."""
        return f"{self._unit} {line}"

    def stop(self) -> None:
        """Raise `SourceFileError` if there are any."""
        if self._count:
            texts = [f"{self.where(line)}: {text}" for line, text in self._named]
            if rest := self._count - len(self._named):
                texts.append(f"and {rest} more wrong {self._unit}{'s' if rest > 1 else ''}")
            raise SourceFileError(f"{self._source}: {'; '.join(texts)}")


class View:
    """A chunk's columns as numbers, and which of its rows are still right."""

    def __init__(self, chunk: Chunk, faults: Faults) -> None:
        self.frame, self.lines, self._faults = chunk.frame, chunk.lines, faults
        self.good: BoolArray = np.ones(len(chunk.frame), dtype=bool)

    def __contains__(self, name: str) -> bool:
        return name in self.frame.columns

    def refuse(self, bad: BoolArray, describe: Callable[[int], str]) -> None:
        """Report rows that are wrong, unless they have been reported already."""
        places = np.flatnonzero(bad & self.good)
        if places.size:
            self._faults.add(self.lines[places], lambda i: describe(int(places[i])))
            self.good[places] = False

    def categories(self, name: str) -> tuple[IntArray, list[Any]]:
        """Return a column as places among its different values, -1 where empty."""
        column = self.frame[name].cat
        return column.codes.to_numpy().astype(np.int64), column.categories.tolist()

    def numbers(self, name: str, default: float | None = None) -> FloatArray:
        """Return a column as numbers; empty cells are the default, or wrong without one."""
        if name not in self:
            return np.full(self.good.size, default, dtype=np.float64)
        values = self._parsed(self.frame[name])
        if default is None:
            self.refuse(np.isnan(values), lambda i: f"no value in column {name!r}")
            return values
        return np.where(np.isnan(values), default, values)

    def whole(self, name: str, least: int, default: int | None = None) -> IntArray:
        """Return a column as whole numbers; what is wrong is reported and replaced."""
        values = self.numbers(name, default)
        bad = ~((values >= least) & (values <= _LARGEST) & (values == np.floor(values)))
        self.refuse(
            bad,
            lambda i: f"{name} must be a whole number of at least {least}, found {values[i]:g}",
        )
        return np.where(bad, least, values).astype(np.int64)

    def _parsed(self, column: pd.Series[Any]) -> FloatArray:
        import pandas as pd

        plain = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if not plain:
            column = column.astype(object)
            is_bool = column.map(lambda value: isinstance(value, bool)).to_numpy(dtype=bool)
            parsed = pd.to_numeric(column.mask(is_bool), errors="coerce")
            self.refuse(
                (parsed.isna() & column.notna()).to_numpy(),
                lambda i: f"{column.name} must be a number, found {str(column.iloc[i])!r}",
            )
            column = parsed
        return column.to_numpy(dtype=np.float64, na_value=np.nan)


def combine(*columns: npt.NDArray[Any]) -> tuple[IntArray, IntArray]:
    """Count the different combinations of columns' values, in the order of their appearance.

    Returns
    -------
    codes, first
        The combination of each row, and the first row of each combination.
    """
    import pandas as pd

    codes = np.zeros(columns[0].size, dtype=np.int64)
    for column in columns:
        values, different = pd.factorize(column, use_na_sentinel=False)
        if len(different) > 1:
            # Both are below the number of rows, so the product cannot overflow.
            codes = pd.factorize(codes * len(different) + values)[0].astype(np.int64)
    first = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(codes.size)[::-1]  # of equal places, the last written stays
    return codes, first
