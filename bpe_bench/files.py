"""Files: written completely or not at all, foreign pickles read safely; values as JSON and HTML."""

from __future__ import annotations

import dataclasses
import errno
import html
import math
import os
import pickle
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol

import numpy as np

from .errors import SourceFileError

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 20
"""So many rows of a result are shown in a notebook."""
_LONGEST_LINE = 500
"""Characters of a result at a prompt."""
_LONGEST_STEM = 40
"""Characters of a file's name that go into the name of its temporary one."""
_PICKLE_FAULTS = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    LookupError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
)
"""Errors of the C unpickler on malformed pickles."""


@contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a new, empty file beside a target, and rename it to the target unless an error occurs.

    A reader sees the old file or the new one, whole. The new one is flushed to disk before it
    is renamed. It keeps the old one's mode; without an old one, the process's umask rules. If
    an error is raised inside, the target stays as it was and nothing is left behind.

    Parameters
    ----------
    target
        The file to write; a symbolic link is followed.

    Yields
    ------
    Path
        A file in the same folder, with the same suffix, to write into.

    Raises
    ------
    OSError
        If it cannot be written, or the target is a folder, device or pipe.
    """
    final = Path(os.path.realpath(target))
    if final.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if final.exists() and not final.is_file():
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
    mark = f".{final.name[:_LONGEST_STEM]}.{secrets.token_hex(6)}{final.suffix[:_LONGEST_STEM]}"
    temporary = final.with_name(mark)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if final.exists():
            temporary.chmod(final.stat().st_mode & 0o777)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(target: str | os.PathLike[str]) -> None:
    """Check that a file can be written, before its content is computed.

    Raises
    ------
    OSError
        If it is a folder, or its folder is missing or read-only.
    """
    found, folder = Path(target), Path(os.path.realpath(target)).parent
    fault = 0
    if found.is_dir():
        fault = errno.EISDIR
    elif found.exists() and not found.is_file():
        return  # a pipe or a device, which is written directly
    elif not folder.exists():
        fault = errno.ENOENT
    elif not folder.is_dir():
        fault = errno.ENOTDIR
    elif not os.access(folder, os.W_OK):
        fault = errno.EACCES
    if fault:
        raise OSError(fault, os.strerror(fault))


def write_whole(target: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file completely, or leave it as it was; write directly into a pipe or device.

    Text is written in UTF-8. Raises `OSError` as `replacing` does.
    """
    data = content.encode() if isinstance(content, str) else content
    path = Path(target)
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(data)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def to_json_value(value: Any) -> Any:
    """Return a value as JSON has it: None for NaN and infinity, plain numbers for numpy's.

    A data class becomes an object of its fields, unless it has a ``to_json`` of its own.

    Examples
    --------
    >>> to_json_value({"a": (1.5, float("nan")), "b": np.float64("inf"), "c": np.arange(2)})
    {'a': [1.5, None], 'b': None, 'c': [0, 1]}
    """
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: to_json_value(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {key: to_json_value(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_json_value(value.tolist())
    if isinstance(value, list | tuple):
        return [to_json_value(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json_object(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by name, such as a data class's ``vars``, as a JSON object."""
    return {name: to_json_value(value) for name, value in values.items()}


class Shown:
    """A base of results: shown as one line, and in a notebook with a small table below it.

    The line is the result's ``answer`` and the table its ``to_frame``, unless a class says
    otherwise. A data class needs ``repr=False``, or it would show all of its fields.
    """

    _columns: ClassVar[tuple[str, ...]] = ()
    """Columns of the small table; all if empty."""

    if TYPE_CHECKING:

        @property
        def answer(self) -> str:  # noqa: D102 - each class says what it is
            ...

        def to_frame(self) -> pd.DataFrame:  # noqa: D102
            ...

    def _line(self) -> str:
        return self.answer

    def _frame(self) -> pd.DataFrame:
        frame = self.to_frame()
        return frame[[name for name in self._columns or frame.columns if name in frame.columns]]

    def __repr__(self) -> str:
        # Names come from files, so the line may have anything in it.
        line = " ".join("".join(c if c.isprintable() else " " for c in self._line()).split())
        return f"<{type(self).__name__}: {line[:_LONGEST_LINE]}>"

    def _repr_html_(self) -> str:
        frame = self._frame()
        table = frame.to_html(max_rows=_MOST_ROWS, border=0, float_format="{:.4g}".format)
        line = html.escape(self._line()).replace("\n", "<br>")
        return f"<p>{line}</p>\n{table}"


class Reader(Protocol):
    """The protocol of streams that can be unpickled."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""

    def readline(self) -> bytes:
        """Return the bytes up to the end of the line."""


def load_pickle(
    stream: Reader,
    name: str,
    allowed: Mapping[tuple[str, str], Any],
    *,
    needed_by: str = "table",
    encoding: str = "ASCII",
) -> Any:
    """Read the next pickle of a stream without running any code in it.

    A pickle is a program: it may name any function of the machine and have it called. Here
    every name is looked up in a short list and nowhere else.

    Parameters
    ----------
    stream
        Left after the pickle if it can ``peek``.
    name
        What messages call it.
    allowed
        By module and name: what stands there. A stand-in without attributes cannot be altered
        from within a pickle; one that makes little out of little keeps memory in proportion
        to the pickle's size. (One pickle can still ask for a huge table of its own references;
        that ends in an error or in a killed process, not in code that runs.)
    needed_by
        What messages say the pickle should hold.
    encoding
        Of the texts of Python 2, as for `pickle.load`.

    Raises
    ------
    SourceFileError
        If it is truncated, not a pickle, or asks for a name that is not allowed.
    """
    try:
        return _Unpickler(stream, name, allowed, needed_by, encoding).load()
    except SourceFileError:
        raise
    except _PICKLE_FAULTS as error:
        if isinstance(error, EOFError) or "truncated" in str(error):
            fault = f"{name} is truncated: its pickle ends too early"
        else:
            fault = f"{name} is damaged or not a pickle ({reason_of(error)})"
        raise SourceFileError(f"{fault}; fetch it again") from error


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        stream: Reader,
        name: str,
        allowed: Mapping[tuple[str, str], Any],
        needed_by: str,
        encoding: str,
    ) -> None:
        super().__init__(stream, encoding=encoding)
        self._name, self._allowed, self._needed_by = name, allowed, needed_by

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name; names that are not listed are never looked up."""
        if (module, name) not in self._allowed:
            self._refuse(f"asks for {shown(f'{module}.{name}')}")
        return self._allowed[module, name]

    def persistent_load(self, identifier: Any) -> NoReturn:
        """Refuse references to data outside the pickle, such as network weights."""
        self._refuse("refers to data outside of itself, such as network weights")

    def _refuse(self, fault: str) -> NoReturn:
        raise SourceFileError(
            f"{self._name} is not safe to open: its pickle {fault}, which no {self._needed_by} "
            "needs; nothing of it was run; fetch the file again from a place that you trust"
        )


def shown(text: str, most: int = 80) -> str:
    """Return foreign text on one line, without control characters, cut if long."""
    text = text.encode("unicode_escape").decode()
    return text if len(text) <= most else f"{text[:most]}..."


def reason_of(error: BaseException) -> str:
    """Return the message of an error on one line, or its class if there is no message."""
    said = (isinstance(error, OSError) and error.strerror) or str(error)
    return shown(" ".join(said.split()) or type(error).__name__, 120)
