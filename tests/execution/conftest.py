"""Trials, and what an uninterrupted run of the fake task makes of them."""

import sys
from pathlib import Path

import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.spaces import get_space
from bpe_bench.training.trial import Trial


@pytest.fixture
def fake(monkeypatch):
    """The module of fake tasks, importable under its name here and in workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import fake_training

    yield fake_training
    sys.modules.pop("fake_training", None)


@pytest.fixture
def make_trials():
    """Return a function that gives trials, one per seed."""
    space = get_space("nas-bench-201")

    def make(number, *, epochs=3):
        budget = BPE_1.replace(epochs=epochs)
        return [
            Trial(space.from_index(seed % 7), budget, "digits", seed=seed) for seed in range(number)
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
