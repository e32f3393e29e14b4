"""Queries: what is chosen by default, accuracy and cost, and the sentence that says it."""

import dataclasses
import math

import numpy as np
import pytest

from bpe_bench.errors import MissingReferenceError, SelectionError
from bpe_bench.tables.curves import MEAN_OF_SEEDS, Curves, Split


def test_a_query_asks_for_full_training_on_validation_and_the_mean_over_seeds(golden):
    found = golden.query(0)
    assert (found.setting, found.split, found.epoch) == ("full", Split.VALIDATION, 10)
    assert (found.seed, found.trainings) == ("mean", 2)
    assert found.accuracy == (910 + 912) / 2000
    assert (found.seconds, found.device) == (4000.0, "V100")
    assert found.answer == (
        "validation accuracy 91.10 % after epoch 10 of full, mean of 2 seeds; 1.11 h on V100"
    )


def test_a_query_without_validation_is_answered_by_test(golden, darts_bpe):
    assert darts_bpe.query(0).split is Split.TEST
    rest = {k: v for k, v in golden.curves.items() if k != ("cheap", Split.VALIDATION)}
    assert dataclasses.replace(golden, curves=rest).query(0, "cheap", seed=0).accuracy == 0.695


def test_all_may_be_said(golden):
    found = golden.query(0, "cheap@1", split="test", seed=0)
    # Of 2000 images, 2000 - 610 + 2 * 40 fewer at the first of three epochs.
    assert (found.accuracy, found.epoch, found.seed) == ((2000 - 610 - 80) / 2000, 1, 0)
    assert found == golden.query(0, "cheap", split=Split.TEST, seed=0, epoch=1)
    assert found == golden.query(0, "cheap@1", split="test", seed=0, epoch=1)
    # One of ten epochs, as far as the table knows.
    assert found.answer == "test accuracy 65.50 % after epoch 1 of cheap, seed 0; 1 s on V100"
    with pytest.raises(SelectionError) as caught:
        golden.query(0, "cheap@1", epoch=5)
    assert str(caught.value) == "cheap@1 names an epoch, found epoch=5, too; leave it out"


def test_the_cost_is_that_of_the_architecture_where_it_is_known(golden):
    measures = {
        ("cheap", "seconds"): np.array([8.0, 12.0, 10.0, np.nan, 10.0, 10.0]),
        ("cheap", "seconds@5"): np.array([3.0, np.nan, 5.0, 5.0, 5.0, 5.0]),
    }
    table = dataclasses.replace(golden, measures=measures)
    assert [table.query(cell, "cheap").seconds for cell in (0, 1, 3)] == [8.0, 12.0, 10.0]
    # Of the four architectures with both figures, 18 of 38 seconds are spent in five epochs.
    seconds = [table.query(cell, "cheap@5").seconds for cell in (0, 1, 3)]
    assert seconds == pytest.approx([3.0, 12.0 * 18 / 38, 5.0])


def test_what_is_missing_is_said(golden):
    found = golden.query(5, "middle")
    assert math.isnan(found.accuracy)
    assert found.answer == (
        "no validation accuracy after epoch 10 of middle, mean over seeds; 1.67 min on RTX 2080 Ti"
    )
    free = dataclasses.replace(golden.settings[0], seconds=math.nan, device="")
    table = dataclasses.replace(golden, settings=(free, *golden.settings[1:]))
    assert table.query(3).answer == (
        "validation accuracy 94.00 % after epoch 10 of full, one seed; cost unknown"
    )


def test_a_mean_that_the_source_gives_is_no_training(golden):
    curves = Curves(np.array([[[700] * 6]]), 1000, np.array([10]), np.array([MEAN_OF_SEEDS]))
    own = {**golden.curves, ("cheap", Split.VALIDATION): curves}
    found = dataclasses.replace(golden, curves=own).query(0, "cheap")
    assert (found.accuracy, found.seed, found.trainings) == (0.7, "mean", 0)


def test_a_published_name_is_said(darts_bpe):
    assert darts_bpe.query(11, "BPE-1").answer.startswith(
        "test accuracy 65.16 % after epoch 10 of test5 (BPE-1), one seed; 5.11 min on V100"
    )


def test_a_table_without_full_training_wants_a_setting(golden):
    table = dataclasses.replace(golden, references=())
    assert table.query(0, "full") == golden.query(0)
    with pytest.raises(MissingReferenceError):
        table.query(0)


def test_results_are_a_row_per_setting_and_split(golden):
    rows = golden.results_of(5)
    assert [(r["setting"], r["split"]) for r in rows] == [
        (label, split) for label in ("full", "cheap", "middle") for split in ("validation", "test")
    ]
    assert [(r["rank"], r["ranked"]) for r in rows] == [
        (1, 6), (6, 6), (2, 6), (5, 6), (None, 5), (None, 5)
    ]  # fmt: skip
    assert [r["accuracy"] for r in rows[::2]] == [0.962, 0.65, None]
    assert [r["setting"] for r in golden.results_of(0, "cheap@5", split="test")] == ["cheap"]
    assert golden.results_of(0, "cheap@5", split="test")[0]["epoch"] == 5


def test_results_that_are_not_there(golden):
    with pytest.raises(SelectionError) as caught:
        golden.results_of(0, "cheap", split="train", seed=7)
    assert str(caught.value) == (
        "no result of split train and seed 7 under cheap; there are splits test, validation and "
        "seeds mean, 0, 1; ask for one of them"
    )
