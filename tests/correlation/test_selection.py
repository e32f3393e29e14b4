"""What of a table is ranked, and against what: splits, epochs, labels."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from bpe_bench import Curves, Replay, Rules, Selection, Split, correlate, prune
from bpe_bench.errors import SelectionError, UnknownNameError
from bpe_bench.tables.merging import merge
from bpe_bench.tables.table import MISSING


@pytest.fixture
def curve(golden):
    """Validation of full training at every epoch, test at the last one only."""
    test = golden.curves["full", Split.TEST]
    last = Curves(test.all_counts()[:, -1:], test.split_size, test.epochs[-1:], test.seeds)
    curves = {("full", Split.VALIDATION): golden.curves["full", Split.VALIDATION]}
    curves["full", Split.TEST] = last
    settings = tuple(s for s in golden.settings if s.label == "full")
    return dataclasses.replace(golden, settings=settings, curves=curves)


def test_validation_is_ranked_against_test(curve):
    report = correlate(curve, Selection(reference_split=Split.TEST))
    assert [row.label for row in report.rows] == ["full@1", "full@5", "full"]
    assert (report.split, report.reference_split) == ("validation", "test")
    truth = curve.accuracy("full", Split.TEST)
    for row, epoch in zip(report.rows, (1, 5, 10), strict=True):
        own = curve.accuracy("full", Split.VALIDATION, epoch=epoch)
        both = np.isfinite(own) & np.isfinite(truth)
        expected = stats.spearmanr(own[both], truth[both]).statistic
        assert row.correlation == pytest.approx(expected)
        assert row.n_architectures == both.sum()
    assert report.to_json()["reference_split"] == "test"
    assert any("share their luck" in warning for warning in report.warnings)


def test_a_split_of_the_last_epoch_only_is_named_as_the_reason(curve):
    with pytest.raises(SelectionError) as caught:
        correlate(curve, Selection(split=Split.TEST))
    assert str(caught.value) == (
        "no budget is left to correlate with the reference 'full': its test accuracies at epoch 10 "
        "are the only ones selected, and are the reference itself; test was measured at no other "
        "epoch, so rank another split against it: --split validation --reference-split test"
    )


def test_a_reference_split_that_was_not_measured(golden):
    with pytest.raises(UnknownNameError, match=r"^unknown split 'heldout' of setting 'full'"):
        correlate(golden, Selection(reference_split=Split.HELDOUT))


def test_labels_may_name_an_epoch(golden):
    found = correlate(golden, Selection(labels=["cheap@5", "middle"], epochs="last"))
    assert [row.label for row in found.rows] == ["cheap@5", "middle"]
    assert found.row("cheap@5").cost_seconds == pytest.approx(
        golden.setting("cheap").seconds * 5 / 10
    )


def test_rows_are_found_and_compared_by_label_and_epoch(golden):
    report = correlate(golden, comparing=[("cheap@5", "cheap@10")])
    assert report.row("cheap@10") is report.row("cheap")
    assert report.row("cheap@5").epoch == 5
    (found,) = report.comparisons
    assert (found.first, found.second) == ("cheap@5", "cheap@10")
    with pytest.raises(UnknownNameError, match=r"^unknown budget 'cheap@7'"):
        report.row("cheap@7")


def pruned(table):
    rules = Rules(resamples=3, sequential=False)
    return prune(Replay.of(table), rules, rng=np.random.default_rng(0))


def with_other_architectures(table, label):
    """Return the table with results of a setting for two architectures only."""
    curves = dict(table.curves)
    for split in table.splits(label):
        counts = np.array(curves[label, split].all_counts())
        counts[:, :, 2:] = MISSING
        old = curves[label, split]
        curves[label, split] = Curves(counts, old.split_size, old.epochs, old.seeds)
    return dataclasses.replace(table, curves=curves)


def test_pruning_leaves_out_a_setting_without_common_architectures(darts_bpe):
    table = with_other_architectures(darts_bpe, "test7")
    report = prune(
        Replay.of(table), Rules(resamples=3, sequential=False), rng=np.random.default_rng(0)
    )
    assert "test7" not in {row.label for row in report.rows}
    assert len(report.rows) == 36
    assert any(
        note.startswith("test7: fewer than 3 architectures in common with the reference 'full'")
        for note in report.warnings
    )


def test_a_merged_setting_without_common_architectures_is_left_out(golden):
    lone = with_other_architectures(golden, "middle")
    merged = merge([golden, renamed(lone, "middle", "lone")], ["a", "b"]).table
    report = correlate(merged, Selection(epochs="last"))
    assert [row.label for row in report.rows] == ["cheap", "middle"]
    assert any(note.startswith("lone: fewer than 3") for note in report.warnings)


def renamed(table, old, new):
    """Return only one setting of a table and its reference, under another label."""
    (setting,) = (s for s in table.settings if s.label == old)
    budget = setting.budget.replace(channels=4)
    settings = [s for s in table.settings if s.label == "full"]
    settings.append(dataclasses.replace(setting, label=new, budget=budget))
    curves = {
        (new if label == old else label, split): found
        for (label, split), found in table.curves.items()
        if label in (old, "full")
    }
    return dataclasses.replace(table, settings=tuple(settings), curves=curves)


def test_pruning_leaves_out_an_unknown_hyper_parameter(darts_bpe):
    settings = tuple(
        dataclasses.replace(s, budget=s.budget.replace(layers=None)) if s.label == "test7" else s
        for s in darts_bpe.settings
    )
    table = dataclasses.replace(darts_bpe, settings=settings)
    report = prune(
        Replay.of(table), Rules(resamples=3, sequential=False), rng=np.random.default_rng(0)
    )
    assert "layers: unknown in some settings, and left out" in report.warnings
    assert all("layers" not in done.importances for done in report.rounds)
    assert "test7" in {row.label for row in report.rows}
