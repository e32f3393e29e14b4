"""The importer of NATS-Bench against the official package, on official records."""

import bz2
import io
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from bpe_bench_tables.build.official_nats_bench import FOLDER

from bpe_bench.errors import SourceFileError
from bpe_bench.spaces.nas_bench_201 import NasBench201Space
from bpe_bench.tables.curves import MISSING, Split
from bpe_bench.tables.importers import IMPORTERS
from bpe_bench.tables.storage import content_hash, read_table, write_table

INDICES = (0, 11, 284)
RECORD = "000011.pickle.pbz2"


def read(source, progress=None):
    return IMPORTERS["nats-bench"].read(Path(source), progress)


@pytest.fixture(scope="module")
def table(official):
    return read(official)


@pytest.fixture
def directory(official, tmp_path):
    """A copy of the official directory, to be damaged."""
    copy = tmp_path / FOLDER
    shutil.copytree(official, copy, copy_function=shutil.copyfile)
    copy.chmod(0o755)
    return copy


def save(directory, content, name=RECORD):
    (directory / name).write_bytes(bz2.compress(pickle.dumps(content)))


def fault(source):
    """Return the one line of the refusal, and see that nothing was left beside the source."""
    before = sorted(Path(source).parent.rglob("*"))
    with pytest.raises(SourceFileError) as error:
        read(source)
    assert sorted(Path(source).parent.rglob("*")) == before
    assert str(error.value).isprintable()
    return str(error.value)


class TestOfficialRecords:
    def test_every_answer_of_the_package(self, table, official, assert_equals_package):
        package = pytest.importorskip("nats_bench", reason="needs the package nats-bench")
        api = package.create(str(official), "topology", fast_mode=True, verbose=False)
        for place, index in enumerate(INDICES):
            results = {epochs: api.query_by_index(index, hp=str(epochs)) for epochs in (12, 200)}
            # Per seed: train and its evaluations of 12 and of 200 epochs.
            short = 12 * (2 * 3 + 2 + 4 + 4)
            long = 3 * (200 * (2 + 2 + 2 + 2) + 1 + 2 + 2)
            assert assert_equals_package(table, place, results) == short + long

    def test_the_networks_are_the_official_ones(self, table):
        space = NasBench201Space()
        assert [space.index_of(a) for a in table.architectures] == list(INDICES)

    def test_settings_and_references(self, table):
        labels = [setting.label for setting in table.settings]
        names = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
        assert labels == [f"{name}-{epochs}" for name in names for epochs in (12, 200)]
        assert table.references == ("cifar10-valid-200", "cifar100-200", "ImageNet16-120-200")
        assert table.setting("cifar10-12").seconds == pytest.approx(
            table.measure("cifar10-12", "seconds").mean()
        )

    def test_only_recorded_epochs(self, table):
        last = table.curves_of("cifar10-valid-200", Split.TEST)
        assert last.epochs.tolist() == [200]
        assert table.curves_of("cifar100-200", Split.VALIDATION).epochs.tolist() == [200]
        every = table.curves_of("cifar10-valid-200", Split.VALIDATION)
        assert every.epochs.tolist() == list(range(1, 201))
        assert every.seeds.tolist() == [777, 888, 999]

    def test_storage_round_trip(self, table, tmp_path):
        write_table(table, tmp_path / "t.h5")
        assert content_hash(read_table(tmp_path / "t.h5")) == content_hash(table)

    def test_progress(self, official):
        shares = []
        read(official, shares.append)
        assert shares == pytest.approx([1 / 3, 2 / 3, 1])


class TestArchive:
    @pytest.mark.parametrize("folder", [FOLDER, f"./{FOLDER}", "."])
    def test_same_as_directory(self, table, official, tmp_path, folder):
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            archive.add(official, folder)
        assert read(tmp_path / "a.tar").curves.keys() == table.curves.keys()
        found = read(tmp_path / "a.tar")
        for key, curves in table.curves.items():
            assert np.array_equal(found.curves[key].counts, curves.counts)

    @pytest.mark.parametrize(
        ("name", "changes", "wanted"),
        [
            ("/etc/passwd", {}, "'/etc/passwd' is outside its folder"),
            (f"{FOLDER}/../../x", {}, "is outside its folder"),
            ("elsewhere/000011.pickle.pbz2", {}, "is outside its folder"),
            (f"{FOLDER}/deeper/x", {}, "is outside its folder"),
            (f"{FOLDER}/{RECORD}", {}, "is there twice"),
            (f"{FOLDER}/l", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "is a link"),
            (f"{FOLDER}/h", {"type": tarfile.LNKTYPE, "linkname": "meta"}, "is a link"),
            (f"{FOLDER}/p", {"type": tarfile.FIFOTYPE}, "is a link or a device"),
        ],
    )
    def test_dangerous_members(self, official, tmp_path, name, changes, wanted):
        path = tmp_path / "inner" / "a.tar"
        path.parent.mkdir()
        member = tarfile.TarInfo(name)
        for key, value in changes.items():
            setattr(member, key, value)
        with tarfile.open(path, "w") as archive:
            archive.add(official, FOLDER)
            archive.addfile(member, io.BytesIO())
        found = fault(path)
        assert found.startswith(f"{path} is not safe to open: its member ")
        assert wanted in found

    def test_truncated(self, official, tmp_path):
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(official, FOLDER)
        path.write_bytes(path.read_bytes()[:200_000])
        assert fault(path) == (
            f"cannot read {path} (unexpected end of data); it should be the official directory "
            f"{FOLDER} or an uncompressed .tar of it"
        )

    def test_another_file(self, tmp_path):
        (tmp_path / "a.tar").write_bytes(b"hello" * 1000)
        assert "it should be the official directory" in fault(tmp_path / "a.tar")


class TestRefusals:
    def test_no_source(self, tmp_path):
        assert fault(tmp_path / "x").startswith(f"no directory or file at {tmp_path / 'x'};")

    def test_no_meta(self, directory):
        (directory / "meta.pickle.pbz2").unlink()
        assert fault(directory) == (
            f"{directory} lacks meta.pickle.pbz2, the list of all architectures; it should be the "
            f"official directory {FOLDER} or a .tar of it"
        )

    @pytest.mark.parametrize("meta", [{"archs": []}, ["text"], {"meta_archs": None}])
    def test_other_meta(self, directory, meta):
        save(directory, meta, "meta.pickle.pbz2")
        assert "has no list 'meta_archs' of architectures" in fault(directory)

    def test_no_records(self, directory):
        for index in INDICES:
            (directory / f"{index:06d}.pickle.pbz2").unlink()
        assert "holds no results of any network" in fault(directory)

    def test_unknown_architecture(self, directory, official_record):
        meta = official_record("meta")
        meta["meta_archs"][11] = "|nor_conv_7x7~0|+|none~0|none~1|+|none~0|none~1|none~2|"
        save(directory, meta, "meta.pickle.pbz2")
        found = fault(directory)
        assert found.startswith(
            f"{directory} lists an unknown architecture at index 11, '|nor_conv_7x7~0|+"
        )
        assert "expected an operation (none, skip_connect" in found

    def test_record_without_architecture(self, directory, official_record):
        save(directory, official_record(0), "015625.pickle.pbz2")
        assert "has a record 015625, which its list of architectures lacks" in fault(directory)

    def test_record_of_another_architecture(self, directory, official_record):
        save(directory, official_record(0))
        found = fault(directory)
        assert f"{RECORD} of {directory} is not an official record: it is of architecture" in found

    def test_two_names_of_a_record(self, directory):
        shutil.copyfile(directory / RECORD, directory / "11.pickle.pbz2")
        assert f"both {RECORD} and 11.pickle.pbz2 are record 11" in fault(directory)

    def test_truncated_pickle(self, directory, official_record):
        data = pickle.dumps(official_record(11))
        (directory / RECORD).write_bytes(bz2.compress(data[:-100]))
        assert (
            fault(directory) == f"{RECORD} is truncated: its pickle ends too early; fetch it again"
        )

    def test_truncated_file(self, directory):
        file = directory / RECORD
        file.write_bytes(file.read_bytes()[:-100])
        found = fault(directory)
        assert found == f"{RECORD} is truncated: its bz2 data ends too early; fetch it again"

    def test_malicious_pickle(self, directory, tmp_path):
        trace = tmp_path / "trace"

        class Calls:
            def __reduce__(self):
                return os.mkdir, (str(trace),)

        save(directory, {"12": Calls()})
        assert f"{RECORD} is not safe to open: its pickle asks for posix.mkdir," in fault(directory)
        assert not trace.exists()
        pickle.loads(bz2.decompress((directory / RECORD).read_bytes()))
        assert trace.exists(), "read as usual, it makes the folder"

    def test_too_large(self, directory):
        (directory / RECORD).write_bytes(bytes(2**24 + 1))
        assert f"{RECORD} of {directory} has 16777217 bytes" in fault(directory)

    def test_no_whole_number(self, directory, official_record):
        record = official_record(11)
        record["200"]["all_results"]["cifar100", 888]["eval_acc1es"]["ori-test@37"] = 50.125
        record["200"]["all_results"]["cifar100", 888]["eval_acc1es"]["ori-test@38"] = 50.1234
        save(directory, record)
        assert fault(directory) == (
            f"{RECORD} of {directory} is not an official record: cifar100, 200 epochs, seed 888, "
            "ori-test@37: 50.125 % of 10000 images is 5012.50 images, not a whole number from 0 to "
            "10000"
        )

    @pytest.mark.parametrize("accuracy", [-0.01, 100.01, float("nan"), float("inf")])
    def test_impossible_accuracy(self, directory, official_record, accuracy):
        record = official_record(11)
        record["12"]["all_results"]["cifar10", 111]["train_acc1es"][0] = accuracy
        save(directory, record)
        found = fault(directory)
        assert f"cifar10, 12 epochs, seed 111, train@0: {accuracy} % of 50000 images is" in found

    @pytest.mark.parametrize(
        ("change", "wanted"),
        [
            (
                lambda r: r.update({"90": {}}),
                "unknown schedule '90'; there are: less, full, 12, 200",
            ),
            (lambda r: r["12"].pop("dataset_seed"), "it lacks 'dataset_seed'"),
            (lambda r: r["12"]["dataset_seed"]["cifar10"].append(5), "it lacks ('cifar10', 5)"),
            (lambda r: r["12"]["dataset_seed"].update(mnist=[]), "unknown data set 'mnist'"),
            (lambda r: r["12"].update(all_results=[]), "list indices must be integers"),
            (
                lambda r: r["12"]["all_results"]["cifar10", 111]["train_acc1es"].update({12: 50.0}),
                "an epoch of cifar10-12 should be 0 to 11, found '12'",
            ),
            (
                lambda r: r["12"]["all_results"]["cifar10", 111]["eval_acc1es"].update(
                    {"x@1": 50.0}
                ),
                "unknown evaluation on cifar10 'x'; there are: ori-test",
            ),
        ],
    )
    def test_other_shapes(self, directory, official_record, change, wanted):
        record = official_record(11)
        change(record)
        save(directory, record)
        found = fault(directory)
        assert found.startswith(f"{RECORD} of {directory} is not an official record: ")
        assert wanted in found

    def test_many_seeds(self, directory, official_record):
        record = official_record(11)
        results = record["12"]
        for seed in range(50):
            results["dataset_seed"]["cifar10"].append(seed)
            results["all_results"]["cifar10", seed] = results["all_results"]["cifar10", 111]
        save(directory, record)
        assert "more than 16 seeds on cifar10-12" in fault(directory)


class TestGaps:
    """What some official records lack stays missing; what they get wrong is set right."""

    def read(self, directory, record):
        save(directory, record)
        return read(directory)

    def test_a_missing_seed(self, directory, official_record):
        record = official_record(11)
        record["200"]["dataset_seed"]["cifar100"].remove(888)
        counts = self.read(directory, record).curves_of("cifar100-200", Split.TRAIN).counts
        assert (counts[1, :, 1] == MISSING).all()
        assert (counts[[0, 2], :, 1] != MISSING).all()
        assert (counts[:, :, [0, 2]] != MISSING).all()

    @pytest.mark.parametrize("latency", [None, [], [-1]])
    def test_unknown_latency(self, directory, official_record, latency):
        record = official_record(11)
        for trial in record["12"]["all_results"].values():
            trial["latency"] = latency
        found = self.read(directory, record).measure("cifar10-valid-12", "latency")
        assert np.isnan(found).tolist() == [False, True, False]

    def test_unknown_times(self, directory, official_record):
        for index in INDICES:
            record = official_record(index)
            for trial in record["12"]["all_results"].values():
                trial["train_times"] = None
            save(directory, record, f"{index:06d}.pickle.pbz2")
        table = read(directory)
        assert ("cifar10-12", "seconds") not in table.measures
        assert np.isnan(table.setting("cifar10-12").seconds)
        assert table.setting("cifar10-200").seconds > 0

    def test_times_and_latencies_are_means_over_seeds(self, directory, official_record):
        record = official_record(11)
        for seed, value in ((777, 1.0), (888, 2.0), (999, 6.0)):
            trial = record["200"]["all_results"]["cifar10", seed]
            trial["train_times"] = dict.fromkeys(range(200), value)
            trial["latency"] = [value, value + 1]
        table = self.read(directory, record)
        assert table.measure("cifar10-200", "seconds")[1] == pytest.approx(600)
        assert table.measure("cifar10-200", "latency")[1] == pytest.approx(3.5)

    def test_sizes_on_which_seeds_disagree(self, directory, official_record):
        """As the package nats-bench does: what seed 888 says."""
        package = pytest.importorskip("nats_bench", reason="needs the package nats-bench")
        record = official_record(11)
        record["200"]["all_results"]["cifar10", 777]["flop"] = 1.0
        record["200"]["all_results"]["cifar10", 999]["params"] = 2.0
        table = self.read(directory, record)
        api = package.create(str(directory), "topology", fast_mode=True, verbose=False)
        costs = api.get_cost_info(11, "cifar10", "200")
        assert table.measure("cifar10-200", "flops")[1] == costs["flops"] == 113.95137
        assert table.measure("cifar10-200", "parameters")[1] == costs["params"] == 0.802426
