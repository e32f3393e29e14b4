"""Rows of a long-format file, CSV or Parquet, in chunks."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....errors import OptionalDependencyError, SourceFileError

if TYPE_CHECKING:
    import pandas as pd

_ROWS_AT_ONCE = 2**17
"""Rows of a chunk: large enough to be quick, small enough for a few tens of megabytes."""


@dataclass(frozen=True)
class _Chunk:
    """Consecutive rows, their line numbers, and the share of the file that was read."""

    frame: pd.DataFrame
    lines: npt.NDArray[np.int64]
    share: float


class _BadRowError(Exception):
    """A row at which the file becomes unreadable: its line, and why."""


class _LongFile:
    """A file of rows with the names of its ``columns``; ``unit`` says what rows are counted in.

    Raises
    ------
    SourceFileError
        If the file is missing or damaged.
    OptionalDependencyError
        If it is Parquet and pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise SourceFileError(f"no file at {path}; give a .csv, .csv.gz or .parquet file")
        self._path, self._packed = path, path.suffix == ".gz"
        self._parquet = path.suffix in (".parquet", ".pq")
        self.unit = "row" if self._parquet else "line"
        with _explaining(path):
            names = self._open().schema_arrow.names if self._parquet else next(self._records())[1]
        self.columns = tuple(name.strip() for name in names)

    def chunks(
        self, texts: Collection[str], only: Collection[str] | None = None
    ) -> Iterator[_Chunk]:
        """Yield the rows, of ``only`` some columns; those in ``texts`` come as categories.

        Raises
        ------
        BadRowError
            At a row that does not have the file's form.
        SourceFileError
            If the file is damaged.
        """
        kinds = {name: "category" for name in self.columns if name in texts}
        with _explaining(self._path):
            read = self._batches if self._parquet else self._csv_chunks
            yield from read(kinds, None if only is None else list(only))

    def _open(self) -> Any:
        try:
            import pyarrow.parquet as parquet
        except ImportError:
            raise OptionalDependencyError(
                "reading Parquet needs pyarrow, which is not installed; "
                "pip install 'bpe-bench[parquet]'"
            ) from None
        # Read column by column with small buffers: a file may be a single row group.
        return parquet.ParquetFile(self._path, buffer_size=2**20, pre_buffer=False)

    def _batches(self, kinds: dict[str, str], only: list[str] | None) -> Iterator[_Chunk]:
        opened, row = self._open(), 1
        for batch in opened.iter_batches(batch_size=_ROWS_AT_ONCE, columns=only):
            frame = batch.to_pandas(strings_to_categorical=True).astype(kinds)
            lines = row + np.arange(len(frame))
            row += len(frame)
            yield _Chunk(frame, lines, (row - 1) / opened.metadata.num_rows)

    def _csv_chunks(self, kinds: dict[str, str], only: list[str] | None) -> Iterator[_Chunk]:
        import pandas as pd

        size, line = max(self._path.stat().st_size, 1), 2
        with self._path.open("rb") as raw, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a first row of many fields
            # Missing cells are empty and nothing else: a label may well be "NA". Texts of digits
            # keep their zeros: read as categories at once they would become numbers.
            reader = pd.read_csv(
                raw, header=0, names=list(self.columns), index_col=False,
                dtype=dict.fromkeys(kinds, "str"),
                compression="gzip" if self._packed else None, keep_default_na=False,
                na_values=[""], skip_blank_lines=False, low_memory=False, encoding="utf-8-sig",
                chunksize=_ROWS_AT_ONCE, usecols=only,
            )  # fmt: skip
            while True:
                try:
                    frame = next(reader, None)
                except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
                    raise self._bad_row(error) from None
                if frame is None or not len(frame):
                    return
                frame = frame.astype(kinds)
                breaks = sum(_line_breaks(frame[name]) for name in kinds)
                lines = line + np.arange(len(frame)) + np.cumsum(breaks) - breaks
                line += len(frame) + int(np.sum(breaks))
                full = frame.notna().any(axis=1).to_numpy()
                yield _Chunk(frame[full], lines[full], min(1.0, raw.tell() / size))

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the first line and the fields of each record of a CSV file, the header first."""
        opened: Any = gzip.open if self._packed else open
        with opened(self._path, "rt", encoding="utf-8-sig", newline="") as text:
            reader, line = csv.reader(text), 1
            for fields in reader:
                yield line, fields
                line = reader.line_num + 1
            if line == 1:
                yield line, []

    def _bad_row(self, error: Exception) -> _BadRowError:
        """Look for the row that pandas cannot read; pandas counts rows, not lines."""
        line = 1
        for line, fields in self._records():
            if len(fields) > len(self.columns):
                said = f"{len(fields)} fields, the header has {len(self.columns)}"
                return _BadRowError(line, said)
        if "EOF inside string" in str(error):
            return _BadRowError(line, "a quotation mark opens and none closes")
        return _BadRowError(line, str(error))


def _line_breaks(column: pd.Series[Any]) -> npt.NDArray[np.int64]:
    """Return how many line breaks the text of each row has."""
    inside = [str(text).count("\n") for text in column.cat.categories]
    return np.array([*inside, 0], dtype=np.int64)[column.cat.codes.to_numpy()]  # missing is -1


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turn the errors that a damaged file causes into one line."""
    try:
        yield
    except SourceFileError:
        raise
    except (OSError, EOFError, zlib.error, csv.Error, TypeError, ValueError) as error:
        hint = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise SourceFileError(f"cannot read {path}: {reason}{hint}") from error
