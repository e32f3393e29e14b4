"""What commands print: whole names on a narrow terminal, and cells that other programs can read."""

import re

import pytest

LABELS = {
    ("correlate", "darts-proxy", "--epochs", "last"): "cifar10-jpeg-epochs-3-image_size-16",
    ("tables", "info", "darts-bpe"): "test1_halfdata",
    ("tables", "list"): "nas-bench-201-curves",
    ("tables", "verify", "darts-bpe"): (
        "2e6caf08f1c090ecbab6cab238b1335590d424a14975f5db64aea31deb855ee6"
    ),
}


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("words", LABELS, ids=" ".join)
def test_nothing_is_cut_and_no_name_is_broken_on_a_narrow_terminal(
    bpe_bench, columns, monkeypatch, words
):
    piped = bpe_bench(*words)[1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = re.sub(r"\x1b\[[\d;]*m", "", bpe_bench(*words)[1])
    assert LABELS[words] in shown.split()
    assert sorted(shown.split()) == sorted(piped.split())
