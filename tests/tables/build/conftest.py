"""The official records, and how to compare a table with what the official packages answer."""

import bz2
import pickle

import pytest

from bpe_bench.tables.curves import MISSING, Split

SIZES = {
    "cifar10-valid": {"train": 25_000, "x-valid": 25_000, "ori-test": 10_000},
    "cifar10": {"train": 50_000, "ori-test": 10_000},
    "cifar100": {"train": 50_000, "x-valid": 5_000, "x-test": 5_000, "ori-test": 10_000},
    "ImageNet16-120": {"train": 151_700, "x-valid": 3_000, "x-test": 3_000, "ori-test": 6_000},
}
MEASURES = {
    "seconds": "T-train@total",
    "parameters": "params",
    "flops": "flops",
    "latency": "latency",
}


@pytest.fixture(scope="session")
def official(published):
    """The official NATS-Bench directory with the records 0, 11 and 284."""
    return published / "nats-bench" / "NATS-tss-v1_0-3ffb9-simple"


@pytest.fixture(scope="session")
def official_record(official):
    """Return a function from an index to that official record, fresh every time."""

    def load(name):
        name = f"{name:06d}" if isinstance(name, int) else name
        # Published by the authors, and its hash is in the manifest beside it.
        return pickle.loads(bz2.decompress((official / f"{name}.pickle.pbz2").read_bytes()))

    return load


def split_of(dataset, evaluated):
    if evaluated == "ori-test" and dataset in ("cifar100", "ImageNet16-120"):
        return Split.HELDOUT
    return {"train": Split.TRAIN, "x-valid": Split.VALIDATION}.get(evaluated, Split.TEST)


def answers(trial, dataset, epoch):
    """What a package says of a training after an epoch: images it got right by evaluation."""
    found = {"train": trial.get_train(epoch)["accuracy"]}
    for evaluated in trial.get_eval_set():
        try:
            found[evaluated] = trial.get_eval(evaluated, epoch)["accuracy"]
        except KeyError:  # not evaluated after this epoch
            continue
    return {key: accuracy * SIZES[dataset][key] / 100 for key, accuracy in found.items()}


@pytest.fixture(scope="session")
def assert_equals_package():
    """Return a check of one network of a table against the package's ``ArchResults`` by epochs.

    Every answer must be in the table to the count, and the table must hold
    nothing else of this network.
    """

    def check(table, place, results):
        compared = 0
        for schedule, result in results.items():
            for dataset in result.get_dataset_names():
                label = f"{dataset}-{schedule}"
                costs = result.get_compute_costs(dataset)
                for name, key in MEASURES.items():
                    value = table.measure(label, name)[place]
                    assert value == pytest.approx(costs[key], rel=1e-12), (label, name)
                for seed in result.get_dataset_seeds(dataset):
                    trial = result.query(dataset, seed)
                    for epoch in range(trial.get_total_epoch()):
                        for evaluated, images in answers(trial, dataset, epoch).items():
                            curves = table.curves_of(label, split_of(dataset, evaluated))
                            assert curves.split_size == SIZES[dataset][evaluated]
                            r, e = curves.seed_place(seed), curves.epoch_place(epoch + 1)
                            assert abs(curves.counts[r, e, place] - images) < 1e-3
                            compared += 1
        held = sum((c.counts[:, :, place] != MISSING).sum() for c in table.curves.values())
        assert compared == held
        return compared

    return check
