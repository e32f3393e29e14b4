"""Decoded images on disk: read at once the second time, and by all workers from the same memory.

A data set is a folder of plain ``.npy`` files. It is filled under another name
and renamed when it is whole, so that nobody ever sees half of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import BpeBenchWarning, SourceFileError
from ._pixels import ImageData, Images

LAYOUT = "1"
"""Goes up when decoding or the layout of the folder changes: what is there is decoded anew."""
_DESCRIPTION = "images.json"


def _cache_key(kind: str, root: Path, files: Sequence[Path]) -> str:
    """Return what a source is kept under: a SHA-256 of its files' names and contents.

    Raises
    ------
    SourceFileError
        If a file cannot be read.
    """
    whole = hashlib.sha256(f"{LAYOUT} {kind}".encode())
    for file in files:
        try:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").digest()
        except OSError as error:
            raise SourceFileError(f"{file} cannot be read: {error.strerror or error}") from error
        whole.update(f"\0{file.relative_to(root).as_posix()}\0".encode(errors="surrogateescape"))
        whole.update(content)
    return whole.hexdigest()


def _load_cached(folder: Path) -> ImageData | None:
    """Return what a folder holds, mapped into memory, or None if it is not there or not whole."""
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
    """Keep a data set; where that is not possible, warn and go on without."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".{folder.name[:16]}-", ignore_cleanup_errors=True
        ) as scratch:
            filled = Path(scratch) / "filled"
            _fill(data, filled)
            _put(filled, folder)
    except OSError as error:
        reason = error.strerror or error
        warnings.warn(
            f"the decoded images cannot be kept in {folder.parent} ({reason}); they will be "
            "decoded again next time",
            BpeBenchWarning,
            stacklevel=3,
        )


def _fill(data: ImageData, folder: Path) -> None:
    folder.mkdir()
    for split in _SPLITS:
        part: Images = getattr(data, split)
        for what in _ARRAYS:
            with (folder / f"{split}-{what}.npy").open("wb") as stream:
                np.save(stream, getattr(part, what), allow_pickle=False)
                stream.flush()
                os.fsync(stream.fileno())
    about = {"name": data.name, "classes": data.classes, "mirrors": data.mirrors}
    (folder / _DESCRIPTION).write_text(json.dumps(about) + "\n", encoding="utf-8")


def _put(filled: Path, folder: Path) -> None:
    """Rename a folder to its place, unless a whole one got there first."""
    try:
        filled.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        if _load_cached(folder) is None:  # a damaged one is in the way
            shutil.rmtree(folder, ignore_errors=True)
            filled.rename(folder)
