"""Checkpoint files: the state of one training, written completely or not at all.

The first line names the format. The SHA-256 of the rest follows, then the rest as `torch.save`
writes it: the description of the training and its state.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import TrainingError
from ..files import reason_of, write_whole

_HEAD = b"bpe-bench checkpoint 1\n"
_DIGEST = hashlib.sha256().digest_size
_MEANWHILE = "remove it, or choose another file"


def _read_checkpoint(
    path: Path, content: Mapping[str, Any], device: str | torch.device = "cpu"
) -> dict[str, Any] | None:
    """Return the state in a file, or None if there is no file yet.

    Parameters
    ----------
    path
        The file.
    content
        Description of the training: names and plain values.
    device
        Where tensors are put.

    Raises
    ------
    TrainingError
        If its folder is missing, or the file cannot be read, is damaged or not a checkpoint, or
        belongs to another training.
    """
    if not path.parent.is_dir():
        raise TrainingError(f"no folder {path.parent} for the checkpoint {path}")
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {reason_of(error)}") from error
    whole = written[len(_HEAD) + _DIGEST :]
    digest = written[len(_HEAD) : len(_HEAD) + _DIGEST]
    if not written.startswith(_HEAD) or hashlib.sha256(whole).digest() != digest:
        raise TrainingError(f"{path} is not a checkpoint, or is damaged; {_MEANWHILE}")
    try:
        kept = torch.load(io.BytesIO(whole), map_location=device, weights_only=True)
        found, state = dict(kept["content"]), dict(kept["state"])
    except (RuntimeError, KeyError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is not a readable checkpoint; {_MEANWHILE}") from error
    _compare(path, found, content)
    return state


def _write_checkpoint(path: Path, content: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace a file by one with a state; a reader sees the old or the new file, complete.

    Raises
    ------
    TrainingError
        If it cannot be written; the previous file stays.
    """
    buffer = io.BytesIO()
    torch.save({"content": dict(content), "state": dict(state)}, buffer)
    whole = buffer.getvalue()
    try:
        write_whole(path, _HEAD + hashlib.sha256(whole).digest() + whole)
    except OSError as error:
        raise TrainingError(f"{path} cannot be written: {reason_of(error)}") from error


def _compare(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse the checkpoint of another training, with the differences."""
    differences = [
        f"{name} is {found.get(name)!r} there and {wanted.get(name)!r} here"
        for name in dict.fromkeys([*wanted, *found])
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise TrainingError(
            f"{path} is the checkpoint of another training: {', '.join(differences)}; {_MEANWHILE}"
        )
