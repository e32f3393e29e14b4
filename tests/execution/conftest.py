"""Trials, and what an uninterrupted run of the fake task makes of them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.spaces import get_space
from bpe_bench.tables.curves import Split
from bpe_bench.training.trial import EpochRecord, SplitResult, Trial


@pytest.fixture
def fake(monkeypatch):
    """The module of fake tasks, importable under its name here and in workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import fake_training

    yield fake_training
    sys.modules.pop("fake_training", None)


@pytest.fixture(scope="session")
def make_trials():
    """Return a function that gives trials, one per seed."""
    space = get_space("nas-bench-201")

    def make(number, *, epochs=3, **values):
        budget = BPE_1.replace(epochs=epochs)
        return [
            Trial(space.from_index(seed % 7), budget, "digits", seed=seed, **values)
            for seed in range(number)
        ]

    return make


@pytest.fixture
def uninterrupted(fake):
    """Return a function from a trial to the records of a training from first to last."""

    def run(trial):
        records = []

        def report(record, checkpoint, made_on):
            records.append(record)
            return True

        assert fake.train(trial, None, {}, report) == "done"
        return tuple(records)

    return run


@pytest.fixture(scope="session")
def make_record():
    """Return a function that gives the record of an epoch."""

    def make(epoch, *, seconds=1.0, loss=0.5):
        correct = int(np.random.default_rng(epoch).integers(1000))
        results = {
            Split.TRAIN: SplitResult(correct, 5000, loss),
            Split.VALIDATION: SplitResult(correct, 1000, loss),
        }
        return EpochRecord(epoch, results, seconds, 10**6)

    return make
