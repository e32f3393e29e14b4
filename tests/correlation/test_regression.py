"""Regression of tables: promises kept and missed, and reports for people and for CI."""

import dataclasses
import xml.etree.ElementTree as ElementTree

import h5py
import numpy as np
import pytest
from bpe_bench_cli.main import run
from scipy import stats

from bpe_bench.correlation import regression
from bpe_bench.correlation.regression import _CONTENT, FIGURES, regress
from bpe_bench.errors import TableFileError, UnknownNameError
from bpe_bench.tables import catalog
from bpe_bench.tables.catalog import Promise, entries
from bpe_bench.tables.curves import MISSING, Curves, Split
from bpe_bench.tables.storage import write_table


@pytest.fixture
def registered(tmp_path, monkeypatch, golden):
    """A registry of one table, in a file that a test may spoil; promises can be added."""
    file = tmp_path / "golden.h5"
    digest = write_table(golden, file)

    class RegisteredTable(catalog.RegisteredTable):
        @property
        def path(self):
            return file if file.is_file() else None

    def register(*promises):
        entry = RegisteredTable(
            "golden", "golden.h5", "darts", "", digest, "", (), promises=promises
        )
        for module in (catalog, regression):
            monkeypatch.setattr(module, "entries", lambda: {"golden": entry})
        return file

    return register


def promise(figure, expected, tolerance=1e-9, **arguments):
    return Promise(figure, expected, tolerance, "by hand", arguments)


def test_the_shipped_tables_keep_their_promises():
    report = regress()
    assert report.passed, [c for c in report.checks if not c.passed]
    assert {check.table for check in report.checks} >= {"darts-bpe"}
    # A table without promises would pass, too.
    for name in {check.table for check in report.checks}:
        assert len([c for c in report.checks if c.table == name]) >= 5


def test_kept_and_missed(registered, golden):
    final = golden.accuracy("full", Split.VALIDATION)
    cheap = golden.accuracy("cheap", Split.VALIDATION)
    both = np.isfinite(final) & np.isfinite(cheap)
    expected = stats.kendalltau(cheap[both], final[both]).statistic
    asked = {"statistic": "kendall", "budget": "cheap", "top_k": 2}
    registered(
        promise("correlation", expected, **asked),
        promise("correlation", expected + 0.01, **asked),
        promise("maximum", np.nanmax(final), budget="full", split="validation"),
        promise("architectures", len(golden.architectures)),
    )
    content, *checks = regress().checks
    assert content.figure == _CONTENT
    assert [c.passed for c in (content, *checks)] == [True, True, False, True, True]
    assert checks[1].difference == pytest.approx(-0.01)


def test_seeds_of_a_table(registered, golden, tmp_path):
    counts = np.full((3, 1, len(golden.architectures)), 5, dtype=np.int32)
    rng = np.random.default_rng(0)
    counts[:] = rng.permuted(np.arange(counts.shape[2]) * 10 + np.zeros_like(counts), axis=2)
    counts[2, 0, :2] = MISSING
    curves = Curves(counts, 1000, np.array([600]), np.arange(3))
    table = dataclasses.replace(golden, curves={("full", Split.TEST): curves})
    ask = {"budget": "full", "split": "test"}
    expected = stats.spearmanr(counts[0, 0], counts[1, 0]).statistic
    file = registered(
        promise("networks-with-seeds", 2, seeds=2, **ask),
        promise("noise-ceiling", expected, seeds=[0, 1], statistic="spearman", **ask),
    )
    write_table(table, file)
    assert [c.passed for c in regress().checks[1:]] == [True, True]


def test_one_count_flipped_is_found(registered, capsys, tmp_path):
    file = registered(promise("architectures", 6))
    with h5py.File(file, "r+") as opened:
        opened["curves/full/validation/correct"][0, 0, 0] += 1
    report = regress()
    assert [c.passed for c in report.checks] == [False, True]
    assert report.answer == (
        "1 of 2 promised figures of golden are kept; missed: golden: content SHA-256"
    )
    junit = tmp_path / "junit.xml"
    assert run(["regress", "golden", "--junit", str(junit), "--format", "json"]) == 1
    found = capsys.readouterr().out
    assert '"table": "golden"' in found
    assert _CONTENT in found
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("golden", "2", "1")
    assert suite.find("testcase").get("name") == _CONTENT
    assert "is damaged" in suite.find("testcase/failure").get("message")


def test_a_file_that_cannot_be_read_fails_every_figure(registered):
    file = registered(promise("architectures", 6))
    file.write_bytes(file.read_bytes()[:2000])
    report = regress()
    assert [c.passed for c in report.checks] == [False, False]
    assert all("truncated" in c.found for c in report.checks)


def test_a_figure_that_cannot_be_found_is_missed(registered):
    registered(
        promise("correlation", 0.5, statistic="kendall", budget="dear", top_k=2),
        promise("luck", 1.0),
    )
    checks = regress().checks[1:]
    assert not any(c.passed for c in checks)
    assert checks[0].found.startswith("unknown budget 'dear'")
    assert checks[1].found.startswith("unknown figure 'luck'")


def test_tables_that_are_not_here(registered):
    registered().unlink()
    report = regress()
    assert report.skipped == ("golden",)
    assert not report.checks
    assert report.answer == "no registered table is on this machine, so nothing was compared"
    with pytest.raises(TableFileError, match="not on this machine; get it with"):
        regress(["golden"])
    with pytest.raises(UnknownNameError, match="unknown table 'silver'; there are: golden"):
        regress(["silver"])


def test_every_promise_names_a_figure_and_a_source():
    promises = [p for entry in entries().values() for p in entry.promises]
    assert {p.figure for p in promises} <= set(FIGURES)
    assert all(p.source and p.tolerance >= 0 for p in promises)
