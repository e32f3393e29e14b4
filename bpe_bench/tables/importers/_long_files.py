"""Rows of a long-format file, CSV or Parquet, a bounded number at a time.

`open_rows` gives a reader that knows its columns and yields chunks; what the
cells mean is not its business.
"""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import OptionalDependencyError, SourceFileError

if TYPE_CHECKING:
    import pandas as pd

IntArray = npt.NDArray[np.int64]

ROWS_AT_ONCE = 2**17
"""Rows of a chunk: large enough to be quick, small enough for a few tens of megabytes."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows."""

    frame: pd.DataFrame
    """The rows; columns of text are categorical."""
    lines: IntArray
    """Where each row stands in the file, as a person would count."""
    share: float
    """The part of the file that has been read."""


class BadRowError(Exception):
    """A row from which on the file cannot be read."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class RowReader(Protocol):
    """A file of rows."""

    unit: ClassVar[str]
    """What its rows are counted in."""
    columns: tuple[str, ...]
    """Names of its columns, in order."""

    def chunks(self, texts: Sequence[str]) -> Iterator[Chunk]:
        """Read the rows; the columns of ``texts`` come as categories.

        Raises
        ------
        BadRowError
            At a row that does not have the file's form.
        SourceFileError
            If the file is damaged.
        """


def open_rows(path: Path) -> RowReader:
    """Return the reader of a file: Parquet or (compressed) CSV, by its first bytes.

    Raises
    ------
    SourceFileError
        If the file is missing, or is neither.
    OptionalDependencyError
        If it is Parquet and pyarrow is not installed.
    """
    if not path.is_file():
        raise SourceFileError(f"no file at {path}; give a .csv, .csv.gz or .parquet file")
    with _explaining(path), path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        return _ParquetRows(path)
    if path.suffix in (".parquet", ".pq"):
        raise SourceFileError(f"{path} is not a Parquet file, although its name says so")
    return _CsvRows(path, compressed=magic[:2] == b"\x1f\x8b")


class _CsvRows:
    unit: ClassVar[str] = "line"

    def __init__(self, path: Path, *, compressed: bool) -> None:
        self._path, self._compressed = path, compressed
        with _explaining(path), self._text() as text:
            reader = csv.reader(text)
            header, first = next(reader, []), next(reader, [])
        if len(first) > len(header):  # pandas would drop the surplus of the first row
            raise SourceFileError(
                f"{path}: line 2 has {len(first)} fields, the header has {len(header)}"
            )
        self.columns = tuple(name.strip() for name in header)

    def chunks(self, texts: Sequence[str]) -> Iterator[Chunk]:
        import pandas as pd

        size, line = self._path.stat().st_size, 2
        with _explaining(self._path), self._path.open("rb") as raw, self._unpacked(raw) as data:
            # Missing cells are empty and nothing else: a label may well be "NA".
            reader = pd.read_csv(
                data, header=0, names=list(self.columns), index_col=False,
                dtype=dict.fromkeys(texts, "category"), keep_default_na=False, na_values=[""],
                skip_blank_lines=False, low_memory=False, chunksize=ROWS_AT_ONCE,
                encoding="utf-8-sig",
            )  # fmt: skip
            while True:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", pd.errors.ParserWarning)
                        frame = next(reader, None)
                except pd.errors.ParserError as error:
                    raise self._bad_row(error) from None
                if frame is None or not len(frame):
                    return
                breaks = _line_breaks(frame, texts)
                lines = line + np.arange(len(frame)) + np.cumsum(breaks) - breaks
                line = int(lines[-1] + breaks[-1]) + 1
                empty = frame.isna().all(axis=1).to_numpy()
                if empty.any():
                    frame, lines = frame[~empty], lines[~empty]
                yield Chunk(frame, lines, min(1.0, raw.tell() / max(size, 1)))

    def _bad_row(self, error: Exception) -> BadRowError:
        """Look for the row that pandas cannot read; pandas counts rows, not lines."""
        wanted, start = len(self.columns), 1
        with self._text() as text:
            reader = csv.reader(text)
            for fields in reader:
                if len(fields) > wanted:
                    message = f"{len(fields)} fields, the header has {wanted}"
                    return BadRowError(start, message)
                last, start = start, reader.line_num + 1
        if "EOF inside string" in str(error):
            return BadRowError(last, "a quotation mark opens and none closes")
        raise error

    def _text(self) -> IO[str]:
        kind: Any = gzip.open if self._compressed else open
        text: IO[str] = kind(self._path, "rt", encoding="utf-8-sig", newline="")
        return text

    def _unpacked(self, raw: IO[bytes]) -> IO[bytes]:
        if not self._compressed:
            return raw
        unpacked: Any = gzip.GzipFile(fileobj=raw)
        stream: IO[bytes] = unpacked
        return stream


def _line_breaks(frame: pd.DataFrame, texts: Sequence[str]) -> IntArray:
    """Return how many line breaks each row has within quoted text."""
    breaks = np.zeros(len(frame), dtype=np.int64)
    for name in texts:
        column = frame[name].cat
        inside = np.array([str(text).count("\n") for text in column.categories], dtype=np.int64)
        if inside.any():
            breaks += np.append(inside, 0)[column.codes.to_numpy()]  # missing is -1: the last, 0
    return breaks


class _ParquetRows:
    unit: ClassVar[str] = "row"

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet as parquet
        except ImportError:
            raise OptionalDependencyError(
                "reading Parquet needs pyarrow, which is not installed; "
                "pip install 'bpe-bench[parquet]'"
            ) from None
        self._path = path
        with _explaining(path):
            # Read column by column with small buffers: a file may be a single row group.
            self._file = parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
        self.columns = tuple(self._file.schema_arrow.names)

    def chunks(self, texts: Sequence[str]) -> Iterator[Chunk]:
        total, row = max(self._file.metadata.num_rows, 1), 1
        with _explaining(self._path):
            for batch in self._file.iter_batches(batch_size=ROWS_AT_ONCE):
                frame = batch.to_pandas(strings_to_categorical=True)
                for name in texts:
                    frame[name] = frame[name].astype("category")
                lines = row + np.arange(len(frame))
                row += len(frame)
                yield Chunk(frame, lines, (row - 1) / total)


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turn what readers raise on a damaged file into one line."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise SourceFileError(
            f"{path} is not text in UTF-8: byte {error.object[error.start]:#04x} is none of it"
        ) from None
    except (OSError, EOFError, zlib.error, csv.Error, TypeError, ValueError) as error:
        if isinstance(error, SourceFileError):
            raise
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise SourceFileError(f"cannot read {path}: {reason}") from error
