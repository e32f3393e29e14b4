"""Tables in HDF5 files; the only module that imports h5py.

The layout is specified in ``docs/table-format.md``. A file is written beside its target and
renamed into place, so a reader never sees half a table. Opening checks everything that would
otherwise fail later with a message of another library.
"""

from __future__ import annotations

import hashlib
import math
import os
import shlex
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..budget import Budget
from ..errors import BpeBenchError, InvalidTableError, TableFileError
from ..files import reason_of, replacing
from ..hyper_parameters import HYPER_PARAMETERS
from ..spaces import DeclaredSpace, get_space
from ._architectures import _ArchitectureTexts
from .curves import CountArray, Curves, Split, _check_counts
from .table import Provenance, Setting, Table

_Attributes = dict[str, str | list[str] | int]
"""By name; ``group@name`` is an attribute of a group, other names are attributes of the file."""

if TYPE_CHECKING:
    import h5py

_MAGIC = "bpe-bench-table"
_FORMAT_VERSION = 2
"""The newest version that is read. A table is written in the oldest version that can hold it."""

_MOST_BYTES = 2**34
"""An array that claims more bytes counts as damaged or hostile."""
_NUMBERS: dict[type, str] = {int: "<i4", float: "<f8"}
_UNKNOWN: dict[type, Any] = {int: -1, float: math.nan, str: ""}
"""The value of an unknown hyper-parameter, by its type."""
_WIDTHS = {"i": 4, "f": 8}
_KINDS = {"i": "int32", "f": "float64", "S": "bytes"}
_READ_AT_ONCE = 2**17
"""Larger counts stay in the file until they are needed."""
_CACHED_BYTES = 2**26
_PARSED_AT_ONCE = 1000
"""If there are more architectures, each is parsed when it is needed."""
_WORTH_COMPRESSING = 4096
"""Arrays of fewer bytes are not compressed, because the overhead would exceed the saving."""
_TEXT_ATTRIBUTES = ("source", "licence", "citation")
_UNHASHED_ATTRIBUTES = ("builder", "builder_version", "created")

_Array = npt.NDArray[Any]


def write_table(table: Table, path: str | os.PathLike[str]) -> str:
    """Write a table completely, or leave the target as it was.

    Returns
    -------
    str
        The SHA-256 of the content.

    Raises
    ------
    TableFileError
        If the file cannot be written.
    """
    import h5py

    attributes, arrays = _flatten(table)
    digest = _digest(attributes, arrays)
    target = Path(path)
    try:
        with replacing(target) as temporary, h5py.File(temporary, "w", libver="v110") as file:
            file.attrs["format"] = _MAGIC
            file.attrs["format_version"] = _version(table)
            file.attrs["content_sha256"] = digest
            for name in _UNHASHED_ATTRIBUTES:
                file.attrs[name] = getattr(table.provenance, name)
            for group in ("curves", "measures"):  # there even if they hold nothing
                file.create_group(group)
            for name, array in arrays.items():
                _write_array(file, name, array)
            for key, value in attributes.items():
                group, _, name = key.rpartition("@")
                kind = "<i8" if isinstance(value, int) else h5py.string_dtype()
                file[group or "/"].attrs.create(name, value, dtype=kind)
    except OSError as error:
        raise TableFileError(f"cannot write table {target}: {reason_of(error)}") from error
    return digest


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table.

    Raises
    ------
    TableFileError
        If the file is missing, truncated, not a table, of a newer format version, or
        inconsistent.
    """
    table, _ = _read(Path(path))
    return table


def verify_table(path: str | os.PathLike[str]) -> str:
    """Read a table and check its content against the hash it carries.

    Returns
    -------
    str
        The SHA-256 of the content.

    Raises
    ------
    TableFileError
        If the file cannot be read or its content has another hash.
    """
    table, recorded = _read(Path(path))
    found = content_hash(table)
    if not recorded:
        raise TableFileError(
            f"table {path} carries no hash of its content (attribute 'content_sha256'), so it "
            "cannot be verified; write it again"
        )
    if found != recorded:
        raise TableFileError(
            f"table {path} is damaged: its content should have SHA-256 {recorded} and has {found}; "
            "fetch or build it again"
        )
    return found


def content_hash(table: Table) -> str:
    """Return the SHA-256 of a table's figures and description.

    It covers arrays and attributes in a fixed order. The date and the program that made the
    file are left out, so the same content always has the same hash.
    """
    return _digest(*_flatten(table))


def _flatten(table: Table) -> tuple[_Attributes, dict[str, _Array]]:
    space = get_space(table.space)
    attributes: _Attributes = {
        "space": table.space,
        "dataset": table.dataset,
        "references": list(table.references),
        "caveats": list(table.caveats),
        **{name: getattr(table.provenance, name) for name in _TEXT_ATTRIBUTES},
    }
    arrays: dict[str, _Array] = {
        "architectures/text": _text_column([space.format(a) for a in table.architectures]),
        "settings/label": _text_column([s.label for s in table.settings]),
        "settings/dataset": _text_column([s.dataset for s in table.settings]),
        "settings/device": _text_column([s.device for s in table.settings]),
        "settings/seconds": np.array([s.seconds for s in table.settings], dtype="<f8"),
    }
    if isinstance(space, DeclaredSpace):
        attributes["declaration"] = space.declaration
    for name, fact in HYPER_PARAMETERS.items():
        values = [getattr(s.budget, name) for s in table.settings]
        arrays[f"settings/{name}"] = _hyper_parameter_column(values, fact.type)
    for (label, split), curves in sorted(table.curves.items()):
        group = f"curves/{label}/{split}"
        arrays[f"{group}/correct"] = curves.all_counts().astype("<i4", copy=False)
        arrays[f"{group}/epochs"] = curves.epochs.astype("<i4", copy=False)
        arrays[f"{group}/seeds"] = curves.seeds.astype("<i4", copy=False)
        attributes[f"{group}@split_size"] = curves.split_size
        attributes[f"{group}@scale"] = curves.scale
        attributes[f"{group}@sources"] = list(curves.sources)
    for (label, name), measured in table.measures.items():
        arrays[f"measures/{label}/{name}"] = measured.astype("<f8", copy=False)
    return attributes, arrays


def _digest(attributes: _Attributes, arrays: dict[str, _Array]) -> str:
    """Hash names, types, shapes and bytes, each item preceded by its length."""
    digest = hashlib.sha256()

    def add(data: bytes) -> None:
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)

    for name in sorted(attributes):
        value = attributes[name]
        add(name.encode())
        if isinstance(value, list):
            add(str(len(value)).encode())
        for item in value if isinstance(value, list) else [value]:
            add(str(item).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        add(name.encode())
        add(f"{array.dtype.str} {array.shape}".encode())
        add(array.tobytes())
    return digest.hexdigest()


def _text_column(values: list[str]) -> _Array:
    """Return UTF-8 text as fixed-width bytes padded with NUL, which any HDF5 reader can read."""
    encoded = [value.encode() for value in values]
    return np.array(encoded, dtype=f"S{max(1, *map(len, encoded))}")


def _hyper_parameter_column(values: list[Any], kind: type) -> _Array:
    known = [_UNKNOWN[kind] if value is None else value for value in values]
    return _text_column(known) if kind is str else np.array(known, dtype=_NUMBERS[kind])


def _version(table: Table) -> int:
    """Return the oldest format version that can hold the table."""
    values = [value for s in table.settings for value in s.budget.to_dict().values()]
    known = {"seconds", "parameters", "flops", "latency"}
    other = any(name not in known for _, name in table.measures)
    declared = isinstance(get_space(table.space), DeclaredSpace)
    return 2 if None in values or "step" in values or other or declared else 1


def _write_array(file: h5py.File, name: str, array: _Array) -> None:
    if array.ndim < 3 or array.nbytes < _WORTH_COMPRESSING:
        # Columns are read whenever a table is opened: quick to read is worth more than small.
        file.create_dataset(name, data=array)
        return
    # One (seed, epoch) column over all architectures is one chunk: one read.
    chunks = (1, 1, array.shape[2])
    file.create_dataset(name, data=array, chunks=chunks, compression="gzip", shuffle=True)


def _read(path: Path) -> tuple[Table, str]:
    import h5py

    if not path.is_file():
        raise TableFileError(
            f"no table file at {path}; `bpe-bench tables list` shows what there is"
        )
    with _explaining(path):
        file = h5py.File(path, "r")
        try:
            _check_header(file, path)
            table = _read_content(file, path)
            recorded = str(file.attrs.get("content_sha256", ""))
        except BaseException:
            file.close()
            raise
        if not any(isinstance(c.counts, _StoredCounts) for c in table.curves.values()):
            file.close()
    return table, recorded


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turn the errors of h5py on a damaged file into one line."""
    try:
        yield
    except (OSError, KeyError, RuntimeError) as error:
        results = {".csv": "csv", ".gz": "csv", ".parquet": "parquet"}.get(path.suffix)
        make = "fetch or build it again"
        if results:
            source = shlex.quote(str(path))
            make = f"make it one with: bpe-bench tables import long-{results} {source} -o FILE.h5"
        raise TableFileError(
            f"cannot read {path} as a table: the file is truncated, damaged or not HDF5 "
            f"({reason_of(error)}); {make}"
        ) from error


class _StoredCounts:
    """Counts read from the file column by column; fulfils `CountReader`.

    The file stays open as long as the table exists, so it reads the same content even if
    another file is renamed into its place. The columns read last are kept, up to
    `_CACHED_BYTES` over all curves of the file.
    """

    def __init__(self, dataset: h5py.Dataset, path: Path, most: int, cache: _Cache) -> None:
        self.shape: tuple[int, ...] = dataset.shape
        self._dataset, self._path, self._most, self._cache = dataset, path, most, cache

    def column(self, seed: int, epoch: int) -> CountArray:
        """Return the counts of all architectures, (A,)."""
        key = (id(self), seed, epoch)
        found = self._cache.get(key)
        if found is None:
            found = self._checked(lambda: self._dataset[seed, epoch])
            self._cache.put(key, found)
        return found

    def read(self) -> CountArray:
        """Return all counts, (R, E, A)."""
        return self._checked(lambda: self._dataset[()])

    def _checked(self, read: Callable[[], CountArray]) -> CountArray:
        with _explaining(self._path):
            counts = np.ascontiguousarray(read(), dtype=np.int32)
        try:
            _check_counts(counts, self._most)
        except InvalidTableError as error:
            raise TableFileError(f"{self._path} is not a valid table: {error}") from error
        counts.setflags(write=False)
        return counts


class _Cache:
    """A cache of the arrays used last, up to a number of bytes."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[tuple[int, int, int], CountArray] = OrderedDict()

    def get(self, key: tuple[int, int, int]) -> CountArray | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: tuple[int, int, int], array: CountArray) -> None:
        self._kept[key] = array
        self._bytes += array.nbytes
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


def _check_header(file: h5py.File, path: Path) -> None:
    magic = file.attrs.get("format")
    if not isinstance(magic, str) or magic != _MAGIC:
        raise TableFileError(
            f"{path} is an HDF5 file but not a bpe-bench table: its attribute 'format' should be "
            f"{_MAGIC!r}, found {magic!r}"
        )
    version = file.attrs.get("format_version")
    if not isinstance(version, int | np.integer) or version < 1:
        raise TableFileError(f"{path} has no valid format_version, found {version!r}")
    if version > _FORMAT_VERSION:
        raise TableFileError(
            f"{path} has format version {version}, this bpe-bench reads up to {_FORMAT_VERSION}; "
            "upgrade with: pip install --upgrade bpe-bench"
        )


def _read_content(file: h5py.File, path: Path) -> Table:
    try:
        budgets = _read_budgets(file, path)
        labels = _texts(file, "settings/label", path)
        datasets = _texts(file, "settings/dataset", path)
        devices = _texts(file, "settings/device", path)
        seconds = _array(file, "settings/seconds", path, "f", 1)
        settings = [
            Setting(label, budget, dataset, float(cost), device)
            for label, budget, dataset, cost, device in zip(
                labels, budgets, datasets, seconds, devices, strict=True
            )
        ]
        if "declaration" in file.attrs:
            DeclaredSpace.known(_text(file, "declaration", path))
        space = get_space(_text(file, "space", path))
        texts = _texts(file, "architectures/text", path)
        many = len(texts) > _PARSED_AT_ONCE
        cache = _Cache(_CACHED_BYTES)
        curves: dict[tuple[str, Split], Curves] = {}
        for label in file["curves"]:
            for split in file[f"curves/{label}"]:
                group = f"curves/{label}/{split}"
                curves[label, Split(split)] = _read_curves(file, group, path, cache)
        measures = {
            (label, name): _array(file, f"measures/{label}/{name}", path, "f", 1)
            for label in file["measures"]
            for name in file[f"measures/{label}"]
        }
        return Table(
            space=space.name,
            dataset=_text(file, "dataset", path),
            architectures=(
                _ArchitectureTexts(space.name, texts) if many else tuple(map(space.parse, texts))
            ),
            settings=tuple(settings),
            curves=curves,
            references=tuple(_text_list(file, "references", path)),
            provenance=Provenance(
                **{name: _text(file, name, path) for name in _TEXT_ATTRIBUTES},
                **{name: _text(file, name, path) for name in _UNHASHED_ATTRIBUTES},
            ),
            caveats=tuple(_text_list(file, "caveats", path)),
            measures=measures,
        )
    except TableFileError:
        raise
    except (BpeBenchError, ValueError, TypeError, AttributeError) as error:
        raise TableFileError(f"{path} is not a valid table: {reason_of(error)}") from error


def _read_budgets(file: h5py.File, path: Path) -> list[Budget]:
    columns: list[list[Any]] = []
    for name, fact in HYPER_PARAMETERS.items():
        key = f"settings/{name}"
        found: list[Any] = (
            _texts(file, key, path)
            if fact.type is str
            else _array(file, key, path, _NUMBERS[fact.type][1], 1).tolist()
        )
        if file.attrs["format_version"] > 1:  # before, all hyper-parameters were known
            found = [None if _is_unknown(value, fact.type) else value for value in found]
        columns.append(found)
    rows = zip(*columns, strict=True)
    return [Budget(**dict(zip(HYPER_PARAMETERS, row, strict=True))) for row in rows]


def _is_unknown(value: int | float | str, kind: type) -> bool:
    return value == _UNKNOWN[kind] or value != value  # NaN is not equal to itself


def _read_curves(file: h5py.File, group: str, path: Path, cache: _Cache) -> Curves:
    size, scale = (_whole(file, group, name, path) for name in ("split_size", "scale"))
    found = _dataset(file, f"{group}/correct", path, "i", 3)
    large = found.size * found.dtype.itemsize > _READ_AT_ONCE
    return Curves(
        counts=_StoredCounts(found, path, size * scale, cache) if large else found[()],
        split_size=size,
        scale=scale,
        epochs=_array(file, f"{group}/epochs", path, "i", 1),
        seeds=_array(file, f"{group}/seeds", path, "i", 1),
        sources=tuple(_text_list(file[group], "sources", path)),
    )


def _whole(file: h5py.File, group: str, name: str, path: Path) -> int:
    value = file[group].attrs.get(name)
    if not isinstance(value, np.integer):
        raise TableFileError(
            f"{path} is not a valid table: attribute {name!r} of {group!r} should be a whole "
            f"number, found {value!r}"
        )
    return int(value)


def _array(file: h5py.File, name: str, path: Path, kind: str, dimensions: int) -> _Array:
    return np.asarray(_dataset(file, name, path, kind, dimensions)[()])


def _dataset(file: h5py.File, name: str, path: Path, kind: str, dimensions: int) -> h5py.Dataset:
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise TableFileError(f"{path} is not a valid table: it lacks the array {name!r}")
    dtype, shape = found.dtype, found.shape
    good = dtype.kind == kind and dtype.itemsize == _WIDTHS.get(kind, dtype.itemsize)
    if not good or len(shape) != dimensions:
        raise TableFileError(
            f"{path} is not a valid table: {name!r} should be {dimensions}-dimensional of "
            f"{_KINDS[kind]}, found {len(shape)}-dimensional of {dtype}"
        )
    if math.prod(shape) * dtype.itemsize > _MOST_BYTES:
        raise TableFileError(
            f"{path} is not a valid table: {name!r} claims the shape {shape} of {dtype}, more "
            f"than {_MOST_BYTES} bytes"
        )
    return found


def _texts(file: h5py.File, name: str, path: Path) -> list[str]:
    return [value.decode() for value in _array(file, name, path, "S", 1).tolist()]


def _text(file: h5py.File, name: str, path: Path) -> str:
    value = file.attrs.get(name)
    if not isinstance(value, str):
        raise TableFileError(f"{path} is not a valid table: it lacks the text attribute {name!r}")
    return value


def _text_list(file: h5py.File, name: str, path: Path) -> list[str]:
    value = file.attrs.get(name)
    if value is None:
        raise TableFileError(f"{path} is not a valid table: it lacks the attribute {name!r}")
    return [str(item) for item in np.atleast_1d(value)]
