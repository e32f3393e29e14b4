"""The importer of NAS-Bench-201 against the official package.

The official file cannot be had here, so it is made from official records with
the package's own classes.
"""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
from bpe_bench_tables.build import official_nas_bench_201 as nas_bench_201
from bpe_bench_tables.build.official_nas_bench_201 import _available_memory, announcement
from bpe_bench_tables.build.official_nats_bench import read as read_nats_bench

from bpe_bench.errors import SourceFileError
from bpe_bench.spaces.nas_bench_201 import NasBench201Space
from bpe_bench.tables.curves import MISSING
from bpe_bench.tables.importers import IMPORTERS
from bpe_bench.tables.storage import content_hash

INDICES = (0, 11, 284)


def read(source, progress=None):
    return IMPORTERS["nas-bench-201"].read(Path(source), progress)


def save(path, content):
    """Write a file as ``torch.save`` did until 2020, by what is known of the format."""
    sizes = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [0x1950A86A20F9469CFC6C, 1001, sizes, content, []]
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))


def fault(path):
    with pytest.raises(SourceFileError) as error:
        read(path)
    assert str(error.value).isprintable()
    assert sorted(path.parent.iterdir()) == [path]
    return str(error.value)


@pytest.fixture
def content(official_record):
    """What the official file holds, of three networks."""
    records = {index: official_record(index) for index in INDICES}
    return {
        "meta_archs": official_record("meta")["meta_archs"],
        "arch2infos": {i: {"less": r["12"], "full": r["200"]} for i, r in records.items()},
        "evaluated_indexes": set(INDICES),
    }


@pytest.fixture(params=["legacy", "zip"])
def by_package(request, content, tmp_path):
    """The file as the package's classes and ``torch.save`` write it, in both formats."""
    torch = pytest.importorskip("torch", reason="needs torch, which writes the file")
    api = pytest.importorskip("nas_201_api", reason="needs the package nas-bench-201")
    for infos in content["arch2infos"].values():
        for schedule, state in infos.items():
            results = api.ArchResults(state["arch_index"], state["arch_str"])
            results.clear_net_done = True
            for dataset, seeds in state["dataset_seed"].items():
                for seed in seeds:
                    trial = state["all_results"][dataset, seed]
                    made = api.ResultsCount.create_from_state_dict(trial)
                    results.update(dataset, seed, made)
            infos[schedule] = results.state_dict()
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip")
    return path


@pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
def test_every_answer_of_the_package(by_package, monkeypatch, assert_equals_package):
    import nas_201_api

    # The package calls torch.load as it was before weights_only; the file is our own.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    api = nas_201_api.NASBench201API(str(by_package), verbose=False)
    table = read(by_package)
    space = NasBench201Space()
    assert (
        [space.index_of(a) for a in table.architectures] == list(INDICES) == api.evaluated_indexes
    )
    for place, index in enumerate(INDICES):
        results = {epochs: api.query_by_index(index, hp=str(epochs)) for epochs in (12, 200)}
        assert assert_equals_package(table, place, results) == 192 + 4815


def test_same_content_as_the_directory(by_package, official):
    table, other = read(by_package), read_nats_bench(official, lambda share: None)
    assert "v1_1-096897.pth" in table.provenance.source
    object.__setattr__(table, "provenance", other.provenance)
    assert content_hash(table) == content_hash(other)


def test_without_torch(content, tmp_path):
    save(tmp_path / "x.pth", content)
    assert len(read(tmp_path / "x.pth").architectures) == 3


def test_a_schedule_that_some_networks_lack(content, tmp_path):
    """In v1_0 the 12-epoch schedule has CIFAR-10 only."""
    less = content["arch2infos"][11]["less"]
    for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
        del less["dataset_seed"][dataset]
    save(tmp_path / "x.pth", content)
    counts = read(tmp_path / "x.pth").curves["cifar100-12", "validation"].counts
    assert (counts[:, :, 1] == MISSING).all()
    assert (counts[:, :, [0, 2]] != MISSING).all()


def test_progress(content, tmp_path):
    save(tmp_path / "x.pth", content)
    shares = []
    read(tmp_path / "x.pth", shares.append)
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1


class TestMemory:
    def test_too_little(self, tmp_path):
        path = tmp_path / "x.pth"
        with path.open("wb") as file:
            file.truncate(4_700_000_000)
        with pytest.raises(SourceFileError) as error:
            nas_bench_201.read(path, lambda share: None, available=lambda: 16_000_000_000)
        assert str(error.value) == (
            f"reading {path} needs about 28.2 GB of memory, as with the official package, and "
            "16.0 GB are available; use a larger machine, or NATS-Bench's directory "
            "NATS-tss-v1_0-3ffb9-simple (kind nats-bench): the same records, read one by one in "
            "less than 2 GB"
        )
        assert announcement(path, lambda: 30_000_000_000) == (
            "reading x.pth needs about 28.2 GB of memory (30.0 GB available)"
        )

    @pytest.mark.parametrize("free", [None, 10**9])
    def test_enough_or_unknown(self, content, tmp_path, free):
        save(tmp_path / "x.pth", content)
        table = nas_bench_201.read(tmp_path / "x.pth", lambda share: None, available=lambda: free)
        assert len(table.architectures) == 3

    def test_of_this_machine(self):
        free = _available_memory()
        assert free is None or 10**6 < free < 10**15

    def test_of_a_container(self, tmp_path):
        (tmp_path / "memory.max").write_text("4000000\n")
        (tmp_path / "memory.current").write_text("3000000\n")
        (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
        assert nas_bench_201._available_of_group(tmp_path / "memory.max") == 1_500_000


class TestRefusals:
    def test_no_file(self, tmp_path):
        with pytest.raises(
            SourceFileError, match=r"^no file at .*x\.pth; it should be the official"
        ):
            read(tmp_path / "x.pth")

    def test_another_file(self, tmp_path):
        path = tmp_path / "x.pth"
        path.write_bytes(pickle.dumps({"some": "pickle"}))
        assert "was not written by torch.save" in fault(path)
        path.write_bytes(b"hello" * 100)
        assert "x.pth is damaged or not a pickle" in fault(path)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", b"")
        assert "is a zip archive but not one of torch: it should have one data.pkl" in fault(path)

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.999])
    def test_truncated(self, content, tmp_path, part):
        path = tmp_path / "x.pth"
        save(path, content)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])
        assert fault(path) == f"{path} is truncated: its pickle ends too early; fetch it again"

    def test_truncated_after_the_records(self, content, tmp_path):
        path = tmp_path / "x.pth"
        save(path, content)
        path.write_bytes(path.read_bytes()[:-4])
        assert fault(path) == f"{path} is truncated: its pickle ends too early; fetch it again"

    def test_truncated_zip(self, tmp_path):
        path = tmp_path / "x.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(list(range(1000))))
        path.write_bytes(path.read_bytes()[:500])
        assert fault(path) == f"{path} is damaged (File is not a zip file); fetch it again"

    def test_damaged_zip(self, tmp_path):
        path = tmp_path / "x.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"a": "hello" * 100}))
        path.write_bytes(path.read_bytes().replace(b"hello", b"HELLO", 1))
        assert "is damaged (Bad CRC-32 for file 'archive/data.pkl')" in fault(path)

    def test_compressed_zip(self, tmp_path):
        path = tmp_path / "x.pth"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({}))
        assert "is not a file of torch: its data.pkl is compressed" in fault(path)

    @pytest.mark.parametrize("kind", ["legacy", "zip"])
    def test_malicious(self, tmp_path, kind):
        path, trace = tmp_path / "x.pth", tmp_path / "trace"

        class Calls:
            def __reduce__(self):
                return os.mkdir, (str(trace),)

        if kind == "legacy":
            save(path, {"meta_archs": Calls()})
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", pickle.dumps({"meta_archs": Calls()}))
        assert f"{path} is not safe to open: its pickle asks for posix.mkdir," in fault(path)
        assert not trace.exists()

    @pytest.mark.parametrize("new", [True, False])
    def test_tensors(self, tmp_path, new):
        torch = pytest.importorskip("torch", reason="needs torch, which writes the file")
        path = tmp_path / "x.pth"
        torch.save({"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=new)
        assert "is not safe to open: its pickle asks for torch." in fault(path)

    def test_other_content(self, content, tmp_path):
        path = tmp_path / "x.pth"
        save(path, {"meta_archs": []})
        assert fault(path).endswith("and lacks arch2infos, evaluated_indexes")
        save(path, [])
        assert fault(path).endswith("and lacks meta_archs, arch2infos, evaluated_indexes")
        save(path, {**content, "arch2infos": None})
        assert fault(path).endswith("and lacks records under arch2infos")
        save(path, {**content, "arch2infos": {"0": {}}})
        assert fault(path).endswith("its records should be numbered")
        save(path, {**content, "arch2infos": {}})
        assert "holds no results of any network" in fault(path)

    def test_no_whole_number(self, content, tmp_path):
        path = tmp_path / "x.pth"
        content["arch2infos"][284]["full"]["all_results"]["cifar10", 777]["train_acc1es"][5] = (
            12.3457
        )
        save(path, content)
        assert f"record 000284 of {path} is not an official record: cifar10, 200 epochs" in fault(
            path
        )

    def test_unknown_architecture(self, content, tmp_path):
        path = tmp_path / "x.pth"
        content["meta_archs"][0] = "8:8:8:8:8"
        save(path, content)
        assert "lists an unknown architecture at index 0, '8:8:8:8:8'" in fault(path)
