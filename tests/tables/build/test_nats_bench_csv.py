"""The file nats_bench.csv."""

import csv

import numpy as np
import pytest
from bpe_bench_tables.build.nats_bench_csv import COLUMNS

from bpe_bench.errors import SourceFileError
from bpe_bench.spaces.nas_bench_201 import NasBench201Space
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.table import MEAN_OF_SEEDS, Split

SPACE = NasBench201Space()
HEADER = [*COLUMNS, "ArchitectureString", "UniqueString"]
IMAGES = {"cifar10": 10_000, "cifar100": 5_000, "ImageNet16-120": 3_000}


def read(source, progress=None):
    return get_importer("nats-bench-csv").read(source, progress)


@pytest.fixture(scope="module")
def rows():
    """Rows of made-up figures for every architecture, in official order."""
    texts = [SPACE.format(SPACE.from_index(i)) for i in range(SPACE.size)]
    return [["10.0", "20.02", "30.1", text, ""] for text in texts]


@pytest.fixture
def write(tmp_path, rows):
    """Return a function that writes the rows, some changed: (line, column, text)."""

    def write(*changes, order=None, header=HEADER):
        content = [list(row) for row in rows]
        for line, column, text in changes:
            content[line - 2][column] = text
        file = tmp_path / "nats_bench.csv"
        with file.open("w", newline="") as stream:
            lines = [content[place] for place in order] if order is not None else content
            csv.writer(stream).writerows([header, *lines])
        return file

    return write


def refusal(file):
    with pytest.raises(SourceFileError) as error:
        read(file)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_figures_are_sixths_of_a_test_image(write):
    # 12.3 % of 10,000 images and one sixth of an image; a half; a third.
    table = read(
        write(
            (13, 0, f"{(1230 + 1 / 6) / 100}"), (13, 1, "20.01"), (13, 2, f"{(900 + 1 / 3) / 30}")
        )
    )
    for official, count in zip(IMAGES, (1230 * 6 + 1, 1000 * 6 + 3, 900 * 6 + 2), strict=True):
        curves = table.curves_of(f"{official}-200", Split.TEST)
        assert (curves.split_size, curves.scale) == (IMAGES[official], 6)
        assert curves.seeds.tolist() == [MEAN_OF_SEEDS]
        assert curves.epochs.tolist() == [200]
        assert curves.counts[0, 0, 11] == count


def test_rows_are_matched_by_their_text(write):
    order = np.random.default_rng(0).permutation(SPACE.size)
    table = read(write((13, 0, "12.34"), order=order))
    assert list(table.architectures) == [SPACE.from_index(i) for i in range(SPACE.size)]
    accuracy = table.accuracy("cifar10-200", Split.TEST)
    assert accuracy[11] == pytest.approx(0.1234)
    assert (np.delete(accuracy, 11) == 0.1).all()


def test_references_and_splits(write):
    table = read(write())
    assert table.references == ("cifar10-200", "cifar100-200", "ImageNet16-120-200")
    assert {split for _, split in table.curves} == {Split.TEST}


def test_progress_rises_to_1(write):
    shares = []
    read(write(), shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_published_file_to_the_digit(published):
    file = published / "nb201" / "nats_bench.csv"
    table = read(file)
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            place = table.index(SPACE.parse(row["ArchitectureString"]))
            for column, official in COLUMNS.items():
                curves = table.curves_of(f"{official}-200", Split.TEST)
                found = 100 * curves.counts[0, 0, place] / curves.most
                assert found == pytest.approx(float(row[column]), abs=1e-6)


def test_a_missing_file(tmp_path):
    assert refusal(tmp_path / "nats_bench.csv") == (
        f"no file {tmp_path / 'nats_bench.csv'}; it is published at "
        "https://github.com/v-tao/nats-bench-landscape"
    )


def test_an_unknown_architecture(write):
    file = write((13, 3, "|nor_conv_7x7~0|+|none~0|none~1|+|none~0|none~1|none~2|"))
    message = refusal(file)
    assert message.startswith(
        f"{file} line 13, column 'ArchitectureString': malformed NAS-Bench-201 architecture at "
        "position 1"
    )
    assert "'nor_conv_7x7'" in message


def test_an_architecture_twice(write, rows):
    text = rows[0][3]
    file = write((13, 3, text))
    assert (
        refusal(file) == f"{file} line 13, column 'ArchitectureString': {text} is on line 2 already"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ninety", "expected a number, found 'ninety'"),
        ("nan", "accuracy must be 0 to 100 %, found nan"),
        ("-1", "accuracy must be 0 to 100 %, found -1.0"),
        ("123", "accuracy must be 0 to 100 %, found 123.0"),
        (
            "50.0005",
            "50.0005 % of 5000 images is no whole number of 1/6 images, as a mean over seeds would "
            "be",
        ),
    ],
)
def test_a_wrong_figure(write, text, fault):
    file = write((13, 1, text))
    assert refusal(file) == f"{file} line 13, column 'CIFAR100TestAccuracy200Epochs': {fault}"


def test_a_truncated_file(write):
    file = write(order=range(10))
    assert refusal(file) == (
        f"{file}: expected all 15625 architectures, found 10; the file may be truncated"
    )
    file.write_bytes(file.read_bytes()[:-60])
    assert refusal(file) == (
        f"{file} line 11: expected 5 values, found 4; the file may be truncated"
    )


def test_another_file(write):
    file = write(header=["a", "b", "c", "d", "e"])
    assert (
        refusal(file) == f"{file}: it lacks the column 'ArchitectureString'; its columns are: "
        "a, b, c, d, e"
    )
    file.write_bytes(b"")
    assert refusal(file).endswith("its columns are: none")
    file.write_bytes(b"\xff\xfe\x00\x01")
    assert refusal(file).startswith(f"{file}: not a readable CSV file: ")
