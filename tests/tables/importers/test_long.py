"""Anyone's own results: what is read, and that what is wrong is named by its line."""

import csv
import gzip
import math
import sys

import numpy as np
import pandas as pd
import pytest

from bpe_bench import get_space
from bpe_bench.budget import BPE_1, Budget
from bpe_bench.errors import OptionalDependencyError, SourceFileError
from bpe_bench.spaces import SPACES
from bpe_bench.tables.curves import MISSING, Split
from bpe_bench.tables.importers import IMPORTERS, _long_files, get_importer
from bpe_bench.tables.storage import content_hash, read_table, write_table

NB201 = get_space("nas-bench-201")
TEXTS = [NB201.format(NB201.from_index(index)) for index in range(4)]
BUDGET = {
    "epochs": 12,
    "batch_size": 256,
    "learning_rate": 0.1,
    "layers": 17,
    "channels": 16,
    "image_size": 32,
}


def row(architecture=0, epoch=12, split="validation", accuracy=0.5, size=1000, **more):
    return {
        "architecture": TEXTS[architecture],
        **BUDGET,
        "epoch": epoch,
        "split": split,
        "accuracy": accuracy,
        "split_size": size,
        **more,
    }


def read(path):
    return get_importer("long-csv").read(str(path))


@pytest.fixture
def imported(tmp_path):
    """Return what writes rows as CSV and imports them."""

    def run(*rows):
        path = tmp_path / "own.csv"
        pd.DataFrame(rows).to_csv(path, index=False)
        return read(path)

    return run


@pytest.fixture
def refused(tmp_path, imported):
    """Return what imports rows that must be refused, and gives the message after the file."""

    def run(*rows):
        with pytest.raises(SourceFileError) as caught:
            imported(*rows)
        text = str(caught.value)
        assert "\n" not in text
        assert text.startswith(f"{tmp_path / 'own.csv'}")
        return text.removeprefix(f"{tmp_path / 'own.csv'}").removeprefix(": ")

    return run


def columns(*rows):
    return pd.DataFrame(rows)


# What is read.


def test_rows_become_counts_and_what_is_absent_stays_missing(imported):
    table = imported(
        row(0, epoch=1, accuracy=0.1, seed=0),
        row(1, epoch=12, accuracy=0.25, seed=777),
        row(0, epoch=12, accuracy=0.123, seed=777),
        row(0, epoch=12, split="test", accuracy=1.0, size=50, seed=0),
    )
    assert [NB201.format(a) for a in table.architectures] == TEXTS[:2]
    (setting,) = table.settings
    assert setting.budget == Budget(**BUDGET)
    assert setting.dataset == table.dataset == "unknown"
    curves = table.curves_of(setting.label, Split.VALIDATION)
    assert (curves.epochs.tolist(), curves.seeds.tolist()) == ([1, 12], [0, 777])
    assert curves.counts.tolist() == [
        [[100, MISSING], [MISSING, MISSING]],
        [[MISSING, MISSING], [123, 250]],
    ]
    test = table.curves_of(setting.label, Split.TEST)
    assert (test.counts.tolist(), test.split_size) == ([[[50, MISSING]]], 50)
    assert table.references == ()
    assert math.isnan(setting.seconds)


def test_correct_images_do_as_well_as_accuracy(imported):
    rows = [row(i, accuracy=i / 7, size=7) for i in range(4)]
    counted = [{**r, "correct": i} for i, r in enumerate(rows)]
    both = imported(*counted)
    for r in counted:
        del r["accuracy"]
    digests = {content_hash(table) for table in (imported(*rows), imported(*counted), both)}
    assert len(digests) == 1


def test_a_rounded_accuracy_may_be_a_thousandth_of_an_image_off(imported, refused):
    table = imported(row(accuracy=0.3333333, size=3000))
    assert table.curves_of("training", Split.VALIDATION).counts.item() == 1000
    assert refused(row(accuracy=0.33333, size=3000)) == (
        "line 2: accuracy 0.33333 of 3000 images is 999.99, which is not a whole number of images"
    )


def test_settings_get_labels_from_what_they_differ_in(imported):
    rows = [
        row(dataset="CIFAR 10"),
        row(dataset="CIFAR 10", epoch=5, channels=8),
        row(dataset="CIFAR 10", channels=8, learning_rate=1e-5),
        row(dataset="CIFAR 10", channels=4, label="mine", reference=True),
        row(channels=8),
    ]
    table = imported(*rows)
    assert [s.label for s in table.settings] == [
        "CIFAR-10-learning_rate-0.1-channels-16",
        "CIFAR-10-learning_rate-0.1-channels-8",
        "CIFAR-10-learning_rate-1e-05-channels-8",
        "mine",
        "learning_rate-0.1-channels-8",
    ]
    assert table.references == ("mine",)
    assert table.dataset == "CIFAR 10"


def test_made_labels_do_not_collide(imported):
    table = imported(row(label="training"), row(channels=8))
    assert [s.label for s in table.settings] == ["training", "training-2"]


def test_every_hyper_parameter_is_read_to_the_last_digit(imported):
    budget = Budget(
        epochs=12, batch_size=3, learning_rate=0.1 + 0.2, layers=2, channels=5, image_size=8,
        lr_schedule="linear", precision="bf16", cutout=4, data_fraction=1 / 3,
    )  # fmt: skip
    assert imported(row(**budget.to_dict())).settings[0].budget == budget
    assert imported(row(**BPE_1.to_dict(), epoch=10)).published_names() == {"training": "BPE-1"}


def test_empty_cells_of_optional_columns_take_the_default(imported):
    empty = {"seed": None, "cutout": None, "device": None, "label": None, "seconds": None}
    full = row(1, seed=0, cutout=0, device="A100", label="x", seconds=3.5, channels=8)
    table = imported(row(0, **empty), full)
    assert [(s.budget.cutout, s.device) for s in table.settings] == [(0, ""), (0, "A100")]


def test_seconds_are_of_a_training_and_become_a_measure(imported):
    table = imported(
        row(0, seed=0, seconds=10.0, device="A100", epoch=1),
        row(0, seed=0, seconds=10.0, device="A100", epoch=12),
        row(0, seed=1, seconds=20.0, device="A100"),
        row(2, seed=0, seconds=1.0, device="A100"),
        row(3, seed=0),
    )
    np.testing.assert_array_equal(table.measure("training", "seconds"), [15.0, 1.0, np.nan])
    assert table.setting("training").seconds == 8.0
    assert table.devices() == ("A100",)


def test_two_spellings_are_one_architecture_and_isomorphs_are_two(imported, darts_bpe):
    darts, rows = get_space("darts"), []
    architecture = darts_bpe.architectures[0]
    other = darts.canonical(architecture)
    texts = darts.format(architecture), darts.format(other)
    assert texts[0] != texts[1]
    rows = [row(epoch=e, architecture=0) | {"architecture": t} for e, t in enumerate(texts, 1)]
    table = imported(*rows)
    assert table.space == "darts"
    assert [darts.format(a) for a in table.architectures] == [texts[0]]
    zero = ["|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
            "|none~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|none~2|"]  # fmt: skip
    assert len(imported(*(row() | {"architecture": t} for t in zero)).architectures) == 2


def test_the_same_row_twice_is_no_contradiction(imported):
    assert content_hash(imported(row(), row())) == content_hash(imported(row()))


def test_csv_compressed_csv_and_parquet_say_the_same(tmp_path):
    rows = columns(
        row(0, seed=0, seconds=2.0, device="A100", dataset="x", reference=True),
        row(1, seed=1, seconds=None, device="A100", dataset="x", reference=True),
    )
    for name in ("own.csv", "own.parquet"):
        getattr(rows, f"to_{name[4:]}")(tmp_path / name, index=False)
    plain = (tmp_path / "own.csv").read_bytes()
    (tmp_path / "own.csv.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "windows.csv").write_bytes(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"))
    tables = {p.name: read(p) for p in tmp_path.iterdir()}
    assert len(tables) == 4
    for name, table in tables.items():
        assert table.provenance.source == name
        np.testing.assert_equal(
            table.describe()["settings"], tables["own.csv"].describe()["settings"]
        )
        assert table.to_frame().equals(tables["own.csv"].to_frame())


def test_the_table_survives_its_file(imported, tmp_path):
    table = imported(row(0, seconds=1.5), row(1, dataset="b", reference=True, seed=3))
    digest = write_table(table, tmp_path / "own.h5")
    assert content_hash(read_table(tmp_path / "own.h5")) == digest


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_read_in_chunks(monkeypatch, tmp_path, kind):
    """No more than a chunk is in memory at a time, and chunks do not show in the result."""
    rng = np.random.default_rng(0)
    rows = columns(
        *(
            row(a, epoch=e, seed=s, accuracy=int(rng.integers(1001)) / 1000, seconds=a + 1.0)
            for s in range(3)
            for e in range(1, 13)
            for a in range(4)
        )
    )
    path = tmp_path / f"own.{kind}"
    getattr(rows, f"to_{kind}")(path, index=False)
    whole, sizes, shares = content_hash(read(path)), [], []
    monkeypatch.setattr(_long_files, "ROWS_AT_ONCE", 10)
    made = _long_files.Chunk.__init__

    def spy(self, frame, lines, share):
        made(self, frame, lines, share)
        sizes.append(len(frame))

    monkeypatch.setattr(_long_files.Chunk, "__init__", spy)
    table = IMPORTERS[f"long-{kind}"].read(path, shares.append)
    assert sizes == [10] * 14 + [4]
    assert content_hash(table) == whole
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    expected = rows.accuracy.to_numpy().reshape(3, 12, 4) * 1000
    counts = table.curves_of("training", Split.VALIDATION).counts
    np.testing.assert_array_equal(counts, np.rint(expected))


# What is refused, and how.


def test_all_unknown_and_missing_columns_are_named(refused):
    said = refused({k: v for k, v in row(lr=1, arch="x", epohcs=3).items() if k != "layers"})
    assert said == (
        "line 1: unknown columns 'lr', 'arch', 'epohcs' (did you mean 'epochs'?); there are: "
        "architecture, space, epochs, batch_size, learning_rate, lr_schedule, layers, channels, "
        "image_size, precision, cutout, data_fraction, seed, epoch, split, correct, accuracy, "
        "split_size, seconds, device, dataset, label, reference; missing columns: layers"
    )
    assert refused({"architecture": "x"}) == (
        "line 1: missing columns: epochs, batch_size, learning_rate, layers, channels, "
        "image_size, epoch, split, split_size, correct or accuracy"
    )


SAYS = [
    ({"split": "valid"}, "unknown split 'valid'; there are: train, validation, test, heldout"),
    ({"split": None}, "no value in column 'split'"),
    ({"accuracy": 91.25}, "accuracy must be a fraction in [0, 1], found 91.25"),
    ({"accuracy": -0.1}, "accuracy must be a fraction in [0, 1], found -0.1"),
    ({"accuracy": None}, "no value in column 'accuracy'"),
    (
        {"accuracy": 0.5004},
        "accuracy 0.5004 of 1000 images is 500.4, which is not a whole number of images",
    ),
    ({"epoch": 13}, "epoch 13 is past the schedule of 12 epochs"),
    ({"epoch": 0}, "epoch must be a whole number of at least 1, found 0"),
    ({"epoch": 1.5}, "epoch must be a whole number of at least 1, found 1.5"),
    ({"epoch": "last"}, "epoch must be a number, found 'last'"),
    ({"epoch": True}, "epoch must be a number, found 'True'"),
    ({"accuracy": "50 %"}, "accuracy must be a number, found '50 %'"),
    ({"seed": -1}, "seed must be a whole number of at least 0, found -1"),
    ({"seed": 3e9}, "seed must be a whole number of at least 0, found 3e+09"),
    ({"split_size": 0}, "split_size must be a whole number of at least 1, found 0"),
    ({"seconds": 0}, "seconds must be above 0, found 0"),
    ({"seconds": "inf"}, "seconds must be above 0, found inf"),
    ({"epochs": "many"}, "epochs must be a number, found 'many'"),
    ({"epochs": None}, "no value in column 'epochs'"),
    ({"batch_size": 0.5}, "batch_size must be a whole number of at least 1, found 0.5"),
    ({"precision": "fp8"}, "precision must be one of fp16, bf16, fp32, found 'fp8'"),
    ({"label": "a b"}, "a setting's label must be letters, digits, '.', '_' or '-', found 'a b'"),
    ({"reference": "perhaps"}, "reference must be true or false, found 'perhaps'"),
    ({"space": "dart"}, f"unknown space 'dart'; there are: {', '.join(SPACES)}"),
    (
        {"space": "darts"},
        "space is 'darts', but 'nas-bench-201' in line 2; a table has one",
    ),
    ({"architecture": None}, "no value in column 'architecture'"),
    (
        {"architecture": "|none~0|+|none~0|conv~1|"},
        "malformed NAS-Bench-201 architecture at position 17: expected an operation (none, "
        "skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3), found 'conv'",
    ),
    ({"correct": 499}, "correct is 499, but accuracy says 500 of 1000 images"),
    ({"correct": 1001}, "correct is 1001 of a split_size of 1000"),
    ({"split_size": 2000}, "split_size is 2000, but 1000 in line 2 for the validation split of "
                           "the same setting"),
    ({"accuracy": 0.25}, "250 correct images, but 500 in line 2 for the same training and epoch"),
    ({"seconds": 2.5}, "seconds are 2.5, but 7 in line 2 for the same training"),
    ({"device": "V100"}, "the same budget has device V100, but A100 in line 2"),
    ({"reference": "true"}, "the same budget has reference true, but false in line 2"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), SAYS, ids=[s for _, s in SAYS])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_wrong_row_is_named(tmp_path, change, said, kind):
    right = row(space="nas-bench-201", correct=500, seed=0, seconds=7, device="A100", label=None,
                reference="false")  # fmt: skip
    if "correct" not in change:
        del right["correct"]
    path = tmp_path / f"own.{kind}"
    frame = columns(right, {**right, **change})
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:  # a Parquet column has one type: where a row differs in it, all are text
        mixed = [n for n in change if frame[n].dtype == object and not isinstance(change[n], bool)]
        frame[mixed] = frame[mixed].map(lambda v: None if v is None else str(v))
        if any(isinstance(value, bool) for value in change.values()):
            pytest.skip("such a column cannot be written")
        frame.to_parquet(path, index=False)
    place = "line 3" if kind == "csv" else "row 2"
    with pytest.raises(SourceFileError) as caught:
        read(path)
    expected = said if kind == "csv" else said.replace("line 2", "row 1")
    assert str(caught.value) == f"{path}: {place}: {expected}"


def test_a_label_has_one_budget(refused):
    assert refused(row(label="x"), row(label="x", batch_size=64, dataset="other")) == (
        "line 3: label 'x' has batch_size 64, but 256 in line 2"
    )


def test_a_data_set_has_one_reference(refused):
    rows = [row(reference=True, label="a"), row(label="b", channels=8, reference=True)]
    assert refused(*rows) == (
        "line 3: a second reference, 'b', for data set 'unknown'; in line 2 it is 'a'"
    )


def test_an_architecture_of_no_space(refused):
    assert refused(row() | {"architecture": "resnet"}) == (
        "line 2: architecture of no registered space: malformed DARTS genotype at position 0: "
        "expected 'Genotype', found 'resnet'; malformed NAS-Bench-201 architecture at position 0: "
        "expected '|', found 'r'"
    )


def test_five_wrong_lines_are_named_in_order_and_the_rest_counted(refused):
    wrong = [row(accuracy=2), row(split="dev"), row(epoch=99), row(epoch="x")]
    said = refused(row(), *wrong, row(accuracy=0.25), *([row(split="dev")] * 3))
    assert said == (
        "line 3: accuracy must be a fraction in [0, 1], found 2; "
        "line 4: unknown split 'dev'; there are: train, validation, test, heldout; "
        "line 5: epoch 99 is past the schedule of 12 epochs; "
        "line 6: epoch must be a number, found 'x'; "
        "line 7: 250 correct images, but 500 in line 2 for the same training and epoch; "
        "and 3 more wrong lines"
    )
    assert refused(*([row(split="dev")] * 6)).endswith("; and 1 more wrong line")


def test_lines_are_counted_across_chunks_blank_lines_and_quoted_breaks(monkeypatch, tmp_path):
    monkeypatch.setattr(_long_files, "ROWS_AT_ONCE", 2)
    darts = get_space("darts")
    text = darts.format(darts.sample(np.random.default_rng(0)))
    path = tmp_path / "own.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(row())
        for epoch in (1, 2, 3, 13, 4):
            broken = text.replace("reduce=", "\n reduce=") if epoch in (1, 3) else text
            writer.writerow({**row(epoch=epoch), "architecture": broken}.values())
            file.write("\n" if epoch == 2 else "")
    lines = path.read_text().splitlines()
    assert ",13," in lines[7]
    with pytest.raises(SourceFileError, match=r": line 8: epoch 13 is past the schedule"):
        read(path)
    with path.open("a") as file:
        file.write("a,b" * 40 + "\n")
    with pytest.raises(SourceFileError, match=r"; line 10: 41 fields, the header has 11$"):
        read(path)


def test_a_first_row_with_a_field_too_many(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("architecture,epochs\na,1,2\n")
    with pytest.raises(SourceFileError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: line 2 has 3 fields, the header has 2"


def test_a_quotation_mark_that_nothing_closes(tmp_path):
    path = tmp_path / "own.csv"
    columns(row(), row(1)).to_csv(path, index=False)
    path.write_text(path.read_text() + '"|none')
    with pytest.raises(SourceFileError, match=r": line 4: a quotation mark opens and none closes$"):
        read(path)


def test_more_settings_than_anyone_means(monkeypatch, refused):
    monkeypatch.setattr("bpe_bench.tables.importers._long_settings._MOST_SETTINGS", 3)
    said = refused(*(row(device=f"gpu{i}", channels=i + 1) for i in range(5)))
    assert said.startswith("line 5: the file has more than 3 different settings; ")


def test_a_vast_grid_of_few_rows(monkeypatch, refused):
    monkeypatch.setattr("bpe_bench.tables.importers.long._MOST_CELLS", 15)
    assert refused(*(row(i, seed=i * 1000) for i in range(4))) == (
        "the validation results of 'training' are 4 rows in a grid of 4 seeds x 1 epochs x 4 "
        "architectures, too large for a table; count each architecture's seeds from 0"
    )


def test_files_that_cannot_be_read(tmp_path):
    def message(name, data=None):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(SourceFileError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(path), "FILE")

    columns(row()).to_csv(tmp_path / "own.csv", index=False)
    columns(row()).to_parquet(tmp_path / "own.parquet", index=False)
    plain, parquet = ((tmp_path / f"own.{kind}").read_bytes() for kind in ("csv", "parquet"))
    assert message("no.csv") == "no file at FILE; give a .csv, .csv.gz or .parquet file"
    assert message("x.parquet", plain) == "FILE is not a Parquet file, although its name says so"
    assert message("cut.parquet", parquet[:-20]).startswith("cannot read FILE: Parquet magic bytes")
    assert message("cut.csv.gz", gzip.compress(plain * 99)[:-20]).startswith("cannot read FILE: ")
    assert message("empty.csv", b"").startswith("FILE: line 1: missing columns: architecture, ")
    assert message("head.csv", plain.splitlines()[0]) == "FILE has no rows below its header"
    latin = plain.replace(b"validation", "Ä".encode("latin-1"))
    assert message("latin.csv", latin).startswith("FILE is not text in UTF-8: byte 0xc4")


def test_parquet_without_pyarrow(monkeypatch, tmp_path):
    columns(row()).to_parquet(tmp_path / "own.parquet", index=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(OptionalDependencyError) as caught:
        read(tmp_path / "own.parquet")
    assert str(caught.value) == (
        "reading Parquet needs pyarrow, which is not installed; pip install 'bpe-bench[parquet]'"
    )
