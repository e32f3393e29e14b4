"""Facts of NAS-Bench-201 that all of its importers share (Dong & Yang, ICLR 2020).

Official names say what a network was trained on: ``cifar10-valid`` on half of
CIFAR-10's training images, validated on the other half; ``cifar10`` on all of
them. Here both belong to the data set ``cifar10`` and differ in their budget's
data fraction; their settings keep the official names as labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bpe_bench.budget import Budget
from bpe_bench.spaces import Architecture
from bpe_bench.tables.curves import Curves, FloatArray, Split
from bpe_bench.tables.table import Provenance, Setting, Table

SPACE = "nas-bench-201"
SCHEDULES = (12, 200)
NETWORKS = 15_625
DEVICE = "GPU of NAS-Bench-201"
CITATION = (
    "Dong, Yang: NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, "
    "ICLR 2020, arXiv 2001.00326"
)

DATASETS: Mapping[str, str] = MappingProxyType(
    {
        "cifar10-valid": "cifar10",
        "cifar10": "cifar10",
        "cifar100": "cifar100",
        "ImageNet16-120": "ImageNet16-120",
    }
)
"""Data sets by the official name of what a network was trained on."""

SPLIT_SIZES: Mapping[tuple[str, Split], int] = MappingProxyType(
    {
        ("cifar10-valid", Split.TRAIN): 25_000,
        ("cifar10-valid", Split.VALIDATION): 25_000,
        ("cifar10-valid", Split.TEST): 10_000,
        ("cifar10", Split.TRAIN): 50_000,
        ("cifar10", Split.TEST): 10_000,
        ("cifar100", Split.TRAIN): 50_000,
        ("cifar100", Split.VALIDATION): 5_000,
        ("cifar100", Split.TEST): 5_000,
        ("cifar100", Split.HELDOUT): 10_000,
        ("ImageNet16-120", Split.TRAIN): 151_700,
        ("ImageNet16-120", Split.VALIDATION): 3_000,
        ("ImageNet16-120", Split.TEST): 3_000,
        ("ImageNet16-120", Split.HELDOUT): 6_000,
    }
)
"""Images by official name and split."""

SPLITS: Mapping[tuple[str, str], Split] = MappingProxyType(
    {
        ("cifar10-valid", "x-valid"): Split.VALIDATION,
        ("cifar10-valid", "ori-test"): Split.TEST,
        ("cifar10", "ori-test"): Split.TEST,
        **{
            (name, official): split
            for name in ("cifar100", "ImageNet16-120")
            for official, split in (
                ("x-valid", Split.VALIDATION),
                ("x-test", Split.TEST),
                ("ori-test", Split.HELDOUT),
            )
        },
    }
)
"""Splits by the official names of what was trained on and evaluated on."""


def label_of(official: str, epochs: int) -> str:
    """Return a setting's label, for instance ``cifar10-valid-200``."""
    return f"{official}-{epochs}"


def setting_of(official: str, epochs: int, seconds: float = math.nan) -> Setting:
    """Return the setting of an official data set name and schedule.

    ``seconds`` is the mean over networks of the training time of the schedule.
    The network has 3 stages of 5 cells and 2 residual blocks, 17 layers in all.
    """
    budget = Budget(
        epochs=epochs,
        batch_size=256,
        learning_rate=0.1,
        layers=17,
        channels=16,
        image_size=16 if official == "ImageNet16-120" else 32,
        data_fraction=0.5 if official == "cifar10-valid" else 1.0,
    )
    device = "" if math.isnan(seconds) else DEVICE
    return Setting(label_of(official, epochs), budget, DATASETS[official], seconds, device)


def table_of(
    architectures: Sequence[Architecture],
    curves: Mapping[tuple[str, Split], Curves],
    provenance: Provenance,
    *,
    measures: Mapping[tuple[str, str], FloatArray] | None = None,
    caveats: Sequence[str] = (),
) -> Table:
    """Return the table of what was read; settings and references follow from the labels.

    Full training is the 200-epoch schedule: for CIFAR-10 ``cifar10-valid-200`` if it is there,
    because it has a validation split, else ``cifar10-200``.
    """
    import numpy as np

    measures = measures or {}
    labels = {label for label, _ in (*curves, *measures)}
    settings = []
    for official in DATASETS:
        for epochs in SCHEDULES:
            label = label_of(official, epochs)
            if label in labels:
                cost = measures.get((label, "seconds"))
                seconds = math.nan if cost is None else float(np.nanmean(cost))
                settings.append(setting_of(official, epochs, seconds))
    references: dict[str, str] = {}
    for setting in settings:
        if setting.budget.epochs == max(SCHEDULES):
            references.setdefault(setting.dataset, setting.label)
    return Table(
        space=SPACE,
        dataset=settings[0].dataset,
        architectures=architectures,
        settings=tuple(settings),
        curves=curves,
        references=tuple(references.values()),
        provenance=provenance,
        caveats=tuple(caveats),
        measures=measures,
    )
