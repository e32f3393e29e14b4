"""What ``bpe-bench tables export`` wrote, read again: the same content."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....budget import Budget
from ....errors import BpeBenchError, InvalidTableError, SourceFileError
from ....spaces import DeclaredSpace, get_space
from ...curves import MEAN_OF_SEEDS, MISSING, Curves, Split
from ...table import Provenance, Setting, Table
from .. import Progress
from ._faults import _Array, _Faults, _View
from ._files import _explaining, _LongFile

_TEXTS = ("label", "split", "architecture")
_COLUMNS = (*_TEXTS, "seed", "epoch", "correct")


def _read_exported(source: Path, facts: Path, file: _LongFile, progress: Progress) -> Table:
    """Read the lines of an exported table with the facts beside them.

    Raises
    ------
    SourceFileError
        If the facts are damaged, or a line does not fit them.
    """
    with _explaining(facts):
        known = json.loads(facts.read_text(encoding="utf-8"))
        try:
            return _table(known, _Lines(source, file, facts, known).counts(progress))
        except (BpeBenchError, LookupError, AttributeError) as error:
            if isinstance(error, SourceFileError):
                raise
            raise SourceFileError(
                f"{facts} is not what `bpe-bench tables export` writes ({error}); export again, "
                "or delete it to import the lines alone"
            ) from error


class _Lines:
    """The lines of an exported table, and where the facts say that each belongs."""

    def __init__(self, source: Path, file: _LongFile, path: Path, facts: Mapping[str, Any]) -> None:
        self._file, self._path = file, path
        self._faults = _Faults(source, file.unit)
        self._curves = [
            (np.array(c["seeds"], dtype=np.int64), np.array(c["epochs"], dtype=np.int64), c)
            for c in facts["curves"]
        ]
        keys = [(curves["label"], curves["split"]) for curves in facts["curves"]]
        self._places: dict[Any, int] = {key: place for place, key in enumerate(keys)}
        self._places |= {text: place for place, text in enumerate(facts["architectures"])}
        shapes = [(s.size, e.size, len(facts["architectures"])) for s, e, _ in self._curves]
        self._counts: list[_Array] = [np.full(shape, MISSING, dtype=np.int32) for shape in shapes]

    def counts(self, progress: Progress) -> list[_Array]:
        """Return the counts of all curves, each (R, E, A)."""
        answers: dict[Hashable, int | str] = {}
        for chunk in self._file.chunks(_TEXTS, _COLUMNS):
            view = _View(chunk, self._faults)
            curves = view.places(("label", "split"), self._curve, answers)
            architecture = view.places(("architecture",), self._architecture, answers)
            seed, epoch = view.whole("seed", MEAN_OF_SEEDS), view.whole("epoch", 1)
            correct = view.numbers("correct", required=True)
            for place in np.unique(curves[view.good]):
                seeds, epochs, facts = self._curves[place]
                own = np.flatnonzero((curves == place) & view.good)
                order = np.argsort(seeds, kind="stable")
                r = order[np.searchsorted(seeds[order], seed[own]).clip(0, seeds.size - 1)]
                e = np.searchsorted(epochs, epoch[own]).clip(0, epochs.size - 1)
                bad = np.zeros(view.good.size, dtype=bool)
                bad[own] = (seeds[r] != seed[own]) | (epochs[e] != epoch[own])
                said = f"seed {{}} and epoch {{}} are not among those of {self._path.name}; delete "
                view.refuse(bad, said + "it to import the lines alone", seed, epoch)
                good = ~bad[own]
                found = np.rint(correct[own] * facts["scale"])[good]
                self._counts[place][r[good], e[good], architecture[own][good]] = found
            progress(0.9 * chunk.share)
        self._faults.stop()
        return self._counts

    def _curve(self, cells: dict[str, str], line: int) -> int:
        return self._known((cells.get("label"), cells.get("split")))

    def _architecture(self, cells: dict[str, str], line: int) -> int:
        return self._known(cells.get("architecture"))

    def _known(self, key: Any) -> int:
        if key not in self._places:
            raise InvalidTableError(
                f"{key!r} is not among the facts of {self._path.name}; delete it to import the "
                "lines alone"
            )
        return self._places[key]


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
