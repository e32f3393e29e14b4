"""A journal as a table: every count is the record's, and what is missing is missing."""

import math
import sqlite3

import numpy as np
import pytest

from bpe_bench.budget import BPE_1, BPE_2, DARTS_FULL
from bpe_bench.errors import MissingReferenceError, SourceFileError
from bpe_bench.execution.journal import Journal
from bpe_bench.spaces import get_space
from bpe_bench.tables.curves import Split
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.storage import read_table, write_table
from bpe_bench.training.trial import EpochRecord, Recipe, SplitResult, Trial

SPACE = get_space("darts")
CELLS = [SPACE.sample(np.random.default_rng(i)) for i in range(4)]
SIZES = {Split.TRAIN: 900, Split.VALIDATION: 300, Split.TEST: 200}
SHORT = BPE_1.replace(epochs=3)


def read(path, progress=None):
    return get_importer("journal").read(path, progress)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trained.sqlite"


@pytest.fixture
def train(path):
    """Return a function that plans a trial, records its epochs and ends it."""
    rng = np.random.default_rng(0)

    def run(trial, state="done", *, device="abacus", epochs=None, sizes=SIZES, last_loss=0.5):
        epochs = trial.budget.epochs if epochs is None else epochs
        records = []
        with Journal(path) as journal:
            journal.add([trial])
            if state == "planned":
                return records
            journal.claim("me", stale_after=1e9)
            for epoch in range(1, epochs + 1):
                loss = last_loss if epoch == epochs else 0.5
                results = {
                    split: SplitResult(int(rng.integers(size + 1)), size, loss)
                    for split, size in sizes.items()
                }
                records.append(EpochRecord(epoch, results, float(rng.uniform(1, 2)), 1))
                made_on = {"device": device, "torch": "2.9"}
                journal.record(trial.id, "me", records[-1], b"", made_on)
            journal.finish(trial.id, "me", state, "no luck" if state == "failed" else "")
        return records

    return run


def test_the_table_is_the_records(path, train, tmp_path):
    trials = [
        Trial(cell, budget, "digits", seed=seed)
        for seed in (0, 3)
        for budget in (SHORT, BPE_1)
        for cell in CELLS[: 4 - seed // 3]
    ]
    records = {trial: train(trial) for trial in trials}
    shares = []
    table = read(path, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert (table.space, table.dataset) == ("darts", "digits")
    assert [s.label for s in table.settings] == ["digits", "BPE-1"]
    assert table.setting("BPE-1").budget == BPE_1
    assert table.architectures == tuple(CELLS)
    assert table.caveats == ()
    for trial, own in records.items():
        label = "digits" if trial.budget == SHORT else "BPE-1"
        for record in own:
            for split, result in record.results.items():
                curves = table.curves_of(label, split)
                assert curves.split_size == result.size
                found = table.query(
                    trial.architecture, label, split=split, seed=trial.seed, epoch=record.epoch
                )
                assert found.accuracy == result.correct / result.size
    # Only the last cell lacks its second seed.
    lacking = np.isnan(table.accuracy("digits", Split.TEST, seed=3))
    assert lacking.tolist() == [False, False, False, True]
    for label, budget in (("digits", SHORT), ("BPE-1", BPE_1)):
        for place, cell in enumerate(CELLS):
            own = [sum(r.seconds for r in records[t]) for t in trials
                   if (t.architecture, t.budget) == (cell, budget)]  # fmt: skip
            assert table.measure(label, "seconds")[place] == pytest.approx(np.mean(own))
        assert table.setting(label).seconds == pytest.approx(table.measure(label, "seconds").mean())
        assert table.setting(label).device == "abacus"
    assert table.provenance.source == (
        "trained with bpe-bench (journal trained.sqlite); device: abacus; torch: 2.9"
    )
    with pytest.raises(MissingReferenceError):
        table.reference()
    write_table(table, tmp_path / "t.h5")
    assert read_table(tmp_path / "t.h5").to_frame().equals(table.to_frame())


def test_full_training_is_the_reference(path, train):
    for cell in CELLS[:2]:
        for budget in (BPE_1, DARTS_FULL.replace(epochs=2), DARTS_FULL):
            train(Trial(cell, budget, "cifar10-jpeg"))
    table = read(path)
    assert [s.label for s in table.settings] == ["BPE-1", "cifar10-jpeg", "full"]
    assert table.reference().label == "full"


@pytest.mark.parametrize(
    ("budgets", "labels"),
    [
        ([BPE_1, BPE_2], ["BPE-1", "BPE-2"]),
        ([SHORT], ["a-b"]),
        (
            [SHORT, BPE_1, SHORT.replace(layers=8), SHORT.replace(learning_rate=0.1, layers=8)],
            [
                "a-b-learning_rate-0.03-layers-6",
                "BPE-1",
                "a-b-learning_rate-0.03-layers-8",
                "a-b-learning_rate-0.1-layers-8",
            ],
        ),
    ],
)
def test_labels_are_short(path, train, budgets, labels):
    for budget in budgets:
        train(Trial(CELLS[0], budget, "a b"))
    assert [s.label for s in read(path).settings] == labels


def test_what_was_trained_otherwise_is_another_setting(path, train):
    train(Trial(CELLS[0], SHORT, "digits"))
    train(Trial(CELLS[0], SHORT, "digits", recipe=Recipe(momentum=0.5)))
    train(
        Trial(CELLS[0], SHORT, "digits", protocol="paper"),
        sizes={Split.TRAIN: 1200, Split.TEST: 200},
    )
    train(Trial(CELLS[0], SHORT, "letters"))
    train(Trial(CELLS[1], BPE_1, "letters"))
    table = read(path)
    labels = ["digits", "digits-2", "digits-paper", "letters", "BPE-1-letters"]
    assert [s.label for s in table.settings] == labels
    assert table.splits("digits-paper") == (Split.TRAIN, Split.TEST)
    assert table.caveats == (
        "Trained on all training images, without a validation split: digits-paper.",
        "The settings differ in momentum: 0.9 for digits, 0.5 for digits-2, 0.9 for digits-paper, "
        "0.9 for letters, 0.9 for BPE-1-letters.",
    )


def test_what_was_not_finished_is_missing_and_said(path, train):
    done = train(Trial(CELLS[0], SHORT, "digits"))
    sound = train(Trial(CELLS[1], SHORT, "digits"), "diverged", last_loss=math.inf, epochs=3)
    train(Trial(CELLS[2], SHORT, "digits"), "diverged", last_loss=math.nan, epochs=1)
    train(Trial(CELLS[2], SHORT, "digits", seed=1), "failed", epochs=2)
    train(Trial(CELLS[3], SHORT, "digits"), "planned")
    table = read(path)
    # The one that diverged at once has nothing to show.
    assert table.architectures == tuple(CELLS[:2])
    last = table.accuracy("digits", Split.VALIDATION)
    assert last[0] == done[2].results[Split.VALIDATION].correct / 300
    assert np.isnan(last[1])
    before = table.accuracy("digits", Split.VALIDATION, epoch=2)
    assert before[1] == sound[1].results[Split.VALIDATION].correct / 300
    assert np.isnan(table.measure("digits", "seconds")[1])
    assert table.caveats == (
        "1 trainings of the journal failed and are missing.",
        "1 trainings of the journal were not finished and are missing.",
        "1 trainings under digits diverged: they have the epochs before, and are missing at the "
        "last.",
    )


def test_seconds_of_several_devices_are_not_mixed(path, train):
    first = [train(Trial(cell, SHORT, "digits")) for cell in CELLS[:2]]
    train(Trial(CELLS[2], SHORT, "digits"), device="slide rule")
    table = read(path)
    (setting,) = table.settings
    assert setting.device == "abacus"
    seconds = [sum(record.seconds for record in own) for own in first]
    assert setting.seconds == pytest.approx(np.mean(seconds))
    assert np.isnan(table.measure("digits", "seconds")[2])
    assert table.caveats == (
        "1 of 3 trainings under digits were made on another device than abacus; their seconds are "
        "left out.",
    )
    assert "device: abacus or slide rule" in table.provenance.source


def refuses(path, message):
    with pytest.raises(SourceFileError) as caught:
        read(path)
    assert str(caught.value) == message


def test_what_is_no_table_is_refused(path, train, tmp_path):
    refuses(path, f"no journal at {path}; `bpe-bench train --store {path}` makes one")
    with Journal(path):
        pass
    message = (
        f"the journal {path} has no finished trainings: {{}}; `bpe-bench train --store {path}` "
        "continues with the planned ones"
    )
    refuses(path, message.format("no trials"))
    train(Trial(CELLS[0], SHORT, "digits"), "diverged")
    train(Trial(CELLS[1], SHORT, "digits"), "planned")
    refuses(path, message.format("1 planned, 1 diverged"))
    with sqlite3.connect(tmp_path / "other") as raw:
        raw.execute("CREATE TABLE people (name)")
    refuses(
        tmp_path / "other",
        f"{tmp_path / 'other'} is an SQLite store, but not a journal",
    )


def test_one_table_holds_one_space_and_one_set_of_images(path, train):
    train(Trial(CELLS[0], SHORT, "digits"))
    odd = Trial(CELLS[1], SHORT, "digits")
    train(odd, sizes={**SIZES, Split.TEST: 201})
    refuses(
        path,
        f"{path}: the test split of 'digits' has 201 images in trial {odd.id[:12]}, 200 in others: "
        "they were trained on different data under one name",
    )
    train(Trial(get_space("nas-bench-201").from_index(3), SHORT, "digits"))
    refuses(
        path,
        f"the journal {path} has trainings of several spaces, darts and nas-bench-201; a table "
        "holds one, so keep a journal for each",
    )
