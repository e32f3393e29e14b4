"""Tables as text: lines and facts give the same content again, and lines alone the same figures."""

import csv
import dataclasses
import gzip
import json
import warnings

import numpy as np
import pytest

from bpe_bench import open_table
from bpe_bench.errors import BpeBenchWarning, SourceFileError, TableFileError
from bpe_bench.spaces import SPACES, DeclaredSpace, register_space
from bpe_bench.tables.curves import MEAN_OF_SEEDS, MISSING, Curves, Split
from bpe_bench.tables.exporting import export_table, facts_path, lines_of
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.storage import content_hash


def read(path):
    return get_importer("long-csv").read(path)


@pytest.fixture
def odd(golden):
    """The golden table with everything that a table may have and a line cannot say."""
    label = golden.settings[0].label
    key = label, Split.VALIDATION
    counts = golden.curves[key].all_counts().copy()
    counts[:, :, 2] = MISSING
    mean = np.full((2, 1, 6), MISSING, dtype=np.int32)
    mean[0] = np.where(counts[:1, -1:] == MISSING, MISSING, 3 * counts[:1, -1:] + 1)
    curves = {
        **golden.curves,
        key: dataclasses.replace(golden.curves[key], counts=counts, sources=("elsewhere",)),
        (label, Split.HELDOUT): Curves(mean, 1000, [7], [MEAN_OF_SEEDS, 5], scale=3),
    }
    unknown = golden.settings[1].budget.replace(layers=None, lr_schedule="step")
    values = np.array([0.1 + 0.2, np.nan, 3, 4, 5, 6e-300])
    return dataclasses.replace(
        golden,
        settings=(golden.settings[0], dataclasses.replace(golden.settings[1], budget=unknown),
                  *golden.settings[2:], dataclasses.replace(golden.settings[0], label="empty")),
        curves=curves,
        caveats=("a, b", 'say "c"'),
        measures={**golden.measures, (label, "seconds@5"): values, ("empty", "own"): values},
    )  # fmt: skip


@pytest.fixture
def declared(golden):
    """The golden table in a space that was declared, of which only it knows."""
    space = DeclaredSpace.of(
        {"name": "nets", "parameters": {"cell": {"kind": "categorical", "values": "observed"}}}
    )
    register_space(space)
    architectures = tuple(space.parse(f'cell="{n}";é') for n in range(6))
    return dataclasses.replace(golden, space="nets", architectures=architectures)


@pytest.mark.parametrize("name", ["golden", "odd", "declared", "nas-bench-201-curves"])
def test_what_was_exported_is_imported_with_the_same_content(request, tmp_path, name):
    table = open_table(name) if "-" in name else request.getfixturevalue(name)
    expected = content_hash(table)
    path = tmp_path / "table.csv"
    export_table(table, path)
    SPACES.pop("nets", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = read(path)
    assert content_hash(again) == expected
    assert again.provenance == table.provenance


def test_lines_alone_have_the_figures(golden, tmp_path):
    path = tmp_path / "table.csv"
    export_table(golden, path)
    facts_path(path).unlink()
    again = read(path)
    assert again.references == golden.references
    for (label, split), curves in golden.curves.items():
        for epoch in curves.epochs.tolist():
            expected = golden.accuracy(label, split, epoch=epoch)
            found = again.accuracy(label, split, epoch=epoch)
            for place, architecture in enumerate(golden.architectures):
                value = found[again.index(architecture)]
                np.testing.assert_equal(value, expected[place])


def test_a_line_is_written_for_every_result_and_no_other(odd):
    rows = list(csv.DictReader("".join(lines_of(odd, "csv")).splitlines()))
    counts = [curves.all_counts() for curves in odd.curves.values()]
    assert len(rows) == sum(int((c != MISSING).sum()) for c in counts)
    (scaled,) = [r for r in rows if r["split"] == "heldout" and r["architecture"] == rows[0][
        "architecture"]]  # fmt: skip
    assert (scaled["seed"], scaled["epoch"]) == ("-1", "7")
    assert float(scaled["correct"]) == 1000 * float(scaled["accuracy"])
    parsed = [json.loads(line) for line in "".join(lines_of(odd, "json")).splitlines()]
    assert [r["accuracy"] for r in parsed] == [float(r["accuracy"]) for r in rows]
    assert len("".join(lines_of(odd, "table")).splitlines()) == 1 + len(rows)


def test_no_more_than_a_column_is_held_at_once(golden):
    pieces = list(lines_of(golden, "csv"))
    assert max(piece.count("\n") for piece in pieces) == len(golden.architectures)


def test_lines_that_do_not_fit_the_facts_are_named(golden, tmp_path):
    path = tmp_path / "table.csv"
    export_table(golden, path)
    lines = path.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace("full", "other", 1)
    lines[2] = lines[2].replace(',0,1,"', ',0,77,"', 1)
    path.write_text("".join(lines))
    with pytest.raises(SourceFileError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: line 2: 'other validation 0 1' is not among the facts of table.csv.facts.json; "
        "delete it to import the lines alone; line 3: 'full validation 0 77' is not among the "
        "facts of table.csv.facts.json; delete it to import the lines alone"
    )


def test_lines_that_were_lost_are_said(golden, tmp_path):
    path = tmp_path / "table.csv"
    export_table(golden, path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.warns(BpeBenchWarning) as caught:
        read(path)
    assert [str(w.message) for w in caught] == [
        f"{path} has not the content that was exported: lines were changed or lost; if that is "
        "not meant, export again"
    ]


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_damaged_facts_are_said_in_a_line(golden, tmp_path, text):
    path = tmp_path / "table.csv"
    export_table(golden, path)
    facts_path(path).write_text(text)
    with pytest.raises(SourceFileError) as caught:
        read(path)
    assert str(facts_path(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_way(golden, tmp_path):
    with pytest.raises(TableFileError, match=r"^cannot write .*: Is a directory; give another"):
        export_table(golden, tmp_path)


def test_lines_are_compressed_where_the_name_says_so(golden, tmp_path):
    paths = [tmp_path / name for name in ("a.csv.gz", "b.csv.gz", "plain.csv")]
    for path in paths:
        export_table(golden, path)
    assert gzip.decompress(paths[0].read_bytes()) == paths[2].read_bytes()
    assert paths[0].read_bytes() == paths[1].read_bytes()  # no time, no name
    assert content_hash(read(paths[0])) == content_hash(golden)


def test_lines_that_were_compressed_later_find_their_facts(golden, tmp_path):
    path = tmp_path / "table.csv"
    export_table(golden, path)
    packed = tmp_path / "table.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert content_hash(read(packed)) == content_hash(golden)
