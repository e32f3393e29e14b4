"""What commands print: whole names on a narrow terminal, and cells that other programs can read."""

import csv
import io
import re
import shlex

import pytest

from bpe_bench import get_space, write_table

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


def test_what_is_to_be_copied_is_on_one_line(bpe_bench, darts_bpe, monkeypatch, tmp_path):
    path = tmp_path / ("a long name " * 9 + ".h5")
    write_table(darts_bpe, path)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    out = bpe_bench("tables", "info", path)[1]
    assert f"bpe-bench correlate {shlex.quote(str(path))}\n" in out
    text = get_space("darts").format(darts_bpe.architectures[11])
    assert f"\n{text}\n" in bpe_bench("tables", "query", path, "11")[1]


SEARCH = ("search", "--table", "darts-bpe", "--space", "darts", "--split", "test")
COMMANDS = [
    ("correlate", "darts-bpe"),
    ("mip", "--space", "darts", "--resamples", "2", "--max-cost-hours", "1"),
    (*SEARCH, "--searcher", "evolution", "--evaluations", "9", "--repeats", "2"),
    ("surrogate", "predict", "fitted.surrogate", "--budget", "BPE-2"),
    ("tables", "info", "darts-bpe"),
    ("tables", "list"),
    ("tables", "query", "darts-bpe", "11"),
    ("tables", "verify", "darts-bpe"),
    ("tables", "merge", "darts-bpe", "darts-proxy", "-o", "merged.h5"),
    ("regress", "darts-proxy"),
    ("train", "--dry-run"),
    ("train", "status", "--store", "trainings.sqlite"),
    ("train", "plan", "--hours", "20", "--budget", "BPE-1,epochs=20"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_commands_answer_first_and_other_programs_can_read_what_they_write(
    as_json, bpe_bench, example_folder, monkeypatch, words
):
    monkeypatch.chdir(example_folder)
    rows = list(csv.DictReader(io.StringIO(bpe_bench(*words, "--format", "csv")[1])))
    cells = [cell for row in rows for cell in row.values()]
    assert cells
    assert [cell for cell in cells if re.match(r"[\[{(]|nan$|None$", cell)] == []
    if words[0] != "mip":  # which takes seconds; its own tests look at the rest
        found = as_json(*words)
        assert next(iter(found)) == "answer"
        assert bpe_bench(*words)[1].startswith(found["answer"])
