"""Small tables for surrogates to be fitted to."""

from dataclasses import replace

import numpy as np
import pytest

from bpe_bench.surrogate import Question, fit_surrogate
from bpe_bench.tables.curves import Curves
from bpe_bench.tables.table import Split


@pytest.fixture(scope="session")
def with_accuracies(darts_bpe):
    """Return what gives darts-bpe other test accuracies, by label counts of 10,000, (A,)."""

    def change(**counts):
        curves = dict(darts_bpe.curves)
        for label, values in counts.items():
            old = curves[label, Split.TEST]
            values = np.asarray(values, dtype=np.int32).reshape(1, 1, -1)
            curves[label, Split.TEST] = Curves(values, old.split_size, old.epochs, old.seeds)
        return replace(darts_bpe, curves=curves)

    return change


@pytest.fixture(scope="session")
def accurate(darts_bpe):
    """A surrogate of accuracies under four settings, for new cells and known settings."""
    question = Question(budgets=["test5", "test6", "test32", "test23"])
    return fit_surrogate(
        darts_bpe, question, rng=np.random.default_rng(0), name="darts-bpe", folds=5
    )


@pytest.fixture(scope="session")
def correlating(darts_bpe):
    """A surrogate of the correlations of all settings, and of their costs."""
    return fit_surrogate(
        darts_bpe, Question("correlation"), rng=np.random.default_rng(0), name="darts-bpe", folds=10
    )


@pytest.fixture(scope="session")
def informed(darts_bpe):
    """A surrogate by forest that is told the accuracies under test6."""
    question = Question(budgets=["test5", "test32"], given=["test6"])
    return fit_surrogate(
        darts_bpe, question, rng=np.random.default_rng(0), name="darts-bpe", model="forest", folds=5
    )
