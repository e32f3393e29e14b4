"""Every recorded epoch of a learning curve is a budget with its own cost."""

import dataclasses

import numpy as np
import pytest
from bpe_bench_tables.build._nas_bench_201 import setting_of, table_of
from scipy import stats

from bpe_bench import Selection, correlate
from bpe_bench.errors import LeakError, SelectionError, UnknownNameError
from bpe_bench.spaces import get_space
from bpe_bench.tables.curves import MEAN_OF_SEEDS, MISSING, Curves, Split
from bpe_bench.tables.table import Provenance

NETWORKS = 60
EPOCHS = np.array([1, 4, 12, 200])


@pytest.fixture(scope="module")
def counts():
    """Noisy copies of a quality per network; the noise falls with the epoch."""
    rng = np.random.default_rng(5)
    quality = rng.normal(0.8, 0.05, NETWORKS)
    noise = np.array([0.1, 0.06, 0.04, 0.01])[None, :, None]
    values = quality + noise * rng.standard_normal((3, len(EPOCHS), NETWORKS))
    return np.rint(np.clip(values, 0, 1) * 25_000).astype(np.int32)


@pytest.fixture(scope="module")
def table(counts):
    """Three seeds, the last of them missing for half of the networks; another data set."""
    some = counts.copy()
    some[2, :, ::2] = MISSING
    space = get_space("nas-bench-201")
    other = np.rint(counts[:1, -1:] / 5 * 0.7).astype(np.int32)
    curves = {
        ("cifar10-valid-200", Split.VALIDATION): Curves(some, 25_000, EPOCHS, np.arange(3)),
        ("cifar10-valid-12", Split.VALIDATION): Curves(
            some[:1, 1:2], 25_000, np.array([12]), np.array([0])
        ),
        ("cifar100-200", Split.VALIDATION): Curves(other, 5_000, np.array([200]), np.array([0])),
        ("cifar100-200", Split.TEST): Curves(other, 5_000, np.array([200]), np.array([0])),
    }
    seconds = np.full(NETWORKS, 2000.0)
    return table_of(
        [space.from_index(i) for i in range(NETWORKS)],
        curves,
        Provenance("made up", "none", "none"),
        measures={("cifar10-valid-200", "seconds"): seconds},
    )


def seed_mean(counts, epoch):
    values = counts[:, epoch].astype(float).copy()
    values[2, ::2] = np.nan
    return np.nanmean(values, axis=0)


def test_an_epoch_whose_cost_was_measured_costs_that(table):
    label = "cifar10-valid-200"
    measures = {
        (label, "seconds"): np.full(NETWORKS, 2000.0),
        (label, "seconds@4"): np.full(NETWORKS, 300.0),
    }
    rows = {r.label: r for r in correlate(dataclasses.replace(table, measures=measures)).rows}
    assert rows[f"{label}@4"].cost_seconds == pytest.approx(300)
    assert rows[f"{label}@12"].cost_seconds == pytest.approx(2000 * 12 / 200)


def test_every_epoch_is_a_budget_with_its_cost(table, counts):
    report = correlate(table, statistic="kendall")
    final = seed_mean(counts, 3)
    assert [r.label for r in report.rows] == [
        "cifar10-valid-12",
        "cifar10-valid-200@1",
        "cifar10-valid-200@4",
        "cifar10-valid-200@12",
    ]
    for place, row in enumerate(report.rows[1:]):
        expected = stats.kendalltau(seed_mean(counts, place), final).statistic
        assert row.correlation == pytest.approx(expected, abs=1e-12)
        # The clock of the schedule: epoch 1 costs something, too.
        assert row.cost_seconds == pytest.approx(2000 * EPOCHS[place] / 200)
        assert row.setting == "cifar10-valid-200"
    # The same epoch of another schedule is another budget.
    assert report.rows[0].epoch == report.rows[3].epoch == 12
    assert report.rows[0].budget.epochs == 12
    assert report.rows[3].budget.epochs == 200


def test_epochs_can_be_chosen(table):
    assert [r.label for r in correlate(table, Selection(epochs=[4])).rows] == [
        "cifar10-valid-200@4"
    ]
    assert [r.label for r in correlate(table, Selection(epochs="last")).rows] == [
        "cifar10-valid-12"
    ]
    with pytest.raises(UnknownNameError, match=r"unknown epoch '5'.*: 1, 4, 12, 200$"):
        correlate(table, Selection(epochs=[4, 5]))


def test_the_noise_ceiling_is_the_mean_over_pairs_of_seeds(table, counts):
    report = correlate(table, Selection(epochs=[1]), statistic="kendall")
    odd = np.arange(NETWORKS) % 2 == 1  # networks with three seeds
    pairs = [
        stats.kendalltau(counts[0, 3], counts[1, 3]).statistic,
        stats.kendalltau(counts[0, 3, odd], counts[2, 3, odd]).statistic,
        stats.kendalltau(counts[1, 3, odd], counts[2, 3, odd]).statistic,
    ]
    assert report.noise_ceiling == pytest.approx(np.mean(pairs))
    row = report.rows[0]
    assert row.share_of_ceiling == pytest.approx(row.correlation / np.mean(pairs))


def test_one_data_set_can_stand_in_for_another(table, counts):
    report = correlate(table, Selection(reference_dataset="cifar100", epochs="last"))
    assert report.reference == "cifar100-200"
    # With another data set's reference, the last epoch of the schedule is a budget, too.
    assert [r.label for r in report.rows] == ["cifar10-valid-12", "cifar10-valid-200"]
    other = np.rint(counts[0, -1] / 5 * 0.7)
    expected = stats.spearmanr(seed_mean(counts, 3), other).statistic
    assert report.rows[1].correlation == pytest.approx(expected)
    with pytest.raises(UnknownNameError, match="unknown data set 'mnist'"):
        correlate(table, Selection(dataset="mnist"))


def test_fewer_networks_at_some_epochs_are_said_once(table):
    key = ("cifar10-valid-200", Split.VALIDATION)
    counts = table.curves[key].all_counts().copy()
    counts[:, :3, 20:] = MISSING
    curves = {**table.curves, key: dataclasses.replace(table.curves[key], counts=counts)}
    report = correlate(dataclasses.replace(table, curves=curves))
    assert [r.n_architectures for r in report.rows] == [60, 20, 20, 20]
    said = [note for note in report.warnings if "missing" in note]
    assert said == ["cifar10-valid-200: 40 architectures are missing at 3 epochs"]


def test_a_recorded_mean_serves_where_single_seeds_are_missing(table):
    key = ("cifar10-valid-200", Split.VALIDATION)
    old = table.curves[key]
    counts = np.concatenate([old.all_counts() * 6, np.full((1, 4, NETWORKS), MISSING)])
    counts[counts < 0] = MISSING
    counts[:3, 0, 7] = MISSING
    counts[3, 0, 7] = 100_001
    curves = Curves(counts, 25_000, EPOCHS, np.array([0, 1, 2, MEAN_OF_SEEDS]), scale=6)
    changed = dataclasses.replace(table, curves={**table.curves, key: curves})
    network = changed.architectures[7]
    found = changed.query(network, key[0], split=key[1], seed="mean", epoch=1)
    assert (found.accuracy, found.trainings) == (100_001 / 150_000, 0)
    before = table.accuracy(*key, epoch=4)
    np.testing.assert_allclose(changed.accuracy(*key, epoch=4), before)
    # A mean is not a seed: it does not count for the noise ceiling.
    assert changed.curves[key].accuracy().shape == (3, NETWORKS)


def test_a_query_is_of_one_seed_or_of_the_mean_over_those_that_are_there(table, counts):
    network = table.architectures[3]
    ask = {"split": "validation", "epoch": 12}
    one = table.query(network, "cifar10-valid-200", seed=1, **ask)
    assert (one.accuracy, one.seed, one.trainings) == (counts[1, 2, 3] / 25_000, 1, 1)
    mean = table.query(network, "cifar10-valid-200", **ask)
    assert mean.accuracy == pytest.approx(counts[:, 2, 3].mean() / 25_000)
    assert (mean.seed, mean.trainings) == ("mean", 3)
    even = table.architectures[4]
    assert np.isnan(table.query(even, "cifar10-valid-200", seed=2, **ask).accuracy)
    two = table.query(even, "cifar10-valid-200", **ask)
    assert two.accuracy == pytest.approx(counts[:2, 2, 4].mean() / 25_000)
    assert two.trainings == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 201}, "unknown epoch '201' (did you mean '200'?); there are: 1, 4, 12, 200"),
        ({"seed": 9}, "unknown seed '9'; there are: 0, 1, 2"),
        ({"split": "exam"}, "unknown split 'exam'; there are: train, validation, test, heldout"),
        ({"split": "test"}, "unknown split 'test' of setting 'cifar10-valid-200'"),
        ({"budget": "cifar10-500"}, "unknown budget 'cifar10-500'"),
    ],
)
def test_queries_that_have_no_answer(table, change, message):
    ask = {"budget": "cifar10-valid-200", "split": "validation", "seed": 0, **change}
    with pytest.raises(UnknownNameError) as caught:
        table.query(table.architectures[0], **ask)
    assert str(caught.value).startswith(message)


def test_an_isomorphic_cell_is_another_network(table):
    """Cells that compute the same were trained apart, so one does not answer for the other."""
    space = get_space("nas-bench-201")
    held = set(table.architectures)
    inside = {space.canonical(a) for a in held}
    others = (space.from_index(i) for i in range(space.size))
    twin = next(a for a in others if a not in held and space.canonical(a) in inside)
    with pytest.raises(SelectionError, match="does not hold the architecture"):
        table.index(twin)


def test_heldout_images_may_not_steer():
    assert not Split.HELDOUT.may_steer


def test_settings_follow_the_official_names():
    assert setting_of("cifar10-valid", 200).budget.data_fraction == 0.5
    assert setting_of("cifar10", 200).dataset == setting_of("cifar10-valid", 12).dataset
    assert setting_of("ImageNet16-120", 12).budget.image_size == 16


def test_test_accuracy_may_not_steer(table):
    with pytest.raises(LeakError, match="a search may not look at test accuracy"):
        table.steering_accuracy("cifar100-200", Split.TEST)
