"""Surrogate files: a ZIP of a JSON header and plain arrays, without any code.

The layout is specified in ``docs/surrogates.md``. A file is written beside its target and
renamed into place. Reading checks everything, so a damaged file gives a one-line error and
never a wrong prediction.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..budget import Budget
from ..errors import BpeBenchError, SurrogateFileError
from ..files import reason_of, replacing, to_json_value
from ..hyper_parameters import check_hyper_parameter
from ..spaces import DeclaredSpace, get_space
from ..tables.table import Setting, Split
from .columns import _Columns
from .crossfit import GROUPINGS, _CrossFitted, _Member
from .fitted import FittedSurrogate
from .forecast import _TargetModel
from .models import _Array, _get_model, _Trend
from .question import TARGETS

_MAGIC = "bpe-bench-surrogate"
_FORMAT_VERSION = 1

_HEADER = "header.json"
_MOST_BYTES = 2**30
"""A file that unpacks to more bytes counts as damaged or hostile."""
_MOST_MEMBERS = 1000
_DATE = (1980, 1, 1, 0, 0, 0)
"""The date of every part, so that the same surrogate gives the same bytes."""
_TEXTS = ("space", "dataset", "split", "statistic", "table", "table_sha256")
_UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, OverflowError,
    MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""Errors of zipfile, json and numpy on damaged input."""


def save_surrogate(path: str | os.PathLike[str], fitted: FittedSurrogate) -> None:
    """Write a surrogate completely, or leave the target as it was.

    Raises
    ------
    SurrogateFileError
        If the file cannot be written.
    """
    target = Path(path)
    try:
        with replacing(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            _write(archive, _HEADER, json.dumps(_header(fitted), indent=1).encode())
            for name, array in _arrays(fitted):
                _write(archive, *_part(name, array))
    except OSError as error:
        raise SurrogateFileError(
            f"cannot write surrogate {target}: {reason_of(error)}; give another file"
        ) from error


def load_surrogate(path: str | os.PathLike[str]) -> FittedSurrogate:
    """Read a surrogate; it predicts the same numbers as before it was written, to the bit.

    Raises
    ------
    SurrogateFileError
        If the file is missing, truncated, not a surrogate, of a newer format version, or
        inconsistent.
    """
    source = Path(path)
    try:
        found = source.is_file()
    except OSError as error:
        raise SurrogateFileError(
            f"cannot read surrogate {source}: {reason_of(error)}; give another file"
        ) from error
    if not found:
        raise SurrogateFileError(
            f"no surrogate file at {source}; make one with: bpe-bench surrogate fit TABLE -o FILE"
        )
    with _explaining(source), zipfile.ZipFile(source) as archive:
        _check_parts(archive.infolist())
        return _read(_read_header(archive), archive)


class _Unusable(Exception):
    """What is wrong with a file, without its name."""


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turn the errors that a damaged file causes into one line."""
    try:
        yield
    except (_Unusable, BpeBenchError) as error:
        reason = str(error)
    except _UNREADABLE as error:
        reason = f"it is truncated, damaged or of another kind ({reason_of(error)})"
    else:
        return
    raise SurrogateFileError(
        f"cannot read {path} as a surrogate: {reason}; fit it again with: bpe-bench surrogate fit"
    )


# --- Writing ---------------------------------------------------------------------------------


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    part = zipfile.ZipInfo(name, _DATE)
    part.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(part, data, compresslevel=6)


def _part(name: str, array: _Array) -> tuple[str, bytes]:
    """Return the name of an array in the file, and its bytes; bytes are not changed."""
    if array.dtype == np.uint8:
        return name, array.tobytes()
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return f"{name}.npy", buffer.getvalue()


def _header(fitted: FittedSurrogate) -> dict[str, Any]:
    space = get_space(fitted.space)
    declared = {"declaration": space.declaration} if isinstance(space, DeclaredSpace) else {}
    return {
        "format": _MAGIC,
        "format_version": _FORMAT_VERSION,
        **{name: getattr(fitted, name) for name in _TEXTS},
        **declared,
        "n_architectures": fitted.n_architectures,
        "versions": dict(fitted.versions),
        "notes": list(fitted.notes),
        "settings": [_setting_to_json(setting) for setting in fitted.settings],
        "models": {target: _model_to_json(model) for target, model in fitted.models.items()},
    }


def _setting_to_json(setting: Setting) -> dict[str, Any]:
    return {
        "label": setting.label,
        "budget": setting.budget.to_dict(),
        "dataset": setting.dataset,
        "seconds": to_json_value(setting.seconds),
        "device": setting.device,
    }


def _model_to_json(model: _TargetModel) -> dict[str, Any]:
    columns = model.columns
    return {
        "model": model.model,
        "trend": TARGETS[model.target].trend,
        "encoding": columns.encoding,
        "given": list(columns.given),
        "hyper_parameters": list(columns.hyper_parameters),
        "devices": list(columns.devices),
        "columns": list(columns.names),
        "settings": [setting.label for setting in model.settings],
        "members": {grouping: len(one.members) for grouping, one in model.ensembles.items()},
    }


def _arrays(fitted: FittedSurrogate) -> Iterator[tuple[str, _Array]]:
    """Give every array with its name in the file: TARGET/GROUPING/(MEMBER/)ARRAY."""
    for target, model in fitted.models.items():
        for grouping, ensemble in model.ensembles.items():
            folder = f"{target}/{grouping}"
            yield f"{folder}/fold", ensemble.fold.astype("<i8")
            yield f"{folder}/residuals", ensemble.residuals.astype("<f8")
            for place, member in enumerate(ensemble.members):
                for name, array in member.regression.to_arrays().items():
                    yield f"{folder}/{place}/{name}", array
                if member.trend is not None:
                    line = np.array([member.trend.intercept, *member.trend.slopes], dtype="<f8")
                    yield f"{folder}/{place}/trend", line


# --- Reading ---------------------------------------------------------------------------------


def _check_parts(parts: Sequence[zipfile.ZipInfo]) -> None:
    size = sum(part.file_size for part in parts)
    _require(size <= _MOST_BYTES, f"it claims to hold {size} bytes, more than {_MOST_BYTES}")
    kinds = {part.compress_type for part in parts}
    _require(kinds <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}, "it is compressed otherwise")


def _read_header(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    if _HEADER not in archive.namelist():
        raise _Unusable(f"it is a ZIP file without {_HEADER}, so it is not a surrogate")
    header = json.loads(archive.read(_HEADER))
    magic = header.get("format") if isinstance(header, dict) else None
    if magic != _MAGIC:
        raise _Unusable(f"its format should be {_MAGIC!r}, found {magic!r}")
    found = header.get("format_version")
    if not isinstance(found, int) or found < 1:
        raise _Unusable(f"its format version should be {_FORMAT_VERSION}, found {found!r}")
    if found > _FORMAT_VERSION:
        raise _Unusable(
            f"it is of format version {found}, and this bpe-bench reads {_FORMAT_VERSION}: "
            "install a newer one"
        )
    return dict(header)


def _read(header: Mapping[str, Any], archive: zipfile.ZipFile) -> FittedSurrogate:
    texts = {name: _text(header[name], name) for name in _TEXTS}
    if "declaration" in header:
        DeclaredSpace.known(_text(header["declaration"], "declaration"))
    get_space(texts["space"])
    if texts["split"]:
        Split(texts["split"])
    settings = tuple(_setting(value) for value in header["settings"])
    _require(bool(settings), "it has no settings")
    models = {target: _model(target, value, texts["space"], settings, archive)
              for target, value in header["models"].items()}  # fmt: skip
    _require(bool(models), "it has no models")
    return FittedSurrogate(
        models=models,
        settings=settings,
        n_architectures=_whole(header["n_architectures"], "n_architectures", 2**40),
        versions={str(k): _text(v, "versions") for k, v in header["versions"].items()},
        notes=tuple(_text(note, "notes") for note in header["notes"]),
        **texts,
    )


def _setting(value: Mapping[str, Any]) -> Setting:
    seconds = value["seconds"]
    return Setting(
        label=_text(value["label"], "label"),
        budget=Budget(**value["budget"]),
        dataset=_text(value["dataset"], "dataset"),
        seconds=math.nan if seconds is None else float(seconds),
        device=_text(value["device"], "device"),
    )


def _model(
    target: str,
    value: Mapping[str, Any],
    space: str,
    settings: Sequence[Setting],
    archive: zipfile.ZipFile,
) -> _TargetModel:
    name = next((known for known in TARGETS if known == target), None)
    if name is None:
        raise _Unusable(f"it predicts {target!r}, which is not a known quantity")
    columns = _Columns(
        space,
        _text(value["encoding"], "encoding"),
        _texts(value["given"], "given"),
        _texts(value["hyper_parameters"], "hyper_parameters"),
        _texts(value["devices"], "devices"),
    )
    for hyper_parameter in columns.hyper_parameters:
        check_hyper_parameter(hyper_parameter)
    _require(
        list(columns.names) == value["columns"],
        f"it describes {target} by columns that this bpe-bench does not use",
    )
    kind = _get_model(value["model"])
    ensembles = {
        grouping: _ensemble(f"{target}/{grouping}", count, columns, kind.from_arrays,
                            bool(value["trend"]), archive)
        for grouping in GROUPINGS
        if (count := value["members"].get(grouping)) is not None
    }  # fmt: skip
    wanted = "architecture" if columns.encoding else "budget"
    _require(wanted in ensembles, f"it has no members for {target} by {wanted}")
    known = _settings_of(name, value, settings)
    return _TargetModel(name, value["model"], columns, ensembles, known)


def _settings_of(
    target: str, value: Mapping[str, Any], settings: Sequence[Setting]
) -> tuple[Setting, ...]:
    """Return the settings for which a quantity is known; early files do not name them."""
    if "settings" not in value:
        costly = tuple(s for s in settings if math.isfinite(s.seconds))
        return costly if target == "cost" and costly else tuple(settings)
    labels = _texts(value["settings"], "settings")
    known = tuple(setting for setting in settings if setting.label in labels)
    _require(
        bool(labels) and sorted(labels) == sorted(s.label for s in known),
        f"it predicts {target} from settings that it does not have",
    )
    return known


def _ensemble(
    folder: str,
    count: object,
    columns: _Columns,
    from_arrays: Callable[[Mapping[str, _Array], int], Any],
    trend: bool,
    archive: zipfile.ZipFile,
) -> _CrossFitted:
    members = []
    for place in range(_whole(count, "members", _MOST_MEMBERS)):
        arrays = _read_arrays(archive, f"{folder}/{place}/")
        line = arrays.pop("trend", None)
        _require((line is not None) == trend, f"{folder}/{place} should have a trend or should not")
        regression = from_arrays(arrays, len(columns.names))
        members.append(_Member(regression, None if line is None else _trend(line, columns)))
    arrays = _read_arrays(archive, f"{folder}/")
    fold, residuals = arrays["fold"], arrays["residuals"]
    _require(
        (fold.dtype.str, residuals.dtype.str) == ("<i8", "<f8")
        and fold.ndim == 1
        and fold.shape == residuals.shape
        and bool(np.all((fold >= 0) & (fold < len(members))))
        and bool(np.all(np.isfinite(residuals) & (residuals >= 0))),
        f"{folder} has invalid residuals",
    )
    return _CrossFitted(tuple(members), fold, residuals)


def _trend(line: _Array, columns: _Columns) -> _Trend:
    _require(
        line.dtype.str == "<f8"
        and line.shape == (1 + len(columns.names),)
        and bool(np.all(np.isfinite(line))),
        "a trend has a wrong number of coefficients",
    )
    return _Trend(float(line[0]), line[1:])


def _read_arrays(archive: zipfile.ZipFile, folder: str) -> dict[str, _Array]:
    """Return the arrays directly in a folder of the file, by name."""
    arrays: dict[str, _Array] = {}
    for name in archive.namelist():
        rest = name.removeprefix(folder)
        if rest == name or "/" in rest:
            continue
        data = archive.read(name)
        if rest.endswith(".npy"):
            array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
            arrays[rest.removesuffix(".npy")] = array
        else:
            arrays[rest] = np.frombuffer(data, dtype=np.uint8)
    return arrays


def _require(good: bool, otherwise: str) -> None:
    if not good:
        raise _Unusable(otherwise)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _Unusable(f"{name} should be text, found {value!r:.40}")
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _Unusable(f"{name} should be a list of texts, found {value!r:.40}")
    return tuple(_text(item, name) for item in value)


def _whole(value: object, name: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise _Unusable(f"{name} should be a whole number from 1 to {most}, found {value!r:.40}")
    return value
