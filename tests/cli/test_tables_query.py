"""``tables query``: one architecture of a table, by its text or its place."""

import csv
import dataclasses
import io

import pytest
from bpe_bench_cli._tables_query import _architecture

from bpe_bench.spaces import get_space
from bpe_bench.tables.storage import write_table

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|"


def test_the_first_line_answers_and_every_setting_has_a_line(bpe_bench, darts_bpe):
    status, out, err = bpe_bench("tables", "query", "darts-bpe", "11")
    first, text, head, *lines = out.splitlines()
    assert (status, err) == (0, "")
    counts = darts_bpe.curves["full", "test"].counts[0, -1]
    rank = 1 + sum(counts > counts[11])
    assert first == (
        f"darts-bpe, architecture 11: test accuracy {counts[11] / 100:.2f} % after epoch 600 of "
        f"full, one seed; cost unknown; rank {rank} of 100"
    )
    assert text == get_space("darts").format(darts_bpe.architectures[11])
    assert [line.split()[0] for line in lines] == [s.label for s in darts_bpe.settings]
    assert head.split() == [
        "setting",
        "split",
        "accuracy",
        "rank",
        "of",
        "seeds",
        "epoch",
        "cost",
        "device",
        "training",
    ]
    assert next(line for line in lines if "BPE-1" in line).startswith("test5 (BPE-1)")


def test_text_and_place_are_the_same(as_json):
    of = "nas-bench-201-curves"
    by_place, by_text = (as_json("tables", "query", of, cell) for cell in ("11", CELL))
    assert by_place == by_text
    assert next(iter(by_place)) == "answer"
    assert (by_place["table"], by_place["architecture"], by_place["place"]) == (of, CELL, 11)
    assert [row["setting"] for row in by_place["rows"]] == ["cifar10-valid-12", "cifar10-valid-200"]


def test_digits_are_a_text_where_the_space_writes_digits(golden):
    class Macro:
        space = "macro"

    assert _architecture(Macro, "00120112") == "00120112"
    assert _architecture(Macro, "11") == 11
    assert _architecture(golden, "11") == 11


def test_a_setting_an_epoch_and_a_seed_are_chosen(as_json, bpe_bench):
    ask = ("tables", "query", "nas-bench-201-curves", "11", "--table-seed", "777")
    (row,) = as_json(*ask, "--budget", "cifar10-valid-200@200")["rows"]
    assert (row["epoch"], row["seed"], row["trainings"]) == (200, 777, 1)
    (line,) = csv.DictReader(io.StringIO(bpe_bench(*ask, "--format", "csv")[1]))
    assert (line["setting"], line["epoch"], line["seed"]) == ("cifar10-valid-200", "200", "777")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["100"],
            "the table does not hold an architecture 100; it counts its 100 architectures of darts "
            "from 0",
        ),
        (
            ["x"],
            "malformed DARTS genotype at position 0: expected 'Genotype', found 'x'; CELL is an "
            "architecture of darts, or a place from 0 to 99",
        ),
        (
            ["1", "--split", "validation"],
            "no result of split validation under any setting; there are splits test and seeds "
            "mean, 0; ask for one of them",
        ),
        (
            ["1", "--table-seed", "7"],
            "no result of seed 7 under any setting; there are splits test and seeds mean, 0; ask "
            "for one of them",
        ),
        (["1", "--budget", "test5@9"], "unknown epoch '9' of setting 'test5'; there are: 10"),
    ],
)
def test_what_is_not_there_is_refused(fails, words, said):
    assert fails("tables", "query", "darts-bpe", *words) == said


def test_a_table_without_full_training_has_lines_all_the_same(bpe_bench, golden, tmp_path):
    file = tmp_path / "t.h5"
    write_table(dataclasses.replace(golden, references=()), file)
    first = bpe_bench("tables", "query", str(file), "0")[1].splitlines()[0]
    assert first == (
        f"{file}, architecture 0: the table names no full training; --budget names a setting"
    )
