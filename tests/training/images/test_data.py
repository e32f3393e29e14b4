"""Where images come from, how they are kept, how they are split."""

import io
import itertools
import json
import os
import pickle
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from bpe_bench.errors import (
    BpeBenchWarning,
    OptionalDependencyError,
    SelectionError,
    SourceFileError,
)
from bpe_bench.training.images import _cache, _sources
from bpe_bench.training.images.data import (
    ImageData,
    Images,
    _stratified_order,
    load_images,
    split_indices,
    subset,
)

REPOSITORY = Path(__file__).resolve().parents[3]
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


@pytest.fixture(scope="session")
def cifar10(tmp_path_factory):
    """The copy of CIFAR-10 beside this checkout, and the cache that it was loaded through."""
    beside = REPOSITORY.parent / "shared" / "cifar10"
    folder = Path(os.environ.get("BPE_BENCH_CIFAR10", beside))
    if not folder.is_dir():
        pytest.skip("CIFAR-10 is not beside this checkout")
    pytest.importorskip("pyarrow")
    pytest.importorskip("PIL")
    return load_images(folder, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def load(tmp_path):
    """Load images with a cache of the test's own."""
    return lambda source: load_images(source, cache=tmp_path / "cache")


def made_up(count, seed=0, channels=3, size=32, classes=10):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype=np.int64) % classes)


def in_batches(count=20):
    """Six batches of made-up images."""
    return {name: made_up(count, seed) for seed, name in enumerate(BATCHES)}


def plain_batch(part):
    records = np.column_stack([part.labels.astype(np.uint8), part.pixels.reshape(-1, 3072)])
    return records.tobytes()


def old_pickle(part):
    """A batch as the official archive has it: pickled by Python 2 and an old numpy."""

    def text(value):
        return b"T" + len(value).to_bytes(4, "little") + value

    count = len(part.labels)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(M" + count.to_bytes(2, "little") + b"M\x00\x0ctcnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + text(part.pixels.tobytes())
        + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in part.labels) + b"e"
    names = b"](" + b"".join(text(b"x.png") for _ in range(count)) + b"e"
    fields = b"U\x04data" + array + b"U\x06labels" + labels + b"U\x09filenames" + names
    return b"\x80\x02}(" + fields + b"U\x0bbatch_labelU\x01au."


def new_pickle(part):
    fields = {"data": part.pixels.reshape(-1, 3072), "labels": part.labels.tolist()}
    return pickle.dumps(fields, 4)


def archive(path, contents, folder="cifar-10-batches"):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def folder_of(path, contents):
    path.mkdir(parents=True)
    for name, content in contents.items():
        (path / name).write_bytes(content)
    return path


def encoded(pixels, form="PNG"):
    from PIL import Image

    stream = io.BytesIO()
    array = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    Image.fromarray(array).save(stream, form)
    return stream.getvalue()


def class_folders(root, parts, form="PNG", suffix=".png"):
    pytest.importorskip("PIL")
    for split, part in parts.items():
        for place, (pixels, label) in enumerate(zip(part.pixels, part.labels, strict=True)):
            file = root / split / f"class-{label}" / f"{place:03}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(pixels, form))
    return root


def parquet(root, parts, form="PNG", **columns):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    root.mkdir(parents=True, exist_ok=True)
    for split, part in parts.items():
        rows = [{"bytes": encoded(p, form), "path": f"{i}.png"} for i, p in enumerate(part.pixels)]
        kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        table = {"img": arrow.array(rows, kind), "label": arrow.array(part.labels), **columns}
        files.write_table(arrow.table(table), root / f"{split}-00000-of-00001.parquet")
    return root


def assert_same(found, expected):
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.pixels.dtype == np.uint8
    assert found.labels.dtype == np.int64


def refusal(load, source):
    with pytest.raises(SourceFileError) as error:
        load(source)
    message = str(error.value)
    assert message.isprintable(), "one line"
    return message


# What comes in


def test_cifar10_is_whole_and_named_for_its_coding(cifar10):
    assert cifar10.name == "cifar10-jpeg"
    assert cifar10.classes == 10
    assert cifar10.train.pixels.shape == (50_000, 3, 32, 32)
    assert cifar10.test.pixels.shape == (10_000, 3, 32, 32)
    assert np.bincount(cifar10.train.labels).tolist() == [5000] * 10
    assert np.bincount(cifar10.test.labels).tolist() == [1000] * 10
    assert cifar10.mirrors
    # The published means of CIFAR-10, which a mix-up of channels or rows would miss.
    means = cifar10.train.pixels[::10].mean((0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=0.01)


@pytest.mark.parametrize("source", [None, "digits"])
def test_the_digits(source):
    digits = load_images(source)
    assert (digits.name, digits.classes, digits.mirrors) == ("digits", 10, False)
    assert digits.train.pixels.shape == (1437, 1, 8, 8)
    assert digits.test.pixels.shape == (360, 1, 8, 8)
    assert digits.train.pixels.max() == 255
    assert np.bincount(digits.test.labels).min() >= 34, "stratified: 36 each, nearly"
    from sklearn.datasets import load_digits

    bunch = load_digits()
    every = np.concatenate([digits.train.pixels, digits.test.pixels])[:, 0]
    np.testing.assert_array_equal(
        np.sort(every.sum((1, 2), dtype=int)),
        np.sort(np.rint(bunch.images * 255 / 16).sum((1, 2)).astype(int)),
    )
    assert load_images(source).digest() == digits.digest()


@pytest.mark.parametrize("pack", [old_pickle, new_pickle, plain_batch])
@pytest.mark.parametrize("packed", [True, False])
def test_official_archives_give_the_same_arrays(load, tmp_path, pack, packed):
    parts = in_batches()
    suffix = ".bin" if pack is plain_batch else ""
    contents = {name + suffix: pack(part) for name, part in parts.items()}
    contents["batches.meta"] = b"ignored"
    if packed:
        source = archive(tmp_path / "cifar-10-python.tar.gz", contents)
    else:
        kind = "bin" if suffix else "py"
        source = folder_of(tmp_path / "x" / f"cifar-10-batches-{kind}", contents).parent
    data = load(source)
    expected = [parts[name] for name in BATCHES[:-1]]
    assert_same(
        data.train,
        Images(
            np.concatenate([part.pixels for part in expected]),
            np.concatenate([part.labels for part in expected]),
        ),
    )
    assert_same(data.test, parts["test_batch"])
    assert data.classes == 10
    assert data.name == f"cifar10-{data.digest()[:8]}", "not all of CIFAR-10, and says so"


def test_class_folders(load, tmp_path):
    parts = {"train": made_up(12, classes=3, size=8), "test": made_up(6, 1, classes=3, size=8)}
    root = class_folders(tmp_path / "My Shapes", parts)
    (root / "train" / "class-0" / ".DS_Store").write_bytes(b"")
    data = load(root)
    assert data.classes == 3
    assert data.name == f"my-shapes-{data.digest()[:8]}"
    for split, part in parts.items():
        order = np.argsort(part.labels, kind="stable")  # folder by folder
        assert_same(getattr(data, split), Images(part.pixels[order], part.labels[order]))


def test_grey_images_have_one_channel_unless_some_are_in_colour(load, tmp_path):
    parts = {"train": made_up(4, channels=1, classes=2), "test": made_up(2, 1, 1, classes=2)}
    root = class_folders(tmp_path / "grey", parts)
    assert load(root).shape == (1, 32, 32)
    colour = class_folders(tmp_path / "colour", {**parts, "train": made_up(4, classes=2)})
    assert "one shape" in refusal(load, colour)
    class_folders(root, {"train": made_up(2, classes=2), "test": made_up(1, classes=2)})
    data = load(root)
    assert data.shape == (3, 32, 32)
    np.testing.assert_array_equal(data.test.pixels[1, 0], data.test.pixels[1, 2])


@pytest.mark.parametrize("below", ["", "plain_text"])
def test_parquet(load, tmp_path, below):
    parts = {"train": made_up(20), "test": made_up(10, 1)}
    parquet(tmp_path / "some" / below, parts)
    data = load(tmp_path / "some")
    for split, part in parts.items():
        assert_same(getattr(data, split), part)
    assert data.name.startswith("some-")


def test_names_tell_lossy_images_from_others(load, tmp_path, monkeypatch):
    monkeypatch.setattr("bpe_bench.training.images.data._WHOLE_CIFAR_10", (20, 10, 10, (3, 32, 32)))
    parts = {"train": made_up(20), "test": made_up(10, 1)}
    assert load(parquet(tmp_path / "png", parts)).name == "cifar10"
    assert load(parquet(tmp_path / "jpeg", parts, "JPEG")).name == "cifar10-jpeg"
    assert load(class_folders(tmp_path / "a", parts)).name == "cifar10"
    mixed = class_folders(tmp_path / "b", parts)
    file = next(mixed.glob("test/*/*.png"))
    file.write_bytes(encoded(parts["test"].pixels[0], "JPEG"))
    assert load(mixed).name == "cifar10-jpeg", "by the bytes, not by the name"


# What is refused


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_malicious_pickle_is_refused_and_not_run(load, tmp_path, protocol):
    trace = tmp_path / "trace"
    evil = pickle.dumps({"data": Calls(os.mkdir, str(trace)), "labels": [1]}, protocol)
    contents = {name: old_pickle(part) for name, part in in_batches(1).items()}
    source = archive(tmp_path / "cifar-10-python.tar.gz", {**contents, "data_batch_3": evil})
    message = refusal(load, source)
    assert message == (
        f"{source}/data_batch_3 is not safe to open: its pickle asks for posix.mkdir, which no "
        "batch of CIFAR-10 needs; nothing of it was run; fetch the file again from a place that "
        "you trust"
    )
    assert not trace.exists()
    pickle.loads(evil)
    assert trace.exists(), "read as usual, it makes the folder"


@pytest.mark.parametrize(
    "evil",
    [
        pytest.param(b"cnumpy\nndarray\n(K\xfftR.", id="call of a type"),
        pytest.param(b"cnumpy\ndtype\n(U\x01OtR.", id="objects"),
        pytest.param(b"cnumpy\ndtype\n}U\x08__call__K\x01sb.", id="alter a stand-in"),
        pytest.param(b"cbuiltins\ngetattr\n.", id="getattr"),
        pytest.param(b"cnumpy\nndarray.__class__\n.", id="dotted"),
        pytest.param(b"(S'true'\nios\nsystem\n.", id="INST"),
        pytest.param(b"\x80\x02K\x01Q.", id="persistent"),
        pytest.param(b"\x80\x02}.", id="empty"),
        pytest.param(b"c\x1b[2J\nx\ny.", id="control"),
        pytest.param(pickle.dumps({"data": b"1", "labels": [1]}), id="no array"),
        pytest.param(
            pickle.dumps({"data": np.zeros((1, 3), np.uint8), "labels": [1]}, 4), id="narrow"
        ),
        pytest.param(
            pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, 4), id="labels"
        ),
        pytest.param(
            pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}, 4), id="class"
        ),
        pytest.param(
            pickle.dumps({"data": np.zeros((1, 3072), np.float64), "labels": [1]}, 4), id="floats"
        ),
        pytest.param(new_pickle(made_up(3))[:-4000], id="truncated"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_pickles_that_are_no_batches(load, tmp_path, evil):
    contents = {name: old_pickle(part) for name, part in in_batches(1).items()}
    source = folder_of(tmp_path / "batches", {**contents, "test_batch": evil})
    assert refusal(load, source).startswith(f"{source}/test_batch is ")


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, -20])
def test_corrupt_archives(load, tmp_path, keep):
    contents = {f"{name}.bin": plain_batch(part) for name, part in in_batches().items()}
    source = archive(tmp_path / "cifar-10-binary.tar.gz", contents)
    whole = source.read_bytes()
    source.write_bytes(whole[:keep])
    assert refusal(load, source).startswith(f"{source} is corrupt or not an archive (")
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 0xFF
    source.write_bytes(changed)
    assert "corrupt" in refusal(load, source)


def test_incomplete_and_foreign_batches(load, tmp_path):
    contents = {f"{name}.bin": plain_batch(part) for name, part in in_batches(2).items()}
    lacking = {k: v for k, v in contents.items() if k not in ("data_batch_2.bin", "test_batch.bin")}
    source = archive(tmp_path / "lacking.tar.gz", lacking)
    assert refusal(load, source) == (
        f"{source} lacks data_batch_2.bin, test_batch.bin: CIFAR-10 has five train batches and a "
        "test batch"
    )
    assert "lacks data_batch_2.bin" in refusal(load, folder_of(tmp_path / "f", lacking))
    other = archive(tmp_path / "other.tar.gz", {"README": b"hello"})
    assert "holds no batches of CIFAR-10" in refusal(load, other)
    short = {**contents, "data_batch_1.bin": contents["data_batch_1.bin"][:-1]}
    assert refusal(load, folder_of(tmp_path / "g", short)) == (
        f"{tmp_path}/g/data_batch_1.bin is truncated: expected records of 3073 bytes, found 6145 "
        "bytes; fetch it again"
    )
    wrong = {**contents, "data_batch_1.bin": b"\x0b" + bytes(3072)}
    assert "labels from 0 to 9, found 11" in refusal(load, folder_of(tmp_path / "h", wrong))


def test_a_batch_of_absurd_size_is_not_read(load, tmp_path):
    contents = {f"{name}.bin": plain_batch(part) for name, part in in_batches(1).items()}
    source = folder_of(tmp_path / "big", contents)
    os.truncate(source / "data_batch_4.bin", 10**8)
    assert "data_batch_4.bin has 100000000 bytes" in refusal(load, source)


def test_an_unreadable_image_is_named(load, tmp_path):
    root = class_folders(tmp_path / "x", {"train": made_up(4), "test": made_up(4, 1)})
    file = root / "train" / "class-2" / "002.png"
    good = file.read_bytes()
    for bad in (b"", b"hello", good[:60], good[:1000]):
        file.write_bytes(bad)
        message = refusal(load, root)
        assert message.startswith(f"{file}: the image cannot be decoded (")
        assert "object at" not in message
        assert len(message) < len(str(file)) + 300


def test_an_unreadable_image_in_parquet_is_named(load, tmp_path, monkeypatch):
    good, calls = encoded, itertools.count()
    monkeypatch.setitem(
        globals(), "encoded", lambda *a: b"broken" if next(calls) == 3 else good(*a)
    )
    root = parquet(tmp_path / "x", {"train": made_up(10), "test": made_up(10, 1)})
    assert refusal(load, root).startswith(
        f"{root}/train-00000-of-00001.parquet, row 3 ('3.png'): the image cannot be decoded ("
    )


def test_images_of_another_size_are_named(load, tmp_path):
    root = class_folders(tmp_path / "x", {"train": made_up(4), "test": made_up(4, 1)})
    (root / "test" / "class-0" / "999.png").write_bytes(encoded(made_up(1, size=16).pixels[0]))
    assert refusal(load, root) == (
        f"{root}/test/class-0/999.png: the image has 16x16 pixels; images must be square and of "
        "one size, and the first has 32x32"
    )


def test_wrong_schema_and_broken_parquet(load, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    parts = {"train": made_up(10), "test": made_up(10, 1)}
    root = parquet(tmp_path / "x", parts)
    file = root / "train-00000-of-00001.parquet"
    files.write_table(arrow.table({"image": [b"1"], "label": ["cat"]}), file)
    assert refusal(load, root) == (
        f"{file} has another schema; expected img: struct<bytes: binary, path: string>, "
        "label: int64, found image: binary, label: string"
    )
    file.write_bytes(b"PAR1 no PAR1")
    assert refusal(load, root).startswith(f"{file} is not a readable Parquet file (")
    gap = {**parts, "train": Images(parts["train"].pixels, parts["train"].labels * 2)}
    assert "must count from 0 without a gap" in refusal(load, parquet(tmp_path / "gap", gap))
    more = {**parts, "test": Images(parts["test"].pixels, parts["test"].labels + 1)}
    assert "labels of test images must be 0 to 9, found 1 to 10" in refusal(
        load, parquet(tmp_path / "more", more)
    )


def test_missing_splits(load, tmp_path):
    only = {"train": made_up(10)}
    for root in (parquet(tmp_path / "a", only), class_folders(tmp_path / "b", only)):
        assert refusal(load, root) == (
            f"{root} has no test images; needed are train and test images"
        )
    root = class_folders(tmp_path / "c", {"train": made_up(10), "test": made_up(9, 1)})
    assert "only one has class-9" in refusal(load, root)
    (root / "test" / "class-9").mkdir()
    assert refusal(load, root) == f"{root}/test/class-9 holds no images"


def test_what_is_not_understood_is_told_what_is(load, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x.zip").write_bytes(b"PK")
    starts = {
        tmp_path / "nowhere": "no images at ",
        "mnist": "no images at mnist; ",
        tmp_path / "x.zip": f"{tmp_path}/x.zip is not a source of images; ",
        tmp_path / "x": f"the folder {tmp_path}/x holds no images that are understood; ",
    }
    for source, start in starts.items():
        message = refusal(load, source)
        assert message.startswith(start)
        assert message.endswith(f"understood are: {_sources._UNDERSTOOD}")


@pytest.mark.parametrize(
    ("package", "purpose"),
    [
        ("PIL", "decoding images needs pillow, which is not installed"),
        ("pyarrow", "reading images from Parquet needs pyarrow, which is not installed"),
    ],
)
def test_missing_packages(load, tmp_path, monkeypatch, package, purpose):
    root = parquet(tmp_path / "x", {"train": made_up(10), "test": made_up(10, 1)})
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OptionalDependencyError) as error:
        load(root)
    assert str(error.value) == f"{purpose}; pip install 'bpe-bench[train]'"


def test_arrays_that_do_not_fit():
    part = made_up(4)
    with pytest.raises(SourceFileError, match="one label per image, found 3 labels of 4 images"):
        Images(part.pixels, part.labels[:3])
    with pytest.raises(SourceFileError, match=r"found float64 in the shape \(4, 3, 32, 32\)"):
        Images(part.pixels.astype(float), part.labels)
    with pytest.raises(SourceFileError, match="labels of train images must be 0 to 2, found 0 to"):
        ImageData("x", 3, part, part)


# What is kept


@pytest.fixture
def folders(tmp_path):
    return class_folders(tmp_path / "x", {"train": made_up(20), "test": made_up(10, 1)})


def test_the_second_load_decodes_nothing(load, folders, monkeypatch):
    first = load(folders)
    assert isinstance(first.train.pixels, np.memmap)

    def fail(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(_sources, "_class_folders", fail)
    second = load(folders)
    assert second.name == first.name
    assert_same(second.train, first.train)
    assert_same(second.test, first.test)


def test_the_cache_is_keyed_by_content(load, folders):
    first = load(folders)
    file = next(folders.glob("train/*/*.png"))
    stat = file.stat()
    file.write_bytes(encoded(made_up(1, 99).pixels[0]))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load(folders).digest() != first.digest()
    moved = folders.rename(folders.with_name("y"))
    assert load(moved).digest() != first.digest()


def test_what_is_mapped_cannot_be_changed_on_disk(load, folders):
    load(folders).train.pixels[:] = 0
    assert load(folders).train.pixels.max() > 0


def test_a_damaged_cache_is_made_anew(load, folders, tmp_path):
    first = load(folders)
    (kept,) = (tmp_path / "cache" / "images").iterdir()
    digest = first.digest()
    for name in sorted(file.name for file in kept.iterdir()):
        os.truncate(kept / name, 10)
        assert load(folders).digest() == digest
        (kept / name).unlink()
        assert load(folders).digest() == digest
    about = json.loads((kept / "images.json").read_text())
    assert about == {"name": first.name, "classes": 10, "mirrors": True}


def test_a_load_cut_short_leaves_nothing_to_be_taken_for_images(
    load, folders, tmp_path, monkeypatch
):
    real, calls = np.save, itertools.count()

    def cut(*arguments, **options):
        if next(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments, **options)

    monkeypatch.setattr(np, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        load(folders)
    (folder,) = (tmp_path / "cache" / "images").iterdir()
    assert _cache._load_cached(folder) is None
    load(folders)
    assert _cache._load_cached(folder) is not None
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 1


def test_who_comes_second_takes_what_is_there(load, folders, tmp_path, monkeypatch):
    """Two workers decode at once; the one that is done first puts the folder there."""
    real = _cache._fill

    def meanwhile(data, folder):
        monkeypatch.setattr(_cache, "_fill", real)
        load(folders)
        real(data, folder)

    monkeypatch.setattr(_cache, "_fill", meanwhile)
    assert len(load(folders).train.labels) == 20
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 1


def test_without_a_place_to_keep_them_images_are_loaded_all_the_same(folders, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(BpeBenchWarning, match=r"cannot be kept in .*; they will be decoded again"):
        data = load_images(folders, cache=tmp_path / "file")
    assert len(data.train.labels) == 20


def test_the_cache_is_where_the_variable_says(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("BPE_BENCH_CACHE", str(tmp_path / "elsewhere"))
    load_images(folders)
    assert (tmp_path / "elsewhere" / "images").is_dir()


# Splits


def uneven(count=1000, seed=0):
    labels = np.random.default_rng(seed).choice(5, count, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    part = Images(np.zeros((count, 1, 2, 2), np.uint8), labels.astype(np.int64))
    return ImageData("x", 5, part, part)


def shares(labels):
    return np.bincount(labels, minlength=5) / labels.size


def test_cifar10_is_split_in_four_fifths_and_one(cifar10):
    train, validation = split_indices(cifar10, "split")
    assert (train.size, validation.size) == (40_000, 10_000)
    assert np.bincount(cifar10.train.labels[validation]).tolist() == [1000] * 10
    assert np.bincount(cifar10.train.labels[subset(cifar10, train, 0.1)]).tolist() == [400] * 10


def test_splits_are_disjoint_whole_and_stratified():
    data = uneven()
    train, validation = split_indices(data, "split")
    assert validation.size == 200
    np.testing.assert_array_equal(np.sort(np.r_[train, validation]), np.arange(1000))
    for part in (train, validation):
        np.testing.assert_allclose(
            shares(data.train.labels[part]), shares(data.train.labels), atol=0.006
        )
    train, validation = split_indices(data, "paper")
    np.testing.assert_array_equal(train, np.arange(1000))
    assert validation.size == 0
    with pytest.raises(
        SelectionError, match=r"^protocol must be one of split, paper, found 'all'$"
    ):
        split_indices(data, "all")


def test_splits_are_fixed_and_follow_the_seed():
    data = uneven()
    first = split_indices(data, "split")[1]
    np.testing.assert_array_equal(first, split_indices(data, "split", 0)[1])
    assert not np.array_equal(first, split_indices(data, "split", 1)[1])
    # Written down: another numpy must not draw other splits.
    assert _stratified_order(np.array([0, 1, 0, 1, 0, 1]), 0).tolist() == [3, 2, 1, 0, 4, 5]


def test_fractions_are_nested_stratified_and_of_the_right_size():
    data = uneven()
    train, validation = split_indices(data, "split")
    larger = train
    for fraction in (1.0, 0.7, 0.5, 0.1, 0.03, 1e-9):
        part = subset(data, train, fraction)
        assert part.size == max(1, round(fraction * train.size))
        assert set(part) <= set(larger)
        assert not set(part) & set(validation)
        assert np.all(np.diff(part) > 0)
        expected = shares(data.train.labels[train]) * part.size
        np.testing.assert_allclose(shares(data.train.labels[part]) * part.size, expected, atol=2)
        larger = part
    np.testing.assert_array_equal(subset(data, train, 0.5), subset(data, train, 0.5))
    assert not np.array_equal(subset(data, train, 0.5), subset(data, train, 0.5, seed=1))


@pytest.mark.parametrize("seed", range(5))
def test_every_beginning_of_the_order_is_stratified(seed):
    labels = uneven(seed=seed).train.labels
    order = _stratified_order(labels, seed)
    assert sorted(order) == list(range(1000))
    counts = np.cumsum(labels[order][:, None] == np.arange(5), axis=0)
    expected = np.arange(1, 1001)[:, None] * shares(labels)
    assert np.abs(counts - expected).max() <= 2
