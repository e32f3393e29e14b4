"""The file _clean_all_merged.csv."""

import csv
import json

import numpy as np
import pytest

from bpe_bench.errors import SourceFileError
from bpe_bench.spaces.nas_bench_201 import NasBench201Space
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.table import MEAN_OF_SEEDS, Split

SPACE = NasBench201Space()
HEADER = ["arch_i", "arch_str", "grad_norm", "train_accs", "val_accs"]


def read(source, progress=None):
    return get_importer("nas201-curves-csv").read(source, progress)


def lists(*, change=None):
    """Return 200 accuracies that are whole thirds of 25,000 images, as the file writes them."""
    values = [thirds / 750 for thirds in range(1000, 1200)]
    if change is not None:
        values[change[0] - 1] = change[1]
    return json.dumps(values)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes made-up rows, some changed: (line, column, text)."""

    def write(*changes, order=range(200), header=HEADER):
        content = [
            [str(i), SPACE.format(SPACE.from_index(i)), "1.5", lists(), lists()] for i in range(200)
        ]
        for line, column, text in changes:
            content[line - 2][column] = text
        file = tmp_path / "_clean_all_merged.csv"
        with file.open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *(content[place] for place in order)])
        return file

    return write


def refusal(file):
    with pytest.raises(SourceFileError) as error:
        read(file)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_figures_are_thirds_of_an_image(write):
    table = read(write((13, 4, lists(change=(7, 50 + 1 / 750)))))
    assert list(table.architectures) == [SPACE.from_index(i) for i in range(200)]
    assert [s.label for s in table.settings] == ["cifar10-valid-200"]
    for split in (Split.TRAIN, Split.VALIDATION):
        curves = table.curves_of("cifar10-valid-200", split)
        assert (curves.split_size, curves.scale) == (25_000, 3)
        assert curves.seeds.tolist() == [MEAN_OF_SEEDS]
        assert curves.epochs.tolist() == list(range(1, 201))
        assert curves.counts[0, :, 0].tolist() == list(range(1000, 1200))
        assert curves.counts[0, 6, 11] == (37_501 if split == Split.VALIDATION else 1006)


def test_rows_may_come_in_any_order_as_they_do_in_the_published_file(write):
    table = read(write((13, 4, lists(change=(200, 50.0))), order=sorted(range(200), key=str)))
    accuracy = table.accuracy("cifar10-valid-200", Split.VALIDATION)
    assert accuracy[11] == 0.5
    assert (np.delete(accuracy, 11) < 0.1).all()


def test_progress_rises_to_1(write):
    shares = []
    read(write(), shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_published_file_to_the_digit(published):
    file = published / "nb201" / "_clean_all_merged.csv"
    table = read(file)
    columns = {"train_accs": Split.TRAIN, "val_accs": Split.VALIDATION}
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            place = table.index(SPACE.parse(row["arch_str"]))
            assert place == int(row["arch_i"])
            for column, split in columns.items():
                curves = table.curves_of("cifar10-valid-200", split)
                found = 100 * curves.counts[0, :, place] / curves.most
                assert found == pytest.approx(json.loads(row[column]), abs=1e-6)


def test_a_missing_file(tmp_path):
    file = tmp_path / "_clean_all_merged.csv"
    assert refusal(file) == (
        f"no file {file}; it is published at https://github.com/SamuelMintal/Masters_Thesis"
    )


@pytest.mark.parametrize("index", ["200", "-1", "x", "07"])
def test_an_index_that_does_not_exist(write, index):
    file = write((13, 0, index))
    assert refusal(file) == f"{file} line 13, column 'arch_i': expected 0 to 199, found '{index}'"


def test_an_index_twice(write):
    file = write((13, 0, "3"), (13, 1, SPACE.format(SPACE.from_index(3))))
    assert refusal(file) == f"{file} line 13, column 'arch_i': 3 is on line 5 already"


def test_an_architecture_that_is_not_the_one_of_its_index(write):
    wrong, right = (SPACE.format(SPACE.from_index(index)) for index in (12, 11))
    file = write((13, 1, wrong))
    assert refusal(file) == (
        f"{file} line 13, column 'arch_str': expected architecture 11, {right}, found {wrong}"
    )


def test_an_unknown_architecture(write):
    file = write((13, 1, "|none~0|"))
    assert refusal(file).startswith(
        f"{file} line 13, column 'arch_str': malformed NAS-Bench-201 architecture at position 8"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[1, 2", "expected a list of numbers ("),
        ("[1, 2]", "expected a list of 200 numbers, found 2 values"),
        ("7", "expected a list of 200 numbers, found int"),
        (json.dumps(["50.0"] * 200), "expected a list of 200 numbers, found 200 values"),
        (json.dumps([True] * 200), "expected a list of 200 numbers, found 200 values"),
    ],
)
def test_a_cell_that_is_no_list_of_accuracies(write, text, fault):
    file = write((13, 3, text))
    assert refusal(file).startswith(f"{file} line 13, column 'train_accs': {fault}")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (float("nan"), "accuracy must be 0 to 100 %, found nan"),
        (100.5, "accuracy must be 0 to 100 %, found 100.5"),
        (
            50.0005,
            "50.0005 % of 25000 images is no whole number of 1/3 images, as a mean over seeds "
            "would be",
        ),
    ],
)
def test_a_wrong_figure(write, value, fault):
    file = write((13, 4, lists(change=(7, value))))
    assert refusal(file) == f"{file} line 13, column 'val_accs', epoch 7: {fault}"


def test_a_truncated_file(write):
    file = write(order=range(150))
    assert refusal(file) == (
        f"{file}: expected architectures 0 to 199, found 150 of them; the file may be truncated"
    )
    file.write_bytes(file.read_bytes()[:-30])
    assert refusal(file) == f"{file}: not a readable CSV file: unexpected end of data"


def test_another_file(write):
    file = write(header=["a", "b", "c", "d", "e"])
    assert refusal(file) == f"{file}: it lacks the column 'arch_i'; its columns are: a, b, c, d, e"
