"""A table of all of NAS-Bench-201, made up, and a task that trains nothing."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.spaces import Architecture, get_space
from bpe_bench.tables.table import MISSING, Curves, Provenance, Setting, Split, Table

SPACE = get_space("nas-bench-201")
SHORT = BPE_1.replace(epochs=12, layers=17, channels=16, image_size=32, data_fraction=0.5)
LONG = SHORT.replace(epochs=200)
VALIDATION, TEST = Split.VALIDATION, Split.TEST


@pytest.fixture(scope="session")
def whole():
    """All 15,625 architectures: two data sets, a short and a full training, and more.

    ========== ======== ============== ======================== =======
    setting    data     validation     test                     seconds
    ========== ======== ============== ======================== =======
    valid-12   cifar10  2 seeds        -                        by architecture, one unknown
    valid-200  cifar10  1 seed         1 seed                   1000
    all-200    cifar10  -              of all training images   2000
    dear-12    cifar10  1 seed         1 seed                   unknown
    c100-12    cifar100 1 seed         1 seed                   40
    c100-200   cifar100 1 seed         1 seed                   900
    ========== ======== ============== ======================== =======

    Under valid-12 architecture 7 lacks its first seed, architecture 8 both.
    """
    rng = np.random.default_rng(0)
    architectures = [
        Architecture(SPACE.name, genes) for genes in itertools.product(range(5), repeat=6)
    ]

    def curves(seeds=(0,), epochs=(200,), low=0):
        shape = (len(seeds), len(epochs), SPACE.size)
        counts = rng.integers(low, 10_001, shape, dtype=np.int32)
        return Curves(counts, 10_000, np.array(epochs), np.array(seeds))

    short = curves((777, 888), (6, 12)).all_counts().copy()
    short[0, :, 7] = MISSING
    short[:, :, 8] = MISSING
    seconds = rng.uniform(50, 150, SPACE.size)
    seconds[9] = np.nan
    return Table(
        space=SPACE.name,
        dataset="cifar10",
        architectures=tuple(architectures),
        settings=(
            Setting("valid-200", LONG, "cifar10", 1_000.0, "V100"),
            Setting("valid-12", SHORT, "cifar10", 100.0, "V100"),
            Setting("all-200", LONG.replace(data_fraction=1.0), "cifar10", 2_000.0, "V100"),
            Setting("dear-12", SHORT.replace(channels=36), "cifar10"),
            Setting("c100-12", SHORT, "cifar100", 40.0, "V100"),
            Setting("c100-200", LONG, "cifar100", 900.0, "V100"),
        ),
        curves={
            ("valid-12", VALIDATION): Curves(
                short, 10_000, np.array((6, 12)), np.array((777, 888))
            ),
            ("valid-200", VALIDATION): curves(),
            ("valid-200", TEST): curves(),
            ("all-200", TEST): curves(),
            ("dear-12", VALIDATION): curves(epochs=(12,)),
            ("dear-12", TEST): curves(epochs=(12,)),
            ("c100-12", VALIDATION): curves(epochs=(12,)),
            ("c100-12", TEST): curves(epochs=(12,)),
            ("c100-200", VALIDATION): curves(),
            ("c100-200", TEST): curves(),
        },
        references=("valid-200", "c100-200"),
        provenance=Provenance("made up", "CC0-1.0", "nobody"),
        measures={("valid-12", "seconds"): seconds},
    )


@pytest.fixture(scope="session")
def counts(whole):
    """Return a function from a setting and a split to the counts at its last epoch, (R, A)."""
    return lambda label, split: whole.curves[label, split].all_counts()[:, -1]


@pytest.fixture
def task(monkeypatch):
    """The module of a made-up task, importable by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import proxy_tasks

    yield proxy_tasks
    sys.modules.pop("proxy_tasks", None)
