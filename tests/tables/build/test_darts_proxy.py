"""The shipped table darts-proxy: this project's own trainings beside the published reference."""

import numpy as np
import pytest
from bpe_bench_tables.build.darts_proxy import JOURNAL, build
from scipy import stats

from bpe_bench import Selection, open_table
from bpe_bench.budget import BPE_1
from bpe_bench.correlation import correlate
from bpe_bench.errors import SourceFileError
from bpe_bench.execution.journal import Journal
from bpe_bench.tables.catalog import entries
from bpe_bench.tables.curves import Split
from bpe_bench.tables.fetching import fetch
from bpe_bench.tables.storage import content_hash
from bpe_bench.training.trial import EpochRecord, SplitResult, Trial

SIZES = {Split.TRAIN: 4000, Split.VALIDATION: 10_000, Split.TEST: 10_000}


@pytest.fixture(scope="module")
def table():
    return open_table("darts-proxy")


def test_it_holds_forty_published_cells_under_two_budgets(table, darts_bpe):
    assert table.space == "darts"
    assert list(table.architectures) == list(darts_bpe.architectures[:40])
    assert [s.label for s in table.settings if s.label not in table.references] == [
        "cifar10-jpeg-epochs-3-image_size-16",
        "cifar10-jpeg-epochs-6-image_size-8",
    ]
    for setting in table.settings[1:]:
        assert setting.dataset == "cifar10-jpeg"
        assert (setting.budget.data_fraction, setting.budget.batch_size) == (0.1, 64)
        assert "CPU" in setting.device
        for split, size in SIZES.items():
            curves = table.curves_of(setting.label, split)
            assert curves.split_size == size
            assert curves.epochs.tolist() == list(range(1, setting.budget.epochs + 1))
            assert (curves.all_counts() > 0).all()
    assert "torch: 2.13.0+cpu" in table.provenance.source


def test_the_reference_is_the_published_accuracy(table, darts_bpe):
    np.testing.assert_array_equal(
        table.accuracy("full", Split.TEST), darts_bpe.accuracy("full", Split.TEST)[:40]
    )


@pytest.mark.parametrize("label", [s.label for s in open_table("darts-proxy").settings[1:]])
def test_the_correlation_is_that_of_validation_with_the_reference(table, label):
    row = correlate(table, Selection(epochs="last")).row(label)
    expected = stats.spearmanr(
        table.accuracy(label, Split.VALIDATION), table.accuracy("full", Split.TEST)
    ).statistic
    assert row.correlation == pytest.approx(expected, abs=1e-12)
    assert row.low < row.correlation < row.high


def test_it_cannot_be_fetched_but_is_there(tmp_path):
    assert fetch("darts-proxy", cache=tmp_path) == entries()["darts-proxy"].path


def test_without_the_journal_it_cannot_be_built(tmp_path):
    with pytest.raises(SourceFileError) as caught:
        build(tmp_path)
    assert str(caught.value) == (
        f"no {JOURNAL} in {tmp_path}; it is the store of this project's own trainings and not "
        "published, and the table made of it ships with bpe-bench"
    )


def test_a_journal_becomes_such_a_table(tmp_path, darts_bpe):
    cells, budget = darts_bpe.architectures[3:6], BPE_1.replace(epochs=1)
    with Journal(tmp_path / JOURNAL) as journal:
        journal.add([Trial(cell, budget, "digits") for cell in cells])
        for correct in (30, 10, 20):
            claim = journal.claim("me", stale_after=1e9)
            result = {Split.VALIDATION: SplitResult(correct, 40, 0.5)}
            record = EpochRecord(1, result, 2.0, 1)
            journal.record(claim.trial.id, "me", record, b"", {"device": "abacus"})
            journal.finish(claim.trial.id, "me", "done")
    built = build(tmp_path)
    (label,) = (s.label for s in built.settings if s.label != "full")
    np.testing.assert_array_equal(built.accuracy(label, Split.VALIDATION), [0.75, 0.25, 0.5])
    np.testing.assert_array_equal(
        built.accuracy("full", Split.TEST), darts_bpe.accuracy("full", Split.TEST)[3:6]
    )
    assert content_hash(built) == content_hash(build(tmp_path))
