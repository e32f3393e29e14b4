"""Build the table ``darts-bpe`` from the two published spreadsheets.

100 random DARTS cells trained under 37 budgets and in full (Zheng et al., CVPR
2020). Run as::

    python -m bpe_bench_tables.build.darts_bpe DIRECTORY -o darts-bpe.h5

What has to be known of the spreadsheets, and is handled here:

- Columns are told apart by their place and their 'net' row, not by the row
  above it, where test26 carries the label 'test1'.
- The second 'performance' column of the ground truth repeats the first for 20
  rows. It is a copy, not a second run, and is not read.
- 'Variance' holds the standard deviation and 'Std.' its square root; neither is
  read. Nor are the means of the top ten, of which linear_lr's is on another scale.
- GPU hours were measured on two kinds of GPU; each budget keeps its own.
- Every accuracy has two decimals, so it is a whole number of the 10,000 test
  images: counts store it without loss.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bpe_bench.budget import DARTS_FULL, Budget
from bpe_bench.errors import SourceFileError
from bpe_bench.spaces import Architecture, get_space
from bpe_bench.tables.catalog import entries
from bpe_bench.tables.table import Curves, Provenance, Setting, Split, Table

from ._command import builder_command

NAME = "darts-bpe"
TRUTH_FILE = "Search_Hyperparameters_Results.xlsx"
BUDGET_FILE = "experimantal_stastics.xlsx"
TEST_IMAGES = 10_000
CELLS = 100
BUDGETS = 37

_ROWS = (
    "epoch",
    "batchsize",
    "learning rate",
    "n_layers",
    "fp",
    "channels",
    "cutout_len",
    "image_size",
)
_DEVICES = {"v100": "V100", "2080ti": "RTX 2080 Ti"}

_CAVEATS = (
    "every accuracy is the best CIFAR-10 test accuracy over the epochs of one training, so test "
    "data chose the figures",
    "that full training used the recipe's default hyper-parameters is inferred, not published",
)


def build(directory: Path) -> Table:
    """Return the table made from the spreadsheets in a directory.

    Raises
    ------
    SourceFileError
        If a spreadsheet is missing, is not the published one, or the two
        contradict each other.
    """
    truth_sheet, search_sheet = _sheets(directory, TRUTH_FILE, 2)
    statistics = _sheets(directory, BUDGET_FILE, 2)[1]
    architectures, truth = _ground_truth(truth_sheet)
    settings, counts = _budgets(statistics)
    _agree(search_sheet, settings, counts)
    full = Setting("full", DARTS_FULL, "cifar10")
    curves = {(full.label, Split.TEST): _curves(truth, full)}
    for setting, column in zip(settings, counts.T, strict=True):
        curves[setting.label, Split.TEST] = _curves(column, setting)
    return Table(
        space="darts",
        dataset="cifar10",
        architectures=architectures,
        settings=(full, *settings),
        curves=curves,
        references=(full.label,),
        provenance=Provenance(
            source=f"{TRUTH_FILE} and {BUDGET_FILE}, released with the paper; "
            "github.com/zhengxiawu/rethinking_performance_estimation_in_NAS, commit af83b7aa",
            licence="none stated by the authors; figures only, cited",
            citation="Zheng, Ji, Wang, Ye, Li, Tian, Tian: Rethinking Performance Estimation in "
            "Neural Architecture Search, CVPR 2020, arXiv 2005.09917",
            builder="bpe_bench_tables.build.darts_bpe",
            builder_version=version("bpe-bench"),
        ),
        caveats=_CAVEATS,
    )


def _sheets(directory: Path, name: str, count: int) -> list[list[tuple[Any, ...]]]:
    """Return the first sheets of a workbook as rows of values, after checking its SHA-256."""
    import openpyxl

    path = directory / name
    source = next(s for s in entries()[NAME].sources if s.name == name)
    if not path.is_file():
        raise SourceFileError(f"no {name} in {directory}; it is published at {source.url}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != source.sha256:
        raise SourceFileError(
            f"{path} is not the published file: its SHA-256 should be {source.sha256}, found "
            f"{found}; get it from {source.url}"
        )
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    return [list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets[:count]]


def _ground_truth(sheet: list[tuple[Any, ...]]) -> tuple[tuple[Architecture, ...], Any]:
    """Return the 100 cells and how many test images each got right after full training."""
    rows = sheet[1 : 1 + CELLS]
    expected = [f"Arch_{i}" for i in range(1, CELLS + 1)]
    if [row[0] for row in rows] != expected:
        raise SourceFileError(f"{TRUTH_FILE}: the first column should run from Arch_1 to Arch_100")
    space = get_space("darts")
    return tuple(space.parse(row[1]) for row in rows), _counts([row[2] for row in rows])


def _budgets(sheet: list[tuple[Any, ...]]) -> tuple[list[Setting], Any]:
    """Return the 37 settings and their counts, shape (100, 37)."""
    columns = range(1, 1 + BUDGETS)
    for place, name in enumerate(_ROWS):
        if sheet[place][0] != name:
            raise SourceFileError(f"{BUDGET_FILE}: row {place + 1} should be {name!r}")
    labels = [str(sheet[9][c]) for c in columns]
    hours, devices = _row(sheet, "MeanTime(GPU Hours)"), _row(sheet, "GPU type")
    settings = []
    for place, label in zip(columns, labels, strict=True):
        epochs, batch, rate, layers, bits, channels, cutout, size = (
            sheet[r][place] for r in range(len(_ROWS))
        )
        budget = Budget(
            epochs=epochs,
            batch_size=batch,
            learning_rate=rate,
            lr_schedule="linear" if label.startswith("linear_lr") else "cosine",
            layers=layers,
            channels=channels,
            image_size=size,
            precision="fp16" if bits == 16 else "fp32",
            cutout=cutout,
            data_fraction=0.5 if label.endswith("halfdata") else 1.0,
        )
        seconds = round(float(hours[place]) * 3600, 2)
        settings.append(Setting(label, budget, "cifar10", seconds, _DEVICES[devices[place]]))
    return settings, _counts([[row[c] for c in columns] for row in sheet[10 : 10 + CELLS]])


def _row(sheet: list[tuple[Any, ...]], name: str) -> tuple[Any, ...]:
    found = [row for row in sheet if row[0] == name]
    if len(found) != 1:
        raise SourceFileError(f"{BUDGET_FILE}: expected one row {name!r}, found {len(found)}")
    return found[0]


def _agree(sheet: list[tuple[Any, ...]], settings: list[Setting], counts: Any) -> None:
    """Check the first 32 settings against the other workbook, where they are Task1 to Task32."""
    for task in range(1, 33):
        column = [s.label for s in settings].index(f"test{task}")
        same = np.array_equal(
            _counts([row[task] for row in sheet[10 : 10 + CELLS]]), counts[:, column]
        )
        budget = settings[column].budget
        theirs = tuple(sheet[r][task] for r in range(1, 9))
        ours = (
            budget.epochs, budget.batch_size, budget.learning_rate, budget.layers,
            int(budget.precision[2:]), budget.channels, budget.cutout, budget.image_size,
        )  # fmt: skip
        if not same or theirs != ours:
            raise SourceFileError(f"the two spreadsheets contradict each other on test{task}")


def _counts(percent: Any) -> Any:
    """Return accuracies in per cent as numbers of correct test images."""
    exact = np.asarray(percent, dtype=np.float64) * TEST_IMAGES / 100
    counts = np.rint(exact).astype(np.int32)
    if np.abs(exact - counts).max() > 1e-6:
        raise SourceFileError("an accuracy is not a whole number of the 10,000 test images")
    return counts


def _curves(counts: Any, setting: Setting) -> Curves:
    return Curves(
        counts=counts.reshape(1, 1, -1),
        split_size=TEST_IMAGES,
        epochs=np.array([setting.budget.epochs]),
        seeds=np.array([0]),
    )


main = builder_command(NAME, build)

if __name__ == "__main__":
    main()
