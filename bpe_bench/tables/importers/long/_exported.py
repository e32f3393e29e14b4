"""What ``bpe-bench tables export`` wrote, read again: the same content."""

from __future__ import annotations

import json
import warnings
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....budget import Budget
from ....errors import BpeBenchError, BpeBenchWarning, InvalidTableError, SourceFileError
from ....spaces import DeclaredSpace, get_space
from ...curves import MISSING, Curves, Split
from ...storage import content_hash
from ...table import Provenance, Setting, Table
from .. import Progress
from ._faults import _Array, _Faults, _View
from ._files import _explaining, _LongFile

_COLUMN = ("label", "split", "seed", "epoch")
"""What fixes a column of counts over all architectures."""


def _read_exported(source: Path, facts: Path, file: _LongFile, progress: Progress) -> Table:
    """Read the lines of an exported table with the facts beside them.

    Raises
    ------
    SourceFileError
        If the facts are damaged, or a line does not fit them.

    Warns
    -----
    BpeBenchWarning
        If lines were changed or lost since the export.
    """
    with _explaining(facts):
        known = json.loads(facts.read_text(encoding="utf-8"))
        try:
            table = _table(known, _counts(source, facts, file, known, progress))
            changed = content_hash(table) != known["content_sha256"]
        except (BpeBenchError, LookupError, AttributeError) as error:
            if isinstance(error, SourceFileError):
                raise
            raise SourceFileError(
                f"{facts} is not what `bpe-bench tables export` writes ({error}); export again, "
                "or delete it to import the lines alone"
            ) from error
    if changed:
        warnings.warn(
            f"{source} has not the content that was exported: lines were changed or lost; if that "
            "is not meant, export again",
            BpeBenchWarning,
            stacklevel=2,
        )
    return table


def _counts(
    source: Path, path: Path, file: _LongFile, facts: Mapping[str, Any], progress: Progress
) -> list[_Array]:
    """Return the counts of all curves of the facts in ``path``, each (R, E, A)."""
    faults, networks = _Faults(source, file.unit), facts["architectures"]
    places: dict[str, int] = {text: place for place, text in enumerate(networks)}
    counts: list[_Array] = []
    columns: list[tuple[_Array, int]] = []
    for curves in facts["curves"]:
        seeds, epochs = curves["seeds"], curves["epochs"]
        counts.append(np.full((len(seeds), len(epochs), len(networks)), MISSING, dtype=np.int32))
        for r, e in np.ndindex(len(seeds), len(epochs)):
            key = (curves["label"], curves["split"], seeds[r], epochs[e])
            places[" ".join(map(str, key))] = len(columns)
            columns.append((counts[-1][r, e], curves["scale"]))

    def place(cells: dict[str, str], line: int) -> int:
        key = " ".join(cells.values())
        if key not in places:
            raise InvalidTableError(
                f"{key!r} is not among the facts of {path.name}; delete it to import the lines "
                "alone"
            )
        return places[key]

    answers: dict[Hashable, int | str] = {}
    for chunk in file.chunks((*_COLUMN, "architecture"), (*_COLUMN, "architecture", "correct")):
        view = _View(chunk, faults)
        column = view.places(_COLUMN, place, answers)
        network = view.places(("architecture",), place, answers)
        correct = view.numbers("correct", required=True)
        for which in np.unique(column[view.good]):
            own = (column == which) & view.good
            values, scale = columns[which]
            values[network[own]] = np.rint(correct[own] * scale)
        progress(0.9 * chunk.share)
    faults.stop()
    return counts


def _table(facts: Mapping[str, Any], counts: list[_Array]) -> Table:
    if "declaration" in facts:
        DeclaredSpace.known(facts["declaration"])
    space = get_space(facts["space"])
    settings = [{**s, "budget": Budget(**s["budget"])} for s in facts["settings"]]
    unknown = float("nan")
    return Table(
        space=space.name,
        dataset=facts["dataset"],
        architectures=tuple(map(space.parse, facts["architectures"])),
        settings=tuple(
            Setting(**{**s, "seconds": unknown if s["seconds"] is None else s["seconds"]})
            for s in settings
        ),
        curves={
            (c["label"], Split(c["split"])): Curves(
                found, c["split_size"], c["epochs"], c["seeds"], c["scale"], tuple(c["sources"])
            )
            for c, found in zip(facts["curves"], counts, strict=True)
        },
        references=tuple(facts["references"]),
        provenance=Provenance(**facts["provenance"]),
        caveats=tuple(facts["caveats"]),
        measures={
            (m["label"], m["name"]): np.array(m["values"], dtype=np.float64)
            for m in facts["measures"]
        },
    )
