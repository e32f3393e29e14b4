"""Which trainings a campaign makes, what they cost, and a real one on the digits."""

import json

import numpy as np
import pytest

from bpe_bench.budget import BPE_1, BPE_2, DARTS_FULL, parse_budget
from bpe_bench.errors import (
    GenotypeError,
    InvalidBudgetError,
    JournalError,
    SelectionError,
    TrainingError,
    UnknownNameError,
)
from bpe_bench.execution.campaign import (
    choose_architectures,
    expected_costs,
    make_trials,
    run_campaign,
    status_of,
)
from bpe_bench.execution.journal import Journal
from bpe_bench.spaces import get_space
from bpe_bench.tables.importers import get_importer

TINY = parse_budget(
    "epochs=2,batch_size=128,learning_rate=0.05,layers=5,channels=2,image_size=8,data_fraction=0.1"
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_budgets_are_read():
    assert parse_budget("BPE-1") == BPE_1
    assert parse_budget("full") == DARTS_FULL
    assert parse_budget("BPE-2,layers=6") == BPE_2.replace(layers=6)
    text = "epochs=10,batch_size=128,learning_rate=0.03,layers=6,channels=8,image_size=16"
    assert parse_budget(text) == BPE_1
    with pytest.raises(UnknownNameError, match=r"unknown budget 'BPE-3'.*: BPE-1, BPE-2"):
        parse_budget("BPE-3")
    with pytest.raises(InvalidBudgetError, match="a budget needs batch_size, learning_rate"):
        parse_budget("epochs=3")
    with pytest.raises(UnknownNameError, match="unknown hyper-parameter 'epoch'"):
        parse_budget("BPE-1,epoch=3")


def test_architectures_are_chosen(darts_bpe, rng, tmp_path):
    assert choose_architectures("darts-bpe:3-5", "darts", rng) == darts_bpe.architectures[3:6]
    assert choose_architectures("darts-bpe:99", "darts", rng) == darts_bpe.architectures[99:]
    first = choose_architectures("sample:4", "darts", np.random.default_rng(1))
    assert first == choose_architectures("sample:4", "darts", np.random.default_rng(1))
    assert len(set(first)) == 4
    space = get_space("darts")
    file = tmp_path / "cells.txt"
    file.write_text("# two cells\n" + "\n".join(map(space.format, first[:2])) + "\n\n")
    assert choose_architectures(str(file), "darts", rng) == first[:2]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("darts-bpe:0-100", SelectionError, "table 'darts-bpe' has architectures 0-99, found"),
        ("darts-bpe:5-3", SelectionError, "table 'darts-bpe' has architectures 0-99, found"),
        ("sample:0", SelectionError, "sample:N wants a number of at least 1"),
        ("nope:0-3", UnknownNameError, "unknown table 'nope'"),
        ("nas-bench-201-curves:0", SelectionError, "table 'nas-bench-201-curves' is of space"),
        ("no/such/file", SelectionError, "give architectures as TABLE:0-19, sample:N or"),
    ],
)
def test_architectures_that_cannot_be_chosen(text, error, message, rng):
    with pytest.raises(error) as caught:
        choose_architectures(text, "darts", rng)
    assert str(caught.value).startswith(message)


def test_a_malformed_line_is_named(tmp_path, rng):
    file = tmp_path / "cells.txt"
    file.write_text("# cells\nGenotype(\n")
    with pytest.raises(GenotypeError, match=r"cells\.txt, line 2: malformed DARTS genotype at"):
        choose_architectures(str(file), "darts", rng)
    file.write_text("\n")
    with pytest.raises(SelectionError, match="names no architecture"):
        choose_architectures(str(file), "darts", rng)


def test_trials_are_all_combinations(darts_bpe):
    cells = darts_bpe.architectures[:3]
    trials = make_trials(cells, [BPE_1, BPE_2], dataset="cifar10", seeds=[0, 7])
    assert len({trial.id for trial in trials}) == 12
    assert {t.seed for t in trials} == {0, 7}
    assert [t.budget for t in trials[:6]] == [BPE_1] * 6


def test_costs_are_predicted_where_the_table_tells(darts_bpe):
    budgets = [BPE_1, BPE_1.replace(epochs=5)]
    trials = make_trials(darts_bpe.architectures[:3], budgets, dataset="cifar10")
    found = expected_costs(trials)
    assert [(one.trainings, one.device) for one in found] == [(3, "V100")] * 2
    cost, half = (one.seconds_each for one in found)
    # Published: 307 seconds; the regression misses by a factor of about 1.3.
    assert 307 / 1.5 < cost < 307 * 1.5
    assert 0.4 < half / cost < 0.6


@pytest.mark.parametrize("fake", ["train", pytest.param(None, marks=pytest.mark.slow)])
def test_a_campaign(fake, tmp_path, train_by):
    if fake:
        train_by(fake)
    store = tmp_path / "trainings.sqlite"
    cells = [get_space("nas-bench-201").from_index(i) for i in (11, 284, 3)]
    trials = make_trials(cells, [TINY, TINY.replace(channels=4)], dataset="digits")
    seen = []
    status = run_campaign(store, trials, jobs=2, on_progress=lambda now: seen.append(now.epochs))
    assert status.counts["done"] == 6
    assert seen[-1] == 12
    assert seen == sorted(seen)
    # Running it again has nothing to do.
    seconds = status.device_seconds
    assert run_campaign(store, trials, jobs=2).device_seconds == seconds
    table = get_importer("journal").read(store)
    assert len(table.settings) == 2
    assert set(table.architectures) == set(cells)
    json.dumps(status.to_json())


@pytest.mark.slow
def test_one_trial_that_cannot_be_trained_does_not_stop_the_others(tmp_path):
    """NAS-Bench-201 wants 3N + 2 layers, so six cannot be trained.

    A campaign is checked before it starts; what a store has planned from before is not.
    """
    store = tmp_path / "trainings.sqlite"
    cell = get_space("nas-bench-201").from_index(284)
    bad, good = make_trials([cell], [TINY.replace(layers=6), TINY], dataset="digits")
    with pytest.raises(TrainingError, match="layers must be 3N"):
        run_campaign(store, [bad, good], jobs=1)
    with Journal(store) as journal:
        journal.add([bad])
    status = run_campaign(store, [good], jobs=1)
    assert (status.counts["done"], status.counts["failed"]) == (1, 1)
    (failure,) = status.failures
    assert "TrainingError" in failure
    assert "layers" in failure
    assert "\n" not in failure


def test_a_store_that_is_not_there(tmp_path):
    with pytest.raises(JournalError):
        status_of(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()
