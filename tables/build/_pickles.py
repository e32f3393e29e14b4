"""Pickles of other people, read with stand-ins for the names in records of trainings.

The stand-ins are of this module, never the named functions: an ordered dictionary becomes a
dictionary, a set a list, a numpy number a plain one. They have no attributes, so a pickle
cannot alter them.
"""

from __future__ import annotations

import bz2
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from bpe_bench.errors import SourceFileError
from bpe_bench.files import Reader, load_pickle, reason_of

_NUMBERS = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])
"""The numpy types whose numbers can be read."""
_ORDERS = ("<", ">", "|", "=")
_LONGEST_BYTES = 16
"""Bytes of the longest number, with room to spare."""


def load_records(stream: Reader, name: str) -> Any:
    """Read the next pickle of a stream, made of numbers, texts and their collections.

    Parameters and errors are those of `bpe_bench.files.load_pickle`.
    """
    return load_pickle(stream, name, _STAND_INS)


def unpack_bz2(packed: bytes, name: str, most: int) -> bytes:
    """Return the content of a bz2 file.

    Parameters
    ----------
    packed
        The whole file.
    name
        What messages call it.
    most
        Content of more bytes counts as hostile.

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
            f"{name} is damaged or not bz2 ({reason_of(error)}); fetch it again"
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
    """Called in place of a function; without attributes, so a pickle cannot set any."""

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
    """Stands for a numpy type in a pickle."""

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
"""All names that a pickle may use, by module."""
