"""A file that keeps the state of a training: whole or not at all, and of that training only.

Its first line says what it is; then come the SHA-256 of the rest, and the rest as
`torch.save` writes it: what the training is made of, and its state.
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
    """Return the state that a file keeps, or None if there is no file yet.

    Parameters
    ----------
    path
        The file.
    content
        What the training is made of: names and plain values.
    device
        Where tensors are put.

    Raises
    ------
    TrainingError
        If its folder is not there, it cannot be read, is something else or damaged,
        or is of a training that is made of something else.
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
        raise TrainingError(f"{path} is no checkpoint, or a damaged one; {_MEANWHILE}")
    try:
        kept = torch.load(io.BytesIO(whole), map_location=device, weights_only=True)
        found, state = dict(kept["content"]), dict(kept["state"])
    except (RuntimeError, KeyError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is no checkpoint that can be read; {_MEANWHILE}") from error
    _compare(path, found, content)
    return state


def _write_checkpoint(path: Path, content: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace a file by one that keeps a state; a reader sees the one or the other, whole.

    Raises
    ------
    TrainingError
        If it cannot be written; what was there before is still there.
    """
    buffer = io.BytesIO()
    torch.save({"content": dict(content), "state": dict(state)}, buffer)
    whole = buffer.getvalue()
    try:
        write_whole(path, _HEAD + hashlib.sha256(whole).digest() + whole)
    except OSError as error:
        raise TrainingError(f"{path} cannot be written: {reason_of(error)}") from error


def _compare(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse the checkpoint of another training, saying in what it differs."""
    differences = [
        f"{name} is {found.get(name)!r} there and {wanted.get(name)!r} here"
        for name in dict.fromkeys([*wanted, *found])
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise TrainingError(
            f"{path} is the checkpoint of another training: {', '.join(differences)}; {_MEANWHILE}"
        )
