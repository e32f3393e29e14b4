"""Build the table ``darts-proxy`` from the journal of this project's own trainings.

Cells of ``darts-bpe`` trained under reduced budgets, beside the published
accuracy of their full training. The journal is not published; the table that
ships was made with::

    python -m bpe_bench_tables.build.darts_proxy DIRECTORY -o darts-proxy.h5

where DIRECTORY holds ``darts-proxy.sqlite``, the store of the trainings that
``docs/training.md`` names.
"""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bpe_bench.errors import SourceFileError
from bpe_bench.tables.catalog import open_table
from bpe_bench.tables.curves import Curves, Split
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.table import Provenance, Table

from ._command import builder_command

NAME = "darts-proxy"
JOURNAL = "darts-proxy.sqlite"


def build(directory: Path) -> Table:
    """Return the table of the journal in a directory, with the published reference.

    Raises
    ------
    SourceFileError
        If the journal is not there, or a cell of it is not one of ``darts-bpe``.
    """
    path = directory / JOURNAL
    if not path.is_file():
        raise SourceFileError(
            f"no {JOURNAL} in {directory}; it is the store of this project's own trainings and not "
            "published, and the table made of it ships with bpe-bench"
        )
    trained = get_importer("journal").read(path)
    published = open_table("darts-bpe")
    full = published.reference()
    places = [published.index(cell) for cell in trained.architectures]
    truth = published.curves_of(full.label, Split.TEST)
    reference = Curves(
        counts=truth.all_counts()[:, :, np.array(places)],
        split_size=truth.split_size,
        epochs=truth.epochs,
        seeds=truth.seeds,
        sources=(published.provenance.citation,),
    )
    return dataclasses.replace(
        trained,
        settings=(full, *trained.settings),
        curves={(full.label, Split.TEST): reference, **trained.curves},
        references=(full.label,),
        provenance=Provenance(
            source=f"{trained.provenance.source}; the reference: {published.provenance.source}",
            licence="own trainings: Apache-2.0; the reference: " + published.provenance.licence,
            citation=f"bpe-bench; the reference: {published.provenance.citation}",
            builder="bpe_bench_tables.build.darts_proxy",
            builder_version=version("bpe-bench"),
        ),
        caveats=(
            *trained.caveats,
            "trained on a JPEG-coded copy of CIFAR-10, on a tenth of the images and few epochs: "
            "accuracies are far below those of full training and not comparable with others",
            "the reference is published: best test accuracy over the epochs, on lossless images",
            "seconds are of one process of two, on a machine of two cores that did other work, "
            "too, at times",
        ),
    )


main = builder_command(NAME, build)

if __name__ == "__main__":
    main()
