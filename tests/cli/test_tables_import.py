"""``bpe-bench tables import | merge | fetch``: tables that a user makes."""

import csv
import io
import json
from dataclasses import replace

import click
import numpy as np
import pytest
from bpe_bench_cli.tables import import_

from bpe_bench import Curves, Split, get_space
from bpe_bench.tables.importers import IMPORTERS
from bpe_bench.tables.storage import content_hash, read_table, verify_table, write_table

HEADER = (
    "architecture,epochs,batch_size,learning_rate,layers,channels,image_size,epoch,split,correct,"
    "split_size,label,reference\n"
)
BUDGET = "12,256,0.1,17,16,32"


@pytest.fixture
def results(tmp_path):
    """Results of two architectures in the long format."""
    space = get_space("nas-bench-201")
    texts = [space.format(space.from_index(index)) for index in (0, 11)]
    path = tmp_path / "results.csv"
    rows = [
        f"{text},{BUDGET},12,validation,{90 + i},100,full,true\n" for i, text in enumerate(texts)
    ]
    path.write_text(HEADER + "".join(rows))
    return path


@pytest.fixture
def parts(darts_bpe, tmp_path):
    """The shipped table in two parts that agree, and a third that contradicts the first."""

    def part(settings, references=()):
        labels = {s.label for s in settings}
        curves = {key: c for key, c in darts_bpe.curves.items() if key[0] in labels}
        return replace(darts_bpe, settings=settings, curves=curves, references=references)

    write_table(part(darts_bpe.settings[:20], darts_bpe.references), tmp_path / "a.h5")
    write_table(part(darts_bpe.settings[15:]), tmp_path / "b.h5")
    setting = darts_bpe.settings[3]
    key = setting.label, Split.TEST
    old = darts_bpe.curves[key]
    counts = np.array(old.counts)
    counts[0, 0, :7] -= 1
    wrong = Curves(counts, old.split_size, old.epochs, old.seeds)
    wrong = replace(part((setting,)), curves={key: wrong})
    write_table(wrong, tmp_path / "wrong.h5")
    return tmp_path


def test_import_writes_a_table_and_says_in_a_line_what_it_holds(bpe_bench, results, tmp_path):
    path = tmp_path / "results.h5"
    status, out, err = bpe_bench("tables", "import", "long-csv", results, "-o", path)
    assert (status, err) == (0, "")
    assert out == (
        f"{path}: 2 nas-bench-201 architectures in 1 setting on unknown images. It cannot be "
        "ranked, because full training, 'full', is all that it holds. The noise ceiling is "
        "unknown, because full training has one seed. The cost of training is unknown.\n"
        f"next: bpe-bench tables info {path}\n"
        f"content SHA-256 {verify_table(path)}\n"
    )
    assert bpe_bench("correlate", path)[0] == 2  # a reference alone; but it is a table
    assert bpe_bench("tables", "info", path)[0] == 0


def test_import_says_it_in_other_formats(as_json, bpe_bench, results, tmp_path):
    path = tmp_path / "results.h5"
    expected = {
        "file": str(path),
        "space": "nas-bench-201",
        "architectures": 2,
        "settings": 1,
        "references": ["full"],
    }
    found = as_json("tables", "import", "long-csv", results, "-o", path)
    assert found.pop("answer").startswith(f"{path}: 2 nas-bench-201 architectures in 1 setting")
    assert found == {**expected, "content_sha256": verify_table(path)}
    out = bpe_bench("tables", "import", "long-csv", results, "-o", path, "--format", "csv")[1]
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["file"], row["references"]) == (str(path), "full")


def test_import_says_when_there_is_nothing_to_rank_against(bpe_bench, results, tmp_path):
    results.write_text(results.read_text().replace("true", "false"))
    status, out, _ = bpe_bench("tables", "import", "long-csv", results, "-o", tmp_path / "x.h5")
    assert status == 0
    assert (
        "It cannot be ranked, because it names no full training; import it again and name the "
        "setting, for instance --reference full." in out
    )


def test_import_refuses_in_a_line_and_leaves_nothing(fails, results, tmp_path):
    path = tmp_path / "x.h5"
    results.write_text(results.read_text().replace("validation,91", "dev,91"))
    said = fails("tables", "import", "long-csv", results, "-o", path)
    assert said == (
        f"{results}: line 3: unknown split 'dev'; there are: train, validation, test, heldout"
    )
    assert fails("tables", "import", "long-csv", tmp_path / "no.csv", "-o", path) == (
        f"no file at {tmp_path / 'no.csv'}; give a .csv, .csv.gz or .parquet file"
    )
    assert fails("tables", "import", "long_csv", results, "-o", path).startswith(
        "unknown kind of source 'long_csv' (did you mean 'long-csv'?); there are: nas-bench-201, "
    )
    folder = tmp_path / "no" / "x.h5"
    assert fails("tables", "import", "long-csv", results, "-o", folder) == (
        f"cannot write {folder}: No such file or directory; give another file with -o"
    )
    assert fails("tables", "import", "long-csv", results) == (
        "Missing option '-o' / '--output'. (see bpe-bench tables import --help)"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]


def test_the_help_lists_every_kind(bpe_bench):
    out = bpe_bench("tables", "import", "--help")[1]
    listed = out[out.index("KIND is one of") : out.index("Example:")].splitlines()[1:]
    assert [line.split()[0] for line in listed if line.strip()] == [*IMPORTERS]
    assert isinstance(import_, click.Command)


def test_merge_of_parts_is_the_whole(as_json, bpe_bench, darts_bpe, parts):
    path = parts / "both.h5"
    found = as_json("tables", "merge", parts / "a.h5", parts / "b.h5", "-o", path)
    answer = found.pop("answer")
    assert "37 budgets can be ranked against full training, 'full'." in answer
    assert found == {
        "file": str(path),
        "space": "darts",
        "architectures": 100,
        "settings": 38,
        "references": ["full"],
        "content_sha256": verify_table(path),
        "contradictions": [],
        "contradiction_count": 0,
    }
    merged = read_table(path)
    assert merged.describe()["settings"] == darts_bpe.describe()["settings"]
    for key, curves in darts_bpe.curves.items():
        np.testing.assert_array_equal(merged.curves[key].all_counts(), curves.counts)
    status, out, err = bpe_bench("tables", "merge", parts / "a.h5", parts / "b.h5", "-o", path)
    assert (status, err) == (0, "")
    digest = verify_table(path)
    command = f"next: bpe-bench correlate {path}"
    assert out == f"{answer}\n{command}\ncontent SHA-256 {digest}\n"


def test_merge_lists_contradictions_and_refuses(bpe_bench, fails, darts_bpe, parts):
    a, wrong, path = parts / "a.h5", parts / "wrong.h5", parts / "both.h5"
    arguments = ("tables", "merge", a, wrong, "-o", path)
    said = fails(*arguments)
    assert said.startswith("the tables contradict each other in 7 figures: ")
    assert said.endswith(
        "; and 2 more; leave one of them out, or prefer the first with --prefer first"
    )
    assert said.count(f" in {a} but ") == 5
    status, out, err = bpe_bench(*arguments, "--format", "json")
    assert status == 2
    assert err.count("\n") == 1
    found = json.loads(out)
    assert found["contradiction_count"] == len(found["contradictions"]) == 7
    label = darts_bpe.settings[3].label
    count = int(darts_bpe.curves[label, Split.TEST].counts[0, 0, 0])
    first = found["contradictions"][0]
    assert (first["label"], first["split"], first["sources"]) == (
        label,
        "test",
        [str(a), str(wrong)],
    )
    assert first["values"] == pytest.approx([count / 10_000, (count - 1) / 10_000])
    out = bpe_bench(*arguments, "--format", "csv")[1]
    assert len([*csv.DictReader(io.StringIO(out))]) == 7
    assert not path.exists()


def test_merge_prefers_the_first_if_it_is_told_to(as_json, bpe_bench, darts_bpe, parts):
    path = parts / "both.h5"
    arguments = ("tables", "merge", parts / "a.h5", parts / "wrong.h5", "-o", path,
                 "--prefer", "first")  # fmt: skip
    status, out, err = bpe_bench(*arguments)
    assert status == 0
    assert out.startswith(f"{path}: 100 darts architectures in 20 settings on cifar10. ")
    told, *examples = err.splitlines()
    assert told == (
        "warning: 7 contradictions, of which the first is kept; --format json lists them"
    )
    assert len(examples) == 2
    assert examples[0].startswith(f"warning: {darts_bpe.settings[3].label} test, seed 0, ")
    label = darts_bpe.settings[3].label
    np.testing.assert_array_equal(
        read_table(path).curves[label, Split.TEST].all_counts(),
        darts_bpe.curves[label, Split.TEST].counts,
    )
    assert as_json(*arguments)["contradiction_count"] == 7
    assert bpe_bench(*arguments, "--quiet")[2] == ""


def test_merge_refuses_what_cannot_be_merged(fails, parts, results):
    other = parts / "other.h5"
    assert fails("tables", "merge", parts / "a.h5", "-o", other) == (
        "a merge needs at least 2 tables, found 1; name another"
    )
    assert fails("tables", "merge", parts / "a.h5", parts / "no.h5", "-o", other).startswith(
        f"no table file at {parts / 'no.h5'}; "
    )
    assert not other.exists()


def test_fetch_builds_into_the_cache(
    as_json, bpe_bench, monkeypatch, published, registry, tmp_path
):
    monkeypatch.setenv("BPE_BENCH_CACHE", str(tmp_path))
    digest = registry["darts-bpe"]["content_sha256"]
    answer = (
        f"darts-bpe is in {tmp_path / 'darts-bpe.h5'}; rank its budgets with: bpe-bench correlate "
        "darts-bpe"
    )
    expected = {
        "answer": answer,
        "table": "darts-bpe",
        "file": str(tmp_path / "darts-bpe.h5"),
        "content_sha256": digest,
    }
    assert as_json("tables", "fetch", "darts-bpe", "--mirror", published) == expected
    assert verify_table(tmp_path / "darts-bpe.h5") == digest
    assert bpe_bench("tables", "fetch", "darts-bpe", "--mirror", "/nowhere") == (
        0, f"{answer}\ncontent SHA-256 {digest}\n", "",
    )  # fmt: skip


def test_fetch_refuses_in_a_line(fails, monkeypatch, registry, tmp_path):
    monkeypatch.setenv("BPE_BENCH_CACHE", str(tmp_path / "cache"))
    assert fails("tables", "fetch", "nope") == (
        f"unknown table 'nope'; there are: {', '.join(registry)}"
    )
    assert fails("tables", "fetch", "darts-bpe", "--mirror", tmp_path).startswith(
        f"mirror {tmp_path} has no Search_Hyperparameters_Results.xlsx; it is published at https://"
    )


def test_list_says_where_a_table_is(as_json, bpe_bench, darts_bpe, monkeypatch, tmp_path):
    from bpe_bench.tables import catalog

    shipped = catalog.entries()["darts-bpe"]
    made = {n: replace(shipped, name=n, file=f"{n}.h5") for n in ("fetched", "absent")}
    monkeypatch.setattr(catalog, "entries", lambda: {"darts-bpe": shipped, **made})
    monkeypatch.setenv("BPE_BENCH_CACHE", str(tmp_path))
    assert write_table(darts_bpe, tmp_path / "fetched.h5") == content_hash(darts_bpe)
    rows = as_json("tables", "list")["rows"]
    assert {r["name"]: (r["here"], r["place"]) for r in rows} == {
        "darts-bpe": (True, "shipped"),
        "fetched": (True, "cached"),
        "absent": (False, "not here"),
    }
    assert [r["get"] for r in rows] == [None, None, "bpe-bench tables fetch absent"]
    out = bpe_bench("tables", "list")[1]
    assert all(word in out for word in ("shipped", "cached", "not here"))


def test_import_says_what_it_is_told_of_the_source(bpe_bench, results, tmp_path):
    path = tmp_path / "results.h5"
    said = {"source": "a paper", "licence": "CC-BY-4.0", "citation": "Doe, 2026"}
    options = [text for name, value in said.items() for text in (f"--{name}", value)]
    bpe_bench("tables", "import", "long-csv", results, "-o", path, *options)
    provenance = read_table(path).provenance
    assert {name: getattr(provenance, name) for name in said} == said


def test_import_warns_of_what_it_leaves_out(bpe_bench, results, tmp_path):
    lines = results.read_text().splitlines()
    results.write_text("\n".join(f"{line},{more}" for line, more in zip(lines, "nxy", strict=True)))
    arguments = ("tables", "import", "long-csv", results, "-o", tmp_path / "x.h5")
    status, _, err = bpe_bench(*arguments)
    assert (status, err) == (0, "warning: columns that the long form does not know: n ignored\n")
