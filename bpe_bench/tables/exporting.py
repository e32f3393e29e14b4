"""Tables as text, a line per training and recorded epoch, in bounded memory.

The columns are those of the long form (``docs/importing.md``). What lines cannot say, such
as licence, order and missing architectures, goes to a file of facts beside them; with both
the import has the same content as the table.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from ..errors import TableFileError
from ..files import reason_of, replacing, to_json_value
from ..hyper_parameters import HYPER_PARAMETERS, written
from ..spaces import DeclaredSpace, get_space
from .curves import MISSING, FloatArray
from .storage import content_hash
from .table import Table

_FORMAT = "bpe-bench-facts"
_FIXED = (
    "label", "space", "dataset", *HYPER_PARAMETERS, "device", "reference", "split", "split_size",
    "seed", "epoch",
)  # fmt: skip
"""Columns that are the same for all architectures of a block."""
_COLUMNS = (*_FIXED, "architecture", "correct", "accuracy", "seconds")


def facts_path(path: str | os.PathLike[str]) -> Path:
    """Return the file of facts that belongs to a file of lines, compressed or not.

    Examples
    --------
    >>> facts_path("a.csv.gz").name
    'a.csv.facts.json'
    """
    return Path(f"{os.fspath(path).removesuffix('.gz')}.facts.json")


def export_table(table: Table, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV, compressed if ``path`` ends with ``.gz``, and the facts beside it.

    Raises
    ------
    TableFileError
        If a file cannot be written.
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as raw:
            packed = os.fspath(path).endswith(".gz")
            binary = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if packed else raw
            with io.TextIOWrapper(cast(BinaryIO, binary), encoding="utf-8", newline="") as file:
                file.writelines(lines_of(table, "csv"))
        with replacing(facts_path(path)) as temporary:
            temporary.write_text(json.dumps(_facts(table), ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise TableFileError(
            f"cannot write {path}: {reason_of(error)}; give another file with -o"
        ) from error


def lines_of(table: Table, style: str) -> Iterator[str]:
    """Yield a table as text, as many lines at a time as it has architectures.

    Parameters
    ----------
    table
        What to write.
    style
        ``csv``, ``json`` (an object per line) or ``table`` (aligned for the eye).
    """
    space = get_space(table.space)
    row, cell, ending = _STYLES[style]
    texts = [cell("architecture", space.format(a)) for a in table.architectures]
    if style == "table":
        widest = max(map(len, texts))
        texts = [text.ljust(widest) for text in texts]
        head = _table_row({name: name for name in _COLUMNS}) + "architecture".ljust(widest)
        yield f"{head}  correct accuracy seconds\n"
    if style == "csv":
        yield f"{','.join(_COLUMNS)}\n"
    for setting in table.settings:
        costs = table.measures.get((setting.label, "seconds"))
        seconds = _cells(costs, len(texts), style)
        fixed: dict[str, Any] = {"label": setting.label, "space": table.space}
        fixed |= {"dataset": setting.dataset, **setting.budget.to_dict(), "device": setting.device}
        fixed["reference"] = setting.label in table.references
        for split in table.splits(setting.label):
            curves = table.curves[setting.label, split]
            fixed |= {"split": str(split), "split_size": curves.split_size}
            for r, seed in enumerate(curves.seeds.tolist()):
                for e, epoch in enumerate(curves.epochs.tolist()):
                    counts = curves.column(r, e)
                    known = np.flatnonzero(counts != MISSING)
                    shares = (counts[known] / curves.most).tolist()
                    images = counts[known] if curves.scale == 1 else counts[known] / curves.scale
                    start = row({**fixed, "seed": seed, "epoch": epoch})
                    yield "".join(
                        f"{start}{texts[a]}{ending.format(correct, share, seconds[a])}"
                        for a, correct, share in zip(
                            known.tolist(), images.tolist(), shares, strict=True
                        )
                    )


def _cells(values: FloatArray | None, number: int, style: str) -> list[str]:
    """Return numbers as text, what is unknown as the style has it."""
    unknown = "null" if style == "json" else "" if style == "csv" else "-"
    if values is None:
        return [unknown] * number
    return [unknown if value != value else repr(value) for value in values.tolist()]


def _csv_row(values: Mapping[str, Any]) -> str:
    text = io.StringIO()
    shown = (str(v).lower() if isinstance(v, bool) else written(v) for v in values.values())
    csv.writer(text, lineterminator="").writerow(shown)
    return f"{text.getvalue()},"


def _json_row(values: Mapping[str, Any]) -> str:
    return f"{json.dumps(values, ensure_ascii=False)[:-1]}, "


def _table_row(values: Mapping[str, Any]) -> str:
    shown = ("label", "dataset", "split", "seed", "epoch")
    return "".join(f"{values[name]!s:<12} " for name in shown)


_Row = Callable[[Mapping[str, Any]], str]
_STYLES: Mapping[str, tuple[_Row, Callable[[str, str], str], str]] = {
    "csv": (_csv_row, lambda name, text: _csv_row({name: text}), "{},{!r},{}\n"),
    "json": (
        _json_row,
        lambda name, text: _json_row({name: text})[1:],
        '"correct": {}, "accuracy": {!r}, "seconds": {}}}\n',
    ),
    "table": (_table_row, lambda name, text: text, " {:>8} {:.6f} {}\n"),
}
"""By style: the start of a line, the architecture in it, and its end."""


def _facts(table: Table) -> dict[str, Any]:
    """Return all of a table but its counts, as JSON values."""
    space = get_space(table.space)
    declared = {"declaration": space.declaration} if isinstance(space, DeclaredSpace) else {}
    facts = {
        "format": _FORMAT,
        "format_version": 1,
        "content_sha256": content_hash(table),
        "space": table.space,
        **declared,
        "dataset": table.dataset,
        "references": table.references,
        "caveats": table.caveats,
        "provenance": vars(table.provenance),
        "architectures": [space.format(a) for a in table.architectures],
        "settings": table.settings,
        "curves": [
            {
                "label": label,
                "split": str(split),
                **{n: getattr(curves, n) for n in ("split_size", "scale", "seeds", "epochs")},
                "sources": curves.sources,
            }
            for (label, split), curves in table.curves.items()
        ],
        "measures": [
            {"label": label, "name": name, "values": values}
            for (label, name), values in table.measures.items()
        ],
    }
    found: dict[str, Any] = to_json_value(facts)
    return found
