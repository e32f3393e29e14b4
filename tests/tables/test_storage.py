"""Tables in files: nothing is lost, nothing half written, every refusal is clear."""

import dataclasses
import hashlib
import json
import math
import re
from importlib import resources

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bpe_bench.budget import Budget
from bpe_bench.errors import TableFileError
from bpe_bench.hyper_parameters import HYPER_PARAMETERS
from bpe_bench.spaces import SPACES, DeclaredSpace, get_space, register_space
from bpe_bench.tables import storage
from bpe_bench.tables.curves import CountReader
from bpe_bench.tables.storage import content_hash, read_table, verify_table, write_table
from bpe_bench.tables.table import Curves, Provenance, Setting, Split, Table

# HDF5 text ends at a NUL, and lone surrogates are not UTF-8.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)

budgets = st.builds(
    Budget,
    epochs=st.integers(1, 600),
    batch_size=st.integers(1, 1024),
    learning_rate=st.floats(1e-6, 10),
    layers=st.integers(1, 24),
    channels=st.integers(1, 64),
    image_size=st.integers(17, 32),
    lr_schedule=st.sampled_from(["cosine", "linear"]),
    precision=st.sampled_from(["fp16", "bf16", "fp32"]),
    cutout=st.integers(0, 16),
    data_fraction=st.floats(0.01, 1.0),
)


@st.composite
def tables(draw):
    """Any small table: some splits, seeds and epochs of some settings, some counts missing."""
    cells = draw(st.integers(1, 4))
    seeds = draw(st.lists(st.integers(0, 2**31 - 1), min_size=cells, max_size=cells))
    labels = draw(st.lists(st.from_regex(r"[A-Za-z0-9][\w.-]{0,5}", fullmatch=True).filter(
        str.isascii), min_size=1, max_size=3, unique=True))  # fmt: skip
    curves = {}
    for key in [(label, split) for label in labels for split in Split]:
        if draw(st.booleans()):
            size = draw(st.integers(1, 50_000))
            epochs = draw(st.sets(st.integers(1, 600), min_size=1, max_size=3))
            runs = draw(st.lists(st.integers(0, 999), min_size=1, max_size=3, unique=True))
            shape = (len(runs), len(epochs), cells)
            counts = draw(hnp.arrays(np.int32, shape, elements=st.integers(-1, size)))
            curves[key] = Curves(counts, size, np.array(sorted(epochs)), np.array(runs))
    seconds = st.one_of(st.just(math.nan), st.floats(1e-3, 1e7))
    return Table(
        space="darts",
        dataset="cifar10",
        architectures=tuple(get_space("darts").sample(np.random.default_rng(s)) for s in seeds),
        settings=tuple(
            Setting(label, draw(budgets), "cifar10", draw(seconds), draw(texts)) for label in labels
        ),
        curves=curves,
        references=tuple(draw(st.sampled_from([(), (labels[0],)]))),
        provenance=Provenance(*(draw(texts) for _ in range(6))),
        caveats=tuple(draw(st.lists(texts, max_size=3))),
    )


def assert_same(a, b):
    """Every field is equal, every count too."""
    for name in ("space", "dataset", "references", "provenance", "caveats"):
        assert getattr(a, name) == getattr(b, name)
    assert list(a.architectures) == list(b.architectures)
    assert dict(a.measures).keys() == dict(b.measures).keys()
    for key, values in a.measures.items():
        np.testing.assert_array_equal(values, b.measures[key])
    # NaN is not equal to itself, but its text is.
    assert list(map(repr, a.settings)) == list(map(repr, b.settings))
    assert dict(a.curves).keys() == dict(b.curves).keys()
    for key, curves in a.curves.items():
        other = b.curves[key]
        assert (curves.split_size, curves.scale) == (other.split_size, other.scale)
        assert curves.sources == other.sources
        for name in ("epochs", "seeds"):
            assert getattr(curves, name).dtype == getattr(other, name).dtype == np.int32
            np.testing.assert_array_equal(getattr(curves, name), getattr(other, name))
        assert curves.all_counts().dtype == other.all_counts().dtype == np.int32
        np.testing.assert_array_equal(curves.all_counts(), other.all_counts())


@settings(max_examples=50)
@given(table=tables())
def test_a_table_survives_its_file_to_the_count(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("tables") / "table.h5"
    digest = write_table(table, path)
    assert_same(read_table(path), table)
    assert digest == verify_table(path) == content_hash(table) == content_hash(read_table(path))


def test_a_large_array_survives_compression(tmp_path, golden):
    """Many architectures are parsed, and large counts read, only when asked for."""
    cells = golden.architectures * 2_000
    counts = np.random.default_rng(0).integers(-1, 6001, (2, 3, len(cells)), dtype=np.int32)
    curves = Curves(
        counts, 1000, np.array([1, 5, 10]), np.array([-1, 1]), scale=6, sources=("somewhere",)
    )
    table = dataclasses.replace(
        golden,
        architectures=cells,
        curves={("full", Split.TEST): curves},
        measures={("full", "flops"): np.random.default_rng(1).random(len(cells))},
    )
    write_table(table, tmp_path / "t.h5")
    opened = read_table(tmp_path / "t.h5")
    assert isinstance(opened.curves["full", Split.TEST].counts, CountReader)
    np.testing.assert_array_equal(opened.curves["full", Split.TEST].column(1, 2), counts[1, 2])
    assert_same(opened, table)
    with h5py.File(tmp_path / "t.h5") as file:
        # One column of a seed and an epoch is one contiguous read.
        assert file["curves/full/test/correct"].chunks == (1, 1, len(cells))


@pytest.fixture
def written(tmp_path, golden):
    """The golden table in a file that a test may spoil."""
    path = tmp_path / "golden.h5"
    write_table(golden, path)
    return path


def refusal(path, read=read_table):
    """Return the text with which a file is refused, without its path; one line."""
    with pytest.raises(TableFileError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


def spoil(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return refusal(path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("boom")])
@pytest.mark.parametrize("at", [0, 5])
def test_an_error_while_writing_leaves_the_old_file(written, golden, monkeypatch, error, at):
    before = written.read_bytes()
    calls = []

    def fail(file, name, array, write=storage._write_array):
        calls.append(name)
        if len(calls) > at:
            raise error
        write(file, name, array)

    monkeypatch.setattr(storage, "_write_array", fail)
    with pytest.raises((TableFileError, RuntimeError)) as caught:
        write_table(dataclasses.replace(golden, caveats=()), written)
    if isinstance(error, OSError):
        assert str(caught.value) == f"cannot write table {written}: No space left on device"
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_writing_where_there_is_no_folder(tmp_path, golden):
    path = tmp_path / "no" / "t.h5"
    with pytest.raises(TableFileError, match=r"^cannot write table .*: No such file or directory$"):
        write_table(golden, path)


def test_a_written_file_has_the_mode_of_any_new_one(written, mode_of_new_files):
    assert written.stat().st_mode & 0o777 == mode_of_new_files


def test_a_missing_file(tmp_path):
    assert refusal(tmp_path / "no.h5") == (
        "no table file at FILE; `bpe-bench tables list` shows what there is"
    )


DAMAGED = "cannot read FILE as a table: the file is truncated, damaged or not HDF5 ("
AGAIN = "); fetch or build it again"


def test_a_file_that_is_not_hdf5(tmp_path):
    (tmp_path / "t.h5").write_text("accuracy,cost\n0.9,3\n")
    text = refusal(tmp_path / "t.h5")
    assert text.startswith(DAMAGED)
    assert text.endswith("file signature not found)" + AGAIN)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file(written, share):
    content = written.read_bytes()
    written.write_bytes(content[: int(len(content) * share)])
    text = refusal(written)
    assert text.startswith(DAMAGED)
    assert text.endswith(AGAIN)


def test_a_foreign_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["data"] = [1, 2, 3]
    assert refusal(tmp_path / "t.h5") == (
        "FILE is an HDF5 file but not a bpe-bench table: its attribute 'format' should be "
        "'bpe-bench-table', found None"
    )
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        file.attrs["format"] = "cooler"
    assert refusal(tmp_path / "t.h5").endswith("found 'cooler'")


def test_a_newer_format(written):
    text = spoil(written, lambda file: file.attrs.modify("format_version", 3))
    assert text == (
        "FILE has format version 3, this bpe-bench reads up to 2; "
        "upgrade with: pip install --upgrade bpe-bench"
    )


@pytest.mark.parametrize("version", [0, "1"])
def test_an_invalid_format_version(written, version):
    text = spoil(written, lambda file: file.attrs.create("format_version", version))
    assert text.startswith("FILE has no valid format_version, found ")


def test_a_missing_array(written):
    text = spoil(written, lambda file: file.__delitem__("settings/channels"))
    assert text == "FILE is not a valid table: it lacks the array 'settings/channels'"
    # A group in an array's place is no array either.
    text = spoil(written, lambda file: file.create_group("settings/channels"))
    assert text == "FILE is not a valid table: it lacks the array 'settings/channels'"


def test_missing_attributes(written):
    with h5py.File(written, "r+") as file:
        del file.attrs["licence"]
    assert refusal(written) == "FILE is not a valid table: it lacks the text attribute 'licence'"


def replace_array(file, name, values):
    del file[name]
    file[name] = values


@pytest.mark.parametrize(
    ("name", "values", "wanted", "found"),
    [
        ("settings/seconds", np.array([1, 2, 3]), "1-dimensional of float64", "1-.* of int64"),
        # Half the width would be read, and hashed, as something else.
        ("settings/seconds", np.ones(3, "f4"), "1-dimensional of float64", "1-.* of float32"),
        ("settings/label", np.ones(3), "1-dimensional of bytes", "1-.* of float64"),
        ("curves/full/test/correct", np.ones(6, "i4"), "3-dimensional of int32", "1-.* of int32"),
    ],
)
def test_an_array_of_the_wrong_kind(written, name, values, wanted, found):
    text = spoil(written, lambda file: replace_array(file, name, values))
    expected = f"FILE is not a valid table: '{name}' should be {wanted}, found {found}"
    assert re.fullmatch(expected, text)


def test_an_absurd_size_is_refused_before_it_is_read(written):
    def change(file):
        del file["curves/full/test/correct"]
        # Takes no room in the file, and would take 4 TB of memory.
        shape = (1000, 1000, 1_000_000)
        file.create_dataset("curves/full/test/correct", shape, "<i4", chunks=(1, 1, 1000))

    assert spoil(written, change) == (
        "FILE is not a valid table: 'curves/full/test/correct' claims the shape "
        "(1000, 1000, 1000000) of int32, more than 17179869184 bytes"
    )


def test_a_file_without_a_hash_cannot_be_verified(written):
    with h5py.File(written, "r+") as file:
        del file.attrs["content_sha256"]
    assert refusal(written, verify_table) == (
        "table FILE carries no hash of its content (attribute 'content_sha256'), so it cannot be "
        "verified; write it again"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f["settings/epochs"].__setitem__(0, 0), "epochs must be a whole number"),
        (lambda f: f["curves/full/test/correct"].__setitem__((0, 0, 0), 9999), "counts must lie"),
        (lambda f: f.attrs.modify("space", "mars"), "unknown search space 'mars'"),
        (lambda f: f["architectures/text"].__setitem__(0, b"Genotype("), "malformed DARTS"),
        (lambda f: f["curves/full/test"].attrs.create("split_size", "x"), "attribute 'split_size'"),
        (lambda f: f["architectures/text"].__setitem__(0, b"\xff"), "'utf-8' codec can't decode"),
        (lambda f: f.move("curves/full/test", "curves/full/exam"), "'exam' is not a valid Split"),
        (lambda f: f.move("curves/full", "curves/best"), "curves of setting 'best', which"),
    ],
)  # fmt: skip
def test_content_that_forms_no_table(written, change, reason):
    assert spoil(written, change).startswith(f"FILE is not a valid table: {reason}")


def test_a_changed_count_is_found_by_verify(written, golden):
    with h5py.File(written, "r+") as file:
        file["curves/cheap/test/correct"][0, 0, 0] += 1
    damaged = content_hash(read_table(written))  # it reads: nothing in it is out of range
    assert refusal(written, verify_table) == (
        f"table FILE is damaged: its content should have SHA-256 {content_hash(golden)} and has "
        f"{damaged}; fetch or build it again"
    )


def test_the_hash_leaves_out_when_and_by_what_the_file_was_made(golden):
    other = dataclasses.replace(
        golden.provenance, created="2030-01-01T00:00:00", builder="other", builder_version="2"
    )
    same = dataclasses.replace(golden, provenance=other)
    assert content_hash(same) == content_hash(golden)


def changed_count(table):
    curves = dict(table.curves)
    old = curves["cheap", Split.TEST]
    counts = old.counts.copy()
    counts[1, 2, 3] += 1
    curves["cheap", Split.TEST] = dataclasses.replace(old, counts=counts)
    return {"curves": curves}


@pytest.mark.parametrize(
    "change",
    [
        changed_count,
        lambda t: {"caveats": ()},
        lambda t: {"references": ()},
        lambda t: {"architectures": t.architectures[::-1]},
        lambda t: {"settings": t.settings[::-1]},
        lambda t: {"provenance": dataclasses.replace(t.provenance, licence="MIT")},
    ],
)
def test_the_hash_covers_everything_else(golden, change):
    assert content_hash(dataclasses.replace(golden, **change(golden))) != content_hash(golden)


def test_unknown_hyper_parameters_are_kept_in_format_version_2(golden, tmp_path):
    unknown = golden.settings[0].budget.replace(
        batch_size=None, learning_rate=None, lr_schedule=None, precision=None, cutout=None
    )
    setting = dataclasses.replace(golden.settings[0], budget=unknown)
    table = dataclasses.replace(golden, settings=(setting, *golden.settings[1:]))
    digest = write_table(table, tmp_path / "unknown.h5")
    assert read_table(tmp_path / "unknown.h5").settings == table.settings
    assert verify_table(tmp_path / "unknown.h5") == digest
    with h5py.File(tmp_path / "unknown.h5") as file:
        assert file.attrs["format_version"] == 2
        assert file["settings/batch_size"][0] == file["settings/cutout"][0] == -1
        assert math.isnan(file["settings/learning_rate"][0])
        assert file["settings/lr_schedule"][0] == file["settings/precision"][0] == b""


@pytest.mark.parametrize(("name", "value"), [("batch_size", -1), ("learning_rate", math.nan)])
def test_version_1_has_no_unknown_hyper_parameters(written, name, value):
    def edit(file):
        file[f"settings/{name}"][0] = value

    assert spoil(written, edit).startswith(f"FILE is not a valid table: {name} must be ")


def test_a_table_that_version_1_can_hold_is_written_in_it(golden, tmp_path):
    write_table(golden, tmp_path / "known.h5")
    with h5py.File(tmp_path / "known.h5") as file:
        assert file.attrs["format_version"] == 1


@pytest.fixture
def shipped():
    """The shipped file, opened by h5py alone, as a reader in another language would."""
    with h5py.File(str(resources.files("bpe_bench_tables") / "darts-bpe.h5")) as file:
        yield file


def test_the_shipped_file_can_be_read_without_the_library(shipped):
    assert shipped.attrs["format"] == "bpe-bench-table"
    assert shipped.attrs["format_version"] == 1
    assert shipped.attrs["references"].tolist() == ["full"]
    labels = [text.decode() for text in shipped["settings/label"][()]]
    assert len(labels) == 38
    assert all(shipped[f"settings/{name}"].shape == (38,) for name in HYPER_PARAMETERS)
    place = labels.index("test5")
    assert shipped["settings/layers"][place] == 6
    assert shipped["settings/device"][place] == b"V100"
    # Per cent times 100, as in the published sheets.
    group = shipped["curves/test5/test"]
    assert group.attrs["split_size"] == 10_000
    assert group["correct"][0, 0, :3].tolist() == [6688, 6785, 6598]
    assert shipped["curves/full/test/correct"][0, 0, [0, 1, 99]].tolist() == [9682, 9728, 9738]
    assert group["epochs"][()].tolist() == [10]


def test_the_hash_can_be_computed_without_the_library(shipped):
    """As docs/table-format.md says: items led by their length, in the order of their names."""
    digest = hashlib.sha256()

    def add(data):
        digest.update(len(data).to_bytes(8, "little") + data)

    attributes, arrays = {}, {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]
        attributes.update({f"{name}@{key}": value for key, value in item.attrs.items()})

    shipped.visititems(visit)
    hashed = ("space", "dataset", "references", "caveats", "source", "licence", "citation")
    attributes.update({name: shipped.attrs[name] for name in hashed})
    for name, value in sorted(attributes.items()):
        add(name.encode())
        if isinstance(value, np.ndarray):
            add(str(len(value)).encode())
        for item in value if isinstance(value, np.ndarray) else [value]:
            add(str(item).encode())
    for name, array in sorted(arrays.items()):
        add(name.encode())
        add(f"{array.dtype.str} {array.shape}".encode())
        add(array.tobytes())
    assert digest.hexdigest() == shipped.attrs["content_sha256"]


NETS = {
    "name": "nets",
    "parameters": {
        "width": {"kind": "ordered", "values": [16, 32]},
        "cell": {"kind": "categorical", "values": "observed"},
    },
}


def test_a_table_of_a_declared_space_brings_it_along(golden, tmp_path):
    space = DeclaredSpace.of(NETS)
    register_space(space)
    texts = [f"width={16 + 16 * (n % 2)},cell={n:032x}" for n in range(6)]
    architectures = tuple(map(space.parse, texts))
    table = dataclasses.replace(golden, space="nets", architectures=architectures)
    digest = write_table(table, tmp_path / "nets.h5")
    with h5py.File(tmp_path / "nets.h5") as file:
        assert json.loads(file.attrs["declaration"]) == NETS
        assert file.attrs["format_version"] == 2
    del SPACES["nets"]
    opened = read_table(tmp_path / "nets.h5")
    assert [get_space("nets").format(a) for a in opened.architectures] == texts
    assert content_hash(opened) == digest
    del SPACES["nets"]
    register_space(DeclaredSpace.of({**NETS, "parameters": {"cell": NETS["parameters"]["cell"]}}))
    with pytest.raises(TableFileError) as caught:
        read_table(tmp_path / "nets.h5")
    assert str(caught.value).startswith(
        f"{tmp_path / 'nets.h5'} is not a valid table: the name nets is taken by another search "
        "space; there are: "
    )
