"""Pickles of other people, read without running anything that is in them.

A pickle is a program: it may name any function of the machine and have it
called. Here every name is looked up in a short list, and what stands there are
stand-ins of this module, never the named functions: an ordered dictionary comes
as a dictionary, a set as a list, a numpy number as a plain one. None of them
can be altered from within a pickle, and none makes much out of little, so what
is read takes memory in proportion to the pickle's size. (One pickle can still
ask for a huge table of its own references; that ends in an error or in a killed
process, not in code that runs.)
"""

from __future__ import annotations

import bz2
import pickle
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

import numpy as np

from ...errors import SourceFileError

_NUMBERS = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])
"""The numpy types whose numbers can be read."""
_ORDERS = ("<", ">", "|", "=")
_LONGEST_BYTES = 16
"""Bytes of the longest number, with room to spare."""
# What the C unpickler raises, by what is wrong, on data that is no sound pickle.
_FAULTS = (
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


class Reader(Protocol):
    """What the unpickler asks of a stream."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""

    def readline(self) -> bytes:
        """Return the bytes up to the end of the line."""


def load_pickle(stream: Reader, name: str) -> Any:
    """Read the next pickle of a stream.

    Parameters
    ----------
    stream
        Left after the pickle if it can ``peek``.
    name
        What messages call it.

    Raises
    ------
    SourceFileError
        If it is truncated, no pickle, or asks for a function that no table needs.
    """
    try:
        return _Unpickler(stream, name).load()
    except SourceFileError:
        raise
    except _FAULTS as error:
        if isinstance(error, EOFError) or "truncated" in str(error):
            fault = f"{name} is truncated: its pickle ends too early"
        else:
            fault = f"{name} is damaged or not a pickle ({_reason(error)})"
        raise SourceFileError(f"{fault}; fetch it again") from error


def unpack_bz2(packed: bytes, name: str, most: int) -> bytes:
    """Return what a bz2 file holds.

    Parameters
    ----------
    packed
        The whole file.
    name
        What messages call it.
    most
        Bytes above which the content is taken for a hostile file.

    Raises
    ------
    SourceFileError
        If it is truncated, damaged, not bz2, or holds more than ``most`` bytes.
    """
    unpacker = bz2.BZ2Decompressor()
    try:
        content = unpacker.decompress(packed, most + 1)
    except OSError as error:
        raise SourceFileError(
            f"{name} is damaged or not bz2 ({_reason(error)}); fetch it again"
        ) from error
    if len(content) > most:
        raise SourceFileError(
            f"{name} is not safe to open: it unpacks to more than {most} bytes, "
            "which no official file does; fetch it again from a place that you trust"
        )
    if not unpacker.eof:
        raise SourceFileError(f"{name} is truncated: its bz2 data ends too early; fetch it again")
    return content


class _StandIn:
    """Something to call in a function's place; without attributes, so nothing can be set on it."""

    __slots__ = ()


class _OrderedDict(_StandIn):
    __slots__ = ()

    def __call__(self) -> dict[Any, Any]:
        return {}


class _Set(_StandIn):
    __slots__ = ()

    def __call__(self, members: list[Any]) -> list[Any]:
        # The list as it is: a copy could be asked for again and again.
        return members


class _Encode(_StandIn):
    """The bytes of a number: old pickles hold them as text."""

    __slots__ = ()

    def __call__(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1" or len(text) > _LONGEST_BYTES:
            raise ValueError("text that is no number's bytes")
        return text.encode("latin1")


class _Number:
    """A numpy type; what its constructor returns in a pickle."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in _ORDERS:
            raise ValueError("a byte order that does not exist")
        self.order = state[1]


class _Type(_StandIn):
    __slots__ = ()

    def __call__(self, code: str, align: bool = False, copy: bool = True) -> _Number:
        if code not in _NUMBERS:
            raise ValueError("a numpy type that is no number's")
        return _Number(code)


class _Scalar(_StandIn):
    __slots__ = ()

    def __call__(self, number: _Number, data: bytes) -> float | int | bool:
        kind = np.dtype(number.order + number.code)
        if len(data) != kind.itemsize:
            raise ValueError("a number of the wrong length")
        value: float | int | bool = np.frombuffer(data, kind)[0].item()
        return value


_STAND_INS: Mapping[tuple[str, str], Callable[..., Any]] = MappingProxyType(
    {
        ("collections", "OrderedDict"): _OrderedDict(),
        ("builtins", "set"): _Set(),
        ("__builtin__", "set"): _Set(),
        ("_codecs", "encode"): _Encode(),
        ("numpy", "dtype"): _Type(),
        ("numpy.core.multiarray", "scalar"): _Scalar(),
        ("numpy._core.multiarray", "scalar"): _Scalar(),
    }
)
"""All that a pickle may ask for, by module and name."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: Reader, name: str) -> None:
        super().__init__(stream)
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in; never look a name up anywhere else."""
        found = _STAND_INS.get((module, name))
        if found is None:
            self._refuse(f"asks for {_shown(f'{module}.{name}')}")
        return found

    def persistent_load(self, identifier: Any) -> NoReturn:
        """Refuse references to data outside the pickle, such as network weights."""
        self._refuse("refers to data outside of itself, such as network weights")

    def _refuse(self, fault: str) -> NoReturn:
        raise SourceFileError(
            f"{self._name} is not safe to open: its pickle {fault}, which no table needs; nothing "
            "of it was run; fetch the file again from a place that you trust"
        )


def _shown(text: str) -> str:
    """Return foreign text on one line, without control characters, cut if long."""
    text = text.encode("unicode_escape").decode()
    return text if len(text) <= 80 else f"{text[:80]}..."


def _reason(error: Exception) -> str:
    return _shown(" ".join(str(error).split()) or type(error).__name__)
