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
from bpe_bench.errors import BpeBenchWarning, OptionalDependencyError, SourceFileError
from bpe_bench.spaces import SPACES
from bpe_bench.tables.curves import MEAN_OF_SEEDS, MISSING, Split
from bpe_bench.tables.importers import IMPORTERS, get_importer
from bpe_bench.tables.importers.long import _files
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
    curves = imported(row(accuracy=0.3333333, size=3000)).curves_of("training", Split.VALIDATION)
    assert (curves.counts.item(), curves.scale) == (1000, 1)


@pytest.mark.parametrize(
    ("accuracies", "size", "scale", "counts"),
    [
        ([0.33333], 3000, 100, [99_999]),  # 999.99 of 3000 images in hundredths
        ([0.9435, 0.9], 3000, 2, [5661, 5400]),
        ([0.943, 0.9437], 64, 625, [37_720, 37_748]),
        ([2 / 3], 10_000, 3, [20_000]),
    ],
)
def test_rounded_accuracies_are_kept_in_parts_of_an_image(
    imported, accuracies, size, scale, counts
):
    rows = [row(i, accuracy=a, size=size) for i, a in enumerate(accuracies)]
    with pytest.warns(BpeBenchWarning, match="not whole numbers of images") as said:
        table = imported(*rows)
    assert str(said[0].message) == (
        "accuracies that are not whole numbers of images are kept as they are: the validation "
        f"results of 'training' ({accuracies[0] * size:.6g} of {size} images in line 2); if that "
        "is a slip, correct split_size or accuracy"
    )
    curves = table.curves_of("training", Split.VALIDATION)
    assert (curves.counts.ravel().tolist(), curves.scale) == (counts, scale)
    np.testing.assert_allclose(table.accuracy("training", Split.VALIDATION), accuracies, rtol=1e-15)


def test_accuracies_of_all_digits_are_kept_to_a_billionth(imported):
    value = 0.123456789123
    with pytest.warns(BpeBenchWarning):
        table = imported(row(accuracy=value, size=7))
    assert table.accuracy("training", Split.VALIDATION) == pytest.approx(value, abs=1e-9)


def test_means_over_seeds_have_seed_minus_one(imported):
    table = imported(row(0, seed=-1, accuracy=(910 + 911 + 913) / 3000), row(1, seed=-1))
    curves = table.curves_of("training", Split.VALIDATION)
    assert (curves.seeds.tolist(), curves.scale) == ([MEAN_OF_SEEDS], 3)
    assert curves.counts.tolist() == [[[2734, 1500]]]
    assert len(curves.own_seeds) == 0


def test_what_a_source_does_not_say_is_unknown(imported, tmp_path):
    bare = {
        key: value for key, value in row().items() if key not in ("batch_size", "layers", "epoch")
    }
    table = imported({**bare, "lr_schedule": "step", "channels": "unknown"})
    budget = table.settings[0].budget
    assert (budget.batch_size, budget.layers, budget.channels) == (None, None, None)
    assert (budget.lr_schedule, budget.cutout) == ("step", 0)
    # Without a column of epochs, what was measured is the end of the schedule.
    assert table.curves_of("training", Split.VALIDATION).epochs.tolist() == [12]
    digest = write_table(table, tmp_path / "own.h5")
    assert content_hash(read_table(tmp_path / "own.h5")) == digest


@pytest.mark.filterwarnings("ignore:columns that the long form does not know")
def test_columns_with_the_same_plain_name_stay_two_measures(imported):
    table = imported(row(0, **{"flops (M)": 3.0, "flops [M]": 4.0}))
    found = {name: values.tolist() for (_, name), values in table.measures.items()}
    assert found == {"flops--M-": [3.0], "flops--M--2": [4.0]}


def test_other_columns_of_numbers_become_measures_and_the_rest_is_left_out(imported):
    with pytest.warns(BpeBenchWarning) as said:
        table = imported(
            row(0, seed=0, parameters=1.5, **{"sync flow": 3.0}, note="a", loss=0.1, epoch=11),
            row(0, seed=0, parameters=1.5, **{"sync flow": 3.0}, note="a", loss=0.2),
            row(0, seed=1, parameters=1.5, **{"sync flow": 5.0}, note="b", loss=0.3),
            row(1, seed=0, **{"sync flow": 2.0}),
        )
    assert [str(warning.message) for warning in said] == [
        "columns that the long form does not know: parameters, sync flow kept as measures; "
        "note, loss ignored"
    ]
    np.testing.assert_array_equal(table.measure("training", "sync-flow"), [4.0, 2.0])
    np.testing.assert_array_equal(table.measure("training", "parameters"), [1.5, np.nan])
    assert set(table.measures) == {("training", "sync-flow"), ("training", "parameters")}


def test_costs_of_epochs_are_kept_as_they_were_measured(imported):
    table = imported(
        row(0, epoch=1, epoch_seconds=9.0),
        row(0, epoch=12, epoch_seconds=20.0),
        row(1, epoch=1, epoch_seconds=11.0),
        row(1, epoch=12, epoch_seconds=30.0),
    )
    np.testing.assert_array_equal(table.measure("training", "seconds@1"), [9.0, 11.0])
    np.testing.assert_array_equal(table.measure("training", "seconds"), [20.0, 30.0])
    assert table.setting("training").seconds == 25.0


def test_where_a_file_lies_does_not_change_its_content(imported, tmp_path):
    digest = content_hash(imported(row()))
    (tmp_path / "own.csv").rename(tmp_path / "renamed.csv")
    assert content_hash(read(tmp_path / "renamed.csv")) == digest


def test_the_source_of_an_import_can_be_said(imported, tmp_path):
    imported(row())
    path = tmp_path / "own.csv"
    said = {"source": "Doe, 2026", "licence": "CC-BY", "citation": "Doe, J., 2026"}
    table = get_importer("long-csv").read(path, **said)
    assert {name: getattr(table.provenance, name) for name in said} == said


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


def test_labels_of_digits_keep_their_zeros(imported):
    table = imported(row(label="007"), row(1, label="007"), row(label="1e3"))
    assert [setting.label for setting in table.settings] == ["007", "1e3"]


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
    for table in tables.values():
        np.testing.assert_equal(
            table.describe()["settings"], tables["own.csv"].describe()["settings"]
        )
        assert table.to_frame().equals(tables["own.csv"].to_frame())


def test_the_table_survives_its_file(imported, tmp_path):
    table = imported(row(0, seconds=1.5), row(1, dataset="b", reference=True, seed=3))
    digest = write_table(table, tmp_path / "own.h5")
    assert content_hash(read_table(tmp_path / "own.h5")) == digest


@pytest.mark.filterwarnings("ignore:columns that the long form does not know")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_read_in_chunks(monkeypatch, tmp_path, kind):
    """No more than a chunk is in memory at a time, and chunks do not show in the result."""
    rng = np.random.default_rng(0)
    rows = columns(
        *(
            row(
                a,
                epoch=e,
                seed=s,
                accuracy=int(rng.integers(1001)) / 1000,
                seconds=a + 1.0,
                parameters=a / 4,
            )
            for s in range(3)
            for e in range(1, 13)
            for a in range(4)
        )
    )
    path = tmp_path / f"own.{kind}"
    getattr(rows, f"to_{kind}")(path, index=False)
    whole, sizes, shares = content_hash(read(path)), [], []
    monkeypatch.setattr(_files, "_ROWS_AT_ONCE", 10)
    made = _files._Chunk.__init__

    def spy(self, frame, lines, share):
        made(self, frame, lines, share)
        sizes.append(len(frame))

    monkeypatch.setattr(_files._Chunk, "__init__", spy)
    table = IMPORTERS[f"long-{kind}"].read(path, shares.append)
    assert sizes == [10] * 14 + [4]
    assert content_hash(table) == whole
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    expected = rows.accuracy.to_numpy().reshape(3, 12, 4) * 1000
    counts = table.curves_of("training", Split.VALIDATION).counts
    np.testing.assert_array_equal(counts, np.rint(expected))
    np.testing.assert_array_equal(table.measure("training", "parameters"), np.arange(4) / 4)


# What is refused, and how.


def test_all_misspelt_and_missing_columns_are_named(refused):
    said = refused({k: v for k, v in row(epohcs=3).items() if k not in ("epochs", "split")})
    assert said == (
        "line 1: unknown columns 'epohcs' (did you mean 'epochs'?); there are: "
        "architecture, space, epochs, batch_size, learning_rate, lr_schedule, layers, channels, "
        "image_size, precision, cutout, data_fraction, seed, epoch, split, correct, accuracy, "
        "split_size, seconds, epoch_seconds, device, dataset, label, reference; missing columns: "
        "epochs, split"
    )
    assert refused({"architecture": "x"}) == (
        "line 1: missing columns: epochs, split, split_size, correct or accuracy"
    )


SAYS = [
    ({"split": "dev"}, "unknown split 'dev'; there are: train, validation, test, heldout"),
    ({"split": None}, "no value in column 'split'"),
    (
        {"accuracy": 91.25},
        "accuracy must be a fraction in [0, 1], found 91.25; divide per cent by 100",
    ),
    ({"accuracy": 125}, "accuracy must be a fraction in [0, 1], found 125"),
    ({"accuracy": -0.1}, "accuracy must be a fraction in [0, 1], found -0.1"),
    ({"accuracy": None}, "no value in column 'accuracy'"),
    ({"epoch": 13}, "epoch 13 is past the schedule of 12 epochs"),
    ({"epoch": 0}, "epoch must be a whole number of at least 1, found 0"),
    ({"epoch": 1.5}, "epoch must be a whole number of at least 1, found 1.5"),
    ({"epoch": "last"}, "epoch must be a number, found 'last'"),
    ({"epoch": True}, "epoch must be a number, found 'True'"),
    ({"accuracy": "50 %"}, "accuracy must be a number, found '50 %'"),
    (
        {"seed": -2},
        "seed must be a whole number of at least 0, or -1 for a mean over seeds, found -2",
    ),
    (
        {"seed": 3e9},
        "seed must be a whole number of at least 0, or -1 for a mean over seeds, found 3e+09",
    ),
    ({"split_size": 0}, "split_size must be a whole number of at least 1, found 0"),
    ({"seconds": 0}, "seconds must be above 0, found 0"),
    ({"seconds": "inf"}, "seconds must be above 0, found inf"),
    ({"epochs": "many"}, "epochs must be a number, found 'many'"),
    ({"epochs": None}, "no value in column 'epochs'"),
    ({"batch_size": 0.5}, "batch_size must be a whole number of at least 1, found 0.5"),
    ({"precision": "fp8"}, "precision must be one of fp16, bf16, fp32, found 'fp8'"),
    ({"label": "a b"}, "a setting's label must be letters, digits, '.', '_' or '-', found 'a b'"),
    ({"reference": "perhaps"}, "reference must be true or false, found 'perhaps'"),
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
    ({"correct": -1}, "correct is -1 of a split_size of 1000"),
    ({"correct": 1001}, "correct is 1001 of a split_size of 1000"),
    ({"split_size": 2000}, "split_size is 2000, but 1000 in line 2 for the validation results of "
                           "'training'"),
    ({"accuracy": 0.25}, "250 correct images, but 500 in line 2 for the same training and epoch; "
                         "give other trainings other seeds, and other settings other labels"),
    ({"seconds": 2.5}, "seconds are 2.5, but 7 in line 2 for the same training; costs up to an "
                       "epoch are epoch_seconds"),
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
    said = refused(row() | {"architecture": "resnet"})
    assert said.startswith(
        "line 2: architecture of no known space: malformed DARTS genotype at position 0: "
        "expected 'Genotype', found 'resnet'; malformed NAS-Bench-201 architecture at position 0: "
        "expected '|', found 'r'; "
    )
    hint = "declare a space of your own with --space FILE.toml (docs/importing.md)"
    assert said.endswith(f"; {hint}")
    assert refused(row(space="dart")) == (
        "line 2: architecture of no known space: unknown search space 'dart' (did you mean "
        f"'darts'?); there are: {', '.join(SPACES)}; {hint}"
    )


def test_five_wrong_lines_are_named_in_order_and_the_rest_counted(refused):
    wrong = [row(accuracy=2), row(split="dev"), row(epoch=99), row(epoch="x")]
    said = refused(row(), *wrong, row(accuracy=0.25), *([row(split="dev")] * 3))
    assert said == (
        "line 3: accuracy must be a fraction in [0, 1], found 2; divide per cent by 100; "
        "line 4: unknown split 'dev'; there are: train, validation, test, heldout; "
        "line 5: epoch 99 is past the schedule of 12 epochs; "
        "line 6: epoch must be a number, found 'x'; "
        "line 7: 250 correct images, but 500 in line 2 for the same training and epoch; give other "
        "trainings other seeds, and other settings other labels; and 3 more wrong lines"
    )
    assert refused(*([row(split="dev")] * 6)).endswith("; and 1 more wrong line")


def test_lines_are_counted_across_chunks_blank_lines_and_quoted_breaks(monkeypatch, tmp_path):
    monkeypatch.setattr(_files, "_ROWS_AT_ONCE", 2)
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
    path.write_text("architecture,epochs,split,split_size,accuracy\na,1,test,5,1,2\n")
    with pytest.raises(SourceFileError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: line 2: 6 fields, the header has 5"


def test_a_quotation_mark_that_nothing_closes(tmp_path):
    path = tmp_path / "own.csv"
    columns(row(), row(1)).to_csv(path, index=False)
    path.write_text(path.read_text() + '"|none')
    with pytest.raises(SourceFileError, match=r": line 4: a quotation mark opens and none closes$"):
        read(path)


def test_more_settings_than_anyone_means(monkeypatch, refused):
    monkeypatch.setattr("bpe_bench.tables.importers.long._rows._MOST_SETTINGS", 3)
    said = refused(*(row(device=f"gpu{i}", channels=i + 1) for i in range(5)))
    assert said.startswith("line 5: the file has more than 3 different settings; ")


def test_a_vast_grid_of_few_rows(monkeypatch, refused):
    monkeypatch.setattr("bpe_bench.tables.importers.long._MOST_CELLS", 15)
    assert refused(*(row(i, seed=i * 1000) for i in range(4))) == (
        "line 2: the validation results of 'training' are 4 rows in a grid of 4 seeds x 1 epochs x "
        "4 architectures, too large for a table; count each architecture's seeds from 0"
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
    assert message("x.parquet", plain).startswith("cannot read FILE: Parquet magic bytes")
    assert message("cut.parquet", parquet[:-20]).startswith("cannot read FILE: Parquet magic bytes")
    assert message("cut.csv.gz", gzip.compress(plain * 99)[:-20]).startswith("cannot read FILE: ")
    assert message("empty.csv", b"").startswith("FILE: line 1: missing columns: architecture, ")
    assert message("head.csv", plain.splitlines()[0]) == (
        "FILE has no rows below its header; add some results"
    )
    latin = plain.replace(b"validation", "Ä".encode("latin-1"))
    said = message("latin.csv", latin)
    assert said.startswith("cannot read FILE: 'utf-8' codec can't decode byte 0xc4 in position")
    assert said.endswith("; save it as UTF-8")


def test_parquet_without_pyarrow(monkeypatch, tmp_path):
    columns(row()).to_parquet(tmp_path / "own.parquet", index=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(OptionalDependencyError) as caught:
        read(tmp_path / "own.parquet")
    assert str(caught.value) == (
        "reading Parquet needs pyarrow, which is not installed; pip install 'bpe-bench[parquet]'"
    )
