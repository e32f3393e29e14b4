"""The official archives of CIFAR-10: batches of Python pickles, or of plain bytes.

No code in the pickles is run: every name in them is replaced by one of four stand-ins of this
module, which only hold the bytes of an array. Reading needs memory in proportion to the file.
"""

from __future__ import annotations

import io
import math
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...errors import SourceFileError
from ...files import load_pickle, reason_of
from ._pixels import Images

_CLASSES = 10
_SHAPE = (3, 32, 32)
_PIXELS = math.prod(_SHAPE)
_LARGEST = 64 * 2**20
"""A batch of more bytes counts as hostile; the official ones have 31 million."""

_PYTHON = "cifar-10-batches-py"
_BINARY = "cifar-10-batches-bin"
_BATCHES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        _PYTHON: (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
        _BINARY: (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
    }
)
"""Files of both formats; the last one holds the test images."""


def _read_batches(contents: Mapping[str, bytes], where: str) -> tuple[Images, Images]:
    """Return the train and the test images of a format's files.

    Parameters
    ----------
    contents
        Contents of the files by name, those of one format and perhaps others.
    where
        Name of their place in messages.

    Raises
    ------
    SourceFileError
        If a file is missing, damaged or not safe to open.
    """
    kind = _batches_of(contents)
    if kind is None:
        raise SourceFileError(
            f"{where} holds no batches of CIFAR-10 (data_batch_1 or data_batch_1.bin and so on)"
        )
    missing = [name for name in _BATCHES[kind] if name not in contents]
    if missing:
        raise SourceFileError(
            f"{where} lacks {', '.join(missing)}: CIFAR-10 has five train batches and a test batch"
        )
    read = _read_pickled if kind == _PYTHON else _read_plain
    parts = [read(contents[name], f"{where}/{name}") for name in _BATCHES[kind]]
    train = Images(
        np.concatenate([part.pixels for part in parts[:-1]]),
        np.concatenate([part.labels for part in parts[:-1]]),
    )
    return train, parts[-1]


def _batches_of(names: Mapping[str, Any] | set[str]) -> str | None:
    """Return which format has files of these names, or None."""
    for kind, batches in _BATCHES.items():
        if any(name in names for name in batches):
            return kind
    return None


def _unpack(archive: Path) -> dict[str, bytes]:
    """Return the contents of the batches in an archive by name, without extracting them.

    Raises
    ------
    SourceFileError
        If it is corrupt, or a batch in it absurdly large.
    """
    wanted = {name for batches in _BATCHES.values() for name in batches}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                stream = tar.extractfile(member) if name in wanted and member.isfile() else None
                if stream is None:
                    continue
                _check_size(f"{archive}/{name}", member.size)
                contents[name] = stream.read()
                if len(contents[name]) < member.size:
                    raise EOFError("it ends too early")
            # tarfile stops at the archive's last block; the checksum comes after it.
            while tar.fileobj is not None and tar.fileobj.read(2**20):
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise SourceFileError(
            f"{archive} is corrupt or not an archive ({reason_of(error)}); fetch it again"
        ) from error
    return contents


def _check_size(where: str, size: int) -> None:
    """Raise `SourceFileError` if a batch is larger than any official one."""
    if size > _LARGEST:
        raise SourceFileError(
            f"{where} has {size} bytes, no batch of CIFAR-10 more than {_LARGEST}; fetch it again"
        )


def _read_plain(content: bytes, where: str) -> Images:
    """Read records of a label and the pixels, colour by colour, row by row."""
    if not content or len(content) % (1 + _PIXELS):
        raise SourceFileError(
            f"{where} is truncated: expected records of {1 + _PIXELS} bytes, found "
            f"{len(content)} bytes; fetch it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXELS)
    return _images(records[:, 1:], records[:, 0].astype(np.int64), where)


def _read_pickled(content: bytes, where: str) -> Images:
    fields = load_pickle(
        io.BytesIO(content),
        where,
        _STAND_INS,
        needed_by="batch of CIFAR-10",
        encoding="bytes",  # the official files are from Python 2, whose texts are bytes
    )
    if isinstance(fields, dict):
        fields = {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in fields.items()}
        data, labels = fields.get("data"), fields.get("labels")
        if isinstance(data, _Array) and isinstance(labels, list):
            pixels = data.to_numpy()
            whole = all(type(label) is int and 0 <= label < _CLASSES for label in labels)
            if pixels is not None and len(labels) == len(pixels) and whole:
                return _images(pixels, np.array(labels, dtype=np.int64), where)
    raise SourceFileError(
        f"{where} is not a batch of CIFAR-10: expected a dictionary of data (N x {_PIXELS} bytes) "
        f"and labels (N numbers from 0 to {_CLASSES - 1})"
    )


def _images(pixels: np.ndarray, labels: np.ndarray, where: str) -> Images:
    if not labels.size or labels.max() >= _CLASSES:
        raise SourceFileError(
            f"{where} is not a batch of CIFAR-10: expected labels from 0 to {_CLASSES - 1}, found "
            f"{'none' if not labels.size else labels.max()}"
        )
    return Images(pixels.reshape(-1, *_SHAPE), labels)


class _Named:
    """Stands for names that a pickle may use, but not call; it has no attributes to set."""

    __slots__ = ()


class _ByteType:
    """Stands for the numpy type of bytes; its state in a pickle is ignored."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """An array's state, kept until it is clear that it consists of bytes."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state: object = None

    def __setstate__(self, state: object) -> None:
        self._state = state

    def to_numpy(self) -> np.ndarray | None:
        """Return the array, shape (N, 3072), or None if it has another form."""
        match self._state:
            case (int(), (int(count), int(width)), _ByteType(), False | 0, bytes(content)) if (
                width == _PIXELS and len(content) == count * width and count > 0
            ):
                return np.frombuffer(content, np.uint8).reshape(count, width)
        return None


class _MakesArrays(_Named):
    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> _Array:
        return _Array()


class _MakesTypes(_Named):
    __slots__ = ()

    def __call__(self, code: object, align: object = False, copy: object = True) -> _ByteType:
        if code not in ("u1", b"u1"):
            raise ValueError("an array that is not of bytes")
        return _ByteType()


_STAND_INS: Mapping[tuple[str, str], object] = MappingProxyType(
    {
        ("numpy", "ndarray"): _Named(),
        ("numpy", "dtype"): _MakesTypes(),
        ("numpy.core.multiarray", "_reconstruct"): _MakesArrays(),
        ("numpy._core.multiarray", "_reconstruct"): _MakesArrays(),
    }
)
"""All names that a pickle may use, by module."""
