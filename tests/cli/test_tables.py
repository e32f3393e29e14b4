"""``bpe-bench tables``: what there is, whether it is whole, and what it holds, as text."""

import csv
import io
import json
import os
import shlex
import subprocess

import numpy as np
import pytest

from bpe_bench import Split, get_space, write_table


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_list_is_the_registry(as_json, bpe_bench, registry):
    rows = as_json("tables", "list")["rows"]
    assert {r["name"]: (r["space"], r["licence"]) for r in rows} == {
        name: (fields["space"], fields["licence"]) for name, fields in registry.items()
    }
    shown = next(r for r in rows if r["name"] == "darts-bpe")
    assert shown["here"] is True
    assert {r["name"] for r in rows_of(bpe_bench("tables", "list", "--format", "csv")[1])} == {
        *registry
    }
    status, out, err = bpe_bench("tables", "list")
    assert (status, err) == (0, "")
    assert out.startswith(
        "3 of 4 registered tables are on this machine\n"
        "to get another:  bpe-bench tables fetch nas-bench-201\n"
    )


def test_info_describes_the_table(as_json, bpe_bench, darts_bpe, registry):
    found = as_json("tables", "info", "darts-bpe")
    assert (found["table"], found["space"], found["dataset"]) == ("darts-bpe", "darts", "cifar10")
    assert found["architectures"] == 100
    assert found["references"] == ["full"]
    assert found["content_sha256"] == registry["darts-bpe"]["content_sha256"]
    assert len(found["settings"]) == 38
    cheap = next(s for s in found["settings"] if s["label"] == "test5")
    assert cheap["seconds"] == pytest.approx(0.0852 * 3600, rel=1e-3)  # as published
    status, out, err = bpe_bench("tables", "info", "darts-bpe")
    assert (status, err) == (0, "")
    assert out.startswith(f"{found['answer']}\n\ncaveat  {darts_bpe.caveats[0]}\n")
    assert next(iter(found)) == "answer"
    assert found["content_sha256"] in out
    assert found["licence"][:20] in out
    assert "\ntest5 (BPE-1)   5.11 min  10 x 6 x 8, 16 " in out
    assert "; unless stated: batch 128, rate 0.03, cosine, fp32, no cutout, all" in out
    lines = rows_of(bpe_bench("tables", "info", "darts-bpe", "--format", "csv")[1])
    assert [line["label"] for line in lines] == [s.label for s in darts_bpe.settings]


def test_what_info_says_to_do_next_can_be_copied(bpe_bench, darts_bpe, tmp_path):
    path = tmp_path / "my results.h5"
    write_table(darts_bpe, path)
    lines = bpe_bench("tables", "info", path)[1].splitlines()
    for line in lines[-2:]:
        program, *words = shlex.split(line.partition(":  ")[2])
        assert program == "bpe-bench"
        assert bpe_bench(*words)[0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Genotype(normal=[('sep_conv_9x9', 0)",
            "malformed DARTS genotype at position 19: expected an operation (max_pool_3x3, "
            "avg_pool_3x3, skip_connect, sep_conv_3x3, sep_conv_5x5, dil_conv_3x3, dil_conv_5x5), "
            "found 'sep_conv_9x9'",
        ),
        ("x", "malformed DARTS genotype at position 0: expected 'Genotype', found 'x'"),
    ],
)
def test_a_malformed_genotype_is_refused_with_the_position(fails, text, said):
    do = "CELL is an architecture of darts, or a place from 0 to 99"
    assert fails("tables", "query", "darts-bpe", text) == f"{said}; {do}"


def test_an_architecture_that_the_table_lacks_is_refused(fails, darts_bpe):
    space, rng = get_space("darts"), np.random.default_rng(0)
    text = space.format(space.sample(rng))
    assert fails("tables", "query", "darts-bpe", text) == (
        f"the table does not hold the architecture {text}; it holds 100 architectures of darts"
    )


def test_verify_of_a_whole_table(as_json, registry):
    assert as_json("tables", "verify", "darts-bpe") == {
        "answer": "darts-bpe: whole, with the content that the hash promises",
        "rows": [
            {
                "table": "darts-bpe",
                "whole": True,
                "content_sha256": registry["darts-bpe"]["content_sha256"],
            }
        ],
    }


def test_verify_finds_one_flipped_count(bpe_bench, tables_of, registry):
    path = tables_of / "flipped.h5"
    status, out, err = bpe_bench("tables", "verify", path, "--format", "json")
    assert status == 2
    assert json.loads(out)["rows"] == [{"table": str(path), "whole": False, "content_sha256": None}]
    assert err.count("\n") == 1
    assert err.startswith(
        f"bpe-bench: error: table {path} is damaged: its content should have SHA-256 "
        f"{registry['darts-bpe']['content_sha256']} and has "
    )
    assert err.endswith("; fetch or build it again (in TABLE)\n")


def test_verify_goes_on_after_a_damaged_table(bpe_bench, tables_of):
    names = ["darts-bpe", tables_of / "foreign.h5", tables_of / "no-costs.h5"]
    status, out, err = bpe_bench("tables", "verify", *names, "--format", "csv")
    assert status == 2
    assert [r["whole"] for r in rows_of(out)] == ["True", "False", "True"]
    assert bpe_bench("tables", "verify", *names)[1].startswith(
        f"darts-bpe, {names[2]}: whole, with the content that the hash promises; {names[1]}: "
        "cannot be trusted\n"
    )
    assert "foreign.h5 is an HDF5 file but not a bpe-bench table" in err


def test_verify_holds_a_registered_table_against_the_registry(bpe_bench, monkeypatch, tables_of):
    """A table that is whole in itself, but not the one that was registered."""
    monkeypatch.setattr("bpe_bench.tables.catalog.table_path", lambda _: tables_of / "no-costs.h5")
    status, out, err = bpe_bench("tables", "verify", "darts-bpe")
    assert status == 2
    assert "no" in out.split()
    assert "table 'darts-bpe' is not the registered one: its content should have SHA-256" in err


def test_export_as_csv_holds_every_count(bpe_bench, darts_bpe, tmp_path):
    path = tmp_path / "darts bpe.csv"
    assert bpe_bench("tables", "export", "darts-bpe", "-o", path) == (
        0,
        "",
        f"{path} holds every result of darts-bpe, and {path}.facts.json what lines cannot say; "
        "keep them together, and make them a table again with: bpe-bench tables import long-csv "
        f"'{path}' -o TABLE.h5\n",
    )
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 38 * 100
    space = get_space("darts")
    places = {space.format(a): place for place, a in enumerate(darts_bpe.architectures)}
    found = {s.label: np.full(100, -1) for s in darts_bpe.settings}
    for row in rows:
        found[row["label"]][places[row["architecture"]]] = int(row["correct"])
        assert float(row["accuracy"]) == int(row["correct"]) / int(row["split_size"])
    for label, counts in found.items():
        np.testing.assert_array_equal(counts, darts_bpe.curves[label, Split.TEST].counts[0, -1])


@pytest.mark.parametrize("style", ["table", "json"])
def test_export_into_a_pipe(bpe_bench, tmp_path, style):
    pipe, copy = tmp_path / "pipe", tmp_path / "copy"
    os.mkfifo(pipe)
    with copy.open("wb") as file, subprocess.Popen(["cat", pipe], stdout=file) as reader:
        try:
            said = bpe_bench("tables", "export", "darts-bpe", "--format", style, "-o", pipe)
            reader.wait(60)
        finally:
            reader.kill()
    assert said == (0, "", "")
    shown = "csv" if style == "table" else style
    expected = bpe_bench("tables", "export", "darts-bpe", "--format", shown)[1]
    assert copy.read_text(encoding="utf-8") == expected
    assert {*tmp_path.iterdir()} == {pipe, copy}


def test_export_as_json_has_a_value_per_line(bpe_bench):
    status, out, _ = bpe_bench("tables", "export", "darts-bpe", "--format", "json")
    assert status == 0
    rows = [json.loads(line) for line in out.splitlines()]
    lines = rows_of(bpe_bench("tables", "export", "darts-bpe", "--format", "csv")[1])
    assert [r["correct"] for r in rows] == [int(line["correct"]) for line in lines]


def test_export_as_a_table_has_a_line_per_result(bpe_bench):
    status, out, _ = bpe_bench("tables", "export", "darts-bpe")
    assert status == 0
    assert len(out.splitlines()) == 1 + 38 * 100


@pytest.mark.parametrize("command", ["info", "export"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("truncated", "cannot read {} as a table: the file is truncated"),
        ("foreign", "{} is an HDF5 file but not a bpe-bench table"),
        ("newer", "{} has format version "),
    ],
)
def test_bad_tables_get_one_line(fails, tables_of, command, name, text):
    path = tables_of / f"{name}.h5"
    assert fails("tables", command, path).startswith(text.format(path))


@pytest.mark.parametrize("command", ["info", "export"])
def test_an_unknown_table_is_refused(fails, registry, command):
    assert fails("tables", command, "nope") == (
        f"unknown table 'nope'; there are: {', '.join(registry)}; or give the path of a table file"
    )


def test_an_unwritable_file_leaves_nothing_behind(fails, tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "export.csv"
    said = fails("tables", "export", "darts-bpe", "-o", path)
    assert said == f"cannot write {path}: Not a directory; give another file with -o"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_verify_needs_a_name(fails):
    assert fails("tables", "verify") == (
        "Missing argument 'TABLE...'. (see bpe-bench tables verify --help)"
    )
