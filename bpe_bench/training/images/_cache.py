"""_Decoded images on disk, which later runs and all workers map into memory.

A data set is a folder of plain ``.npy`` files, each written whole. Its description comes
last: without one there is nothing to load.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import BpeBenchWarning, SourceFileError
from ...files import reason_of, replacing, write_whole
from ._pixels import ImageData, Images

_LAYOUT = "1"
"""Goes up when decoding or the layout of the folder changes; then images are decoded anew."""
_DESCRIPTION = "images.json"


def _cache_key(kind: str, root: Path, files: Sequence[Path]) -> str:
    """Return the key of a source: a SHA-256 of its files' names and contents.

    Raises
    ------
    SourceFileError
        If a file cannot be read.
    """
    whole = hashlib.sha256(f"{_LAYOUT} {kind}".encode())
    for file in files:
        try:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").digest()
        except OSError as error:
            raise SourceFileError(f"{file} cannot be read: {reason_of(error)}") from error
        whole.update(f"\0{file.relative_to(root).as_posix()}\0".encode(errors="surrogateescape"))
        whole.update(content)
    return whole.hexdigest()


def _load_cached(folder: Path) -> ImageData | None:
    """Return the data set in a folder, mapped into memory; None if missing or incomplete."""
    try:
        about = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        train, test = (
            # Copy on write: torch wants arrays that it could write to. Nothing reaches the file.
            Images(*(np.load(folder / f"{split}-{what}.npy", mmap_mode="c") for what in _ARRAYS))
            for split in _SPLITS
        )
        return ImageData(about["name"], about["classes"], train, test, about["mirrors"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        # SourceFileError is a ValueError. Whatever is wrong, the source is still there.
        return None


_SPLITS = ("train", "test")
_ARRAYS = ("pixels", "labels")


def _store(data: ImageData, folder: Path) -> None:
    """Keep a data set; if that is not possible, warn and continue without."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fill(data, folder)
    except OSError as error:
        warnings.warn(
            f"the decoded images cannot be kept in {folder.parent} ({reason_of(error)}); they will "
            "be decoded again next time",
            BpeBenchWarning,
            stacklevel=3,
        )


def _fill(data: ImageData, folder: Path) -> None:
    for split in _SPLITS:
        part: Images = getattr(data, split)
        for what in _ARRAYS:
            with (
                replacing(folder / f"{split}-{what}.npy") as temporary,
                temporary.open("wb") as stream,
            ):
                np.save(stream, getattr(part, what), allow_pickle=False)
    about = {"name": data.name, "classes": data.classes, "mirrors": data.mirrors}
    write_whole(folder / _DESCRIPTION, json.dumps(about) + "\n")
