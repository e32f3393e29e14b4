"""The wrong rows of a file, and a chunk of rows that loses its wrong rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....errors import BpeBenchError, SourceFileError
from ._files import _Chunk

if TYPE_CHECKING:
    import pandas as pd

_Array = npt.NDArray[Any]

_LARGEST = 2**31 - 1
_NAMED = 5
"""So many lines are named in an error; the rest are counted."""


class _Faults:
    """The wrong rows of a file: the first few by their lines, the rest as a number."""

    def __init__(self, source: Path, unit: str) -> None:
        self._source, self._unit, self._count = source, unit, 0
        self._named: list[tuple[int, str]] = []

    def add(self, lines: _Array, said: str, *values: _Array) -> None:
        """Add wrong rows; ``said`` is formatted with the ``values`` of each row."""
        self._count += len(lines)
        for line, *own in zip(*(column[:_NAMED] for column in (lines, *values)), strict=True):
            self._named.append((int(line), said.format(*own)))
        self._named = sorted(self._named, key=lambda named: named[0])[:_NAMED]

    def add_unequal(
        self, lines: _Array, values: _Array, owner: _Array, said: str, most: float = 0.0
    ) -> None:
        """Add the rows whose value is more than ``most`` off that of their owner."""
        bad = np.abs(values - values[owner]) > most
        other = owner[bad]
        places = np.array([self.where(line) for line in lines[other]], dtype=object)
        self.add(lines[bad], said, values[bad], values[other], places)

    def where(self, line: int) -> str:
        """Return a place in the file as text."""
        return f"{self._unit} {line}"

    def stop(self, line: int | None = None, said: str = "") -> None:
        """Raise `SourceFileError` if there are wrong rows, or for one last fault."""
        if line is not None:
            self.add(np.array([line]), "{}", np.array([said], dtype=object))
        if self._count:
            texts = [f"{self.where(line)}: {text}" for line, text in self._named]
            if rest := self._count - len(self._named):
                texts.append(f"and {rest} more wrong {self._unit}{'s' if rest > 1 else ''}")
            raise SourceFileError(f"{self._source}: {'; '.join(texts)}")


class _View:
    """A chunk's columns as numbers, and which of its rows are still right."""

    def __init__(self, chunk: _Chunk, faults: _Faults) -> None:
        self.frame, self.lines, self._faults = chunk.frame, chunk.lines, faults
        self.good: npt.NDArray[np.bool_] = np.ones(len(chunk.frame), dtype=bool)

    def refuse(self, bad: _Array, said: str, *values: _Array) -> None:
        """Report rows that are wrong, unless they have been reported already."""
        bad = bad & self.good
        self._faults.add(self.lines[bad], said, *(np.asarray(column)[bad] for column in values))
        self.good &= ~bad

    def places(
        self,
        names: Collection[str],
        place: Callable[[dict[str, str], int], int],
        answers: dict[Hashable, int | str],
    ) -> _Array:
        """Return what ``place`` says of each row's cells in some columns and its line.

        It is asked once for the same cells, and ``answers`` keeps what it said.
        """
        import pandas as pd

        columns = self.frame[[name for name in names if name in self.frame]]
        groups = columns.groupby(list(columns), sort=False, observed=True, dropna=False)
        codes = groups.ngroup().to_numpy()
        first = np.unique(codes, return_index=True)[1]
        found: list[int | str] = []
        for row, values in zip(first, columns.iloc[first].astype(object).to_numpy(), strict=True):
            cells = {str(n): str(v) for n, v in zip(columns, values, strict=True) if pd.notna(v)}
            key = (place.__name__, *cells.items())
            if key not in answers:
                try:
                    answers[key] = place(cells, int(self.lines[row]))
                except SourceFileError:  # `Faults.stop`
                    raise
                except BpeBenchError as error:
                    answers[key] = str(error)
            found.append(answers[key])
        places = np.array([-1 if isinstance(a, str) else a for a in found], np.int32)[codes]
        self.refuse(places < 0, "{}", np.array(found, dtype=object)[codes])
        return places

    def numbers(self, name: str, *, required: bool = False) -> _Array:
        """Return a column as numbers, NaN where it is empty, which may be wrong."""
        if name not in self.frame:
            return np.full(self.good.size, np.nan)
        values, bad = _numbers_of(self.frame[name])
        said = f"{name} must be a number, found '{{}}'"
        self.refuse(bad, said, self.frame[name].to_numpy(dtype=object))
        self.refuse(np.isnan(values) & required, f"no value in column {name!r}")
        return values

    def whole(self, name: str, least: int, default: int | None = None, also: str = "") -> _Array:
        """Return a column as whole numbers; what is wrong is reported and replaced."""
        values = self.numbers(name, required=default is None)
        values[np.isnan(values)] = least if default is None else default
        bad = ~((values >= least) & (values <= _LARGEST) & (values == np.floor(values)))
        said = f"{name} must be a whole number of at least {max(least, 0)}{also}, found {{:g}}"
        self.refuse(bad, said, values)
        return np.where(bad, least, values).astype(np.int32)

    def positive(self, name: str) -> _Array:
        """Return a column as numbers above 0, NaN where it is empty."""
        values = self.numbers(name)
        bad = (values <= 0) | np.isinf(values)
        self.refuse(bad, f"{name} must be above 0, found {{:g}}", values)
        return values


def _numbers_of(column: pd.Series[Any]) -> tuple[_Array, _Array]:
    """Return a column as numbers, NaN where it is empty, and where it holds something else."""
    import pandas as pd

    numbers = column
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        column = column.astype(object)
        truths = column.map(lambda value: isinstance(value, bool)).to_numpy(dtype=bool)
        numbers = pd.to_numeric(column.mask(truths), errors="coerce")
    bad = (numbers.isna() & column.notna()).to_numpy()
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan, copy=True), bad
