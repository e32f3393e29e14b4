"""What pinning costs: contrasts between settings, and a Gaussian process over them."""

import dataclasses
import re

import numpy as np
import pytest
from scipy import linalg, stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from bpe_bench import Replay, correlate
from bpe_bench.correlation.evidence import Evidence
from bpe_bench.errors import SelectionError
from bpe_bench.pruning import process as process_module
from bpe_bench.pruning.pinning import PinningModel, cheapest_values, contrasts, covariance_of
from bpe_bench.pruning.process import Change, SettingProcess


@pytest.fixture(scope="module")
def objective(darts_bpe):
    return Replay.of(darts_bpe, name="darts-bpe")


@pytest.fixture(scope="module")
def groups(objective):
    known = objective.known
    return [g for g in known.groups(known.varied) if all(map(known.eligible, g))]


@pytest.fixture(scope="module")
def model(objective):
    return PinningModel.fit(objective.known, objective.costs, np.random.default_rng(0))


CONTRASTS = {
    # An independent check of November 2026: pairs, pooled change, its 95 % interval.
    "precision": (3, 0.007, -0.026, 0.040),
    "lr_schedule": (3, 0.001, -0.024, 0.027),
    "batch_size+learning_rate": (11, -0.024, -0.074, 0.025),
    "channels": (6, 0.087, 0.008, 0.167),
    "epochs": (5, -0.093, -0.136, -0.050),
}
RANGES = {"image_size": (4, -0.064, 0.286), "layers": (4, -0.229, 0.122), "epochs": (5, None, None)}


def test_contrasts_of_the_shipped_table(objective, groups):
    found = {"+".join(c.group): c for c in contrasts(objective.known, objective.costs, groups)}
    for name, (pairs, *expected) in CONTRASTS.items():
        contrast = found[name]
        assert len(contrast.pairs) == pairs
        shown = [contrast.change, contrast.low, contrast.high]
        assert shown == pytest.approx(expected, abs=0.005)
    for name, (pairs, low, high) in RANGES.items():
        contrast = found[name]
        assert (len(contrast.pairs), contrast.heterogeneous) == (pairs, True)
        if low is not None:
            ends = contrast.changes.min(), contrast.changes.max()
            assert ends == pytest.approx((low, high), abs=0.005)
    for name in ("precision", "batch_size+learning_rate"):
        assert not found[name].heterogeneous


def test_a_contrast_is_between_settings_that_differ_in_one_group_only(objective, groups):
    budgets = {row.label: row.budget.to_dict() for row in objective.known.rows}
    seconds = {row.label: row.cost_seconds for row in objective.known.rows}
    for contrast in contrasts(objective.known, objective.costs, groups):
        for cheap, dear in contrast.pairs:
            differ = {k for k, v in budgets[cheap].items() if v != budgets[dear][k]}
            assert differ
            assert differ <= set(contrast.group)
    # Costs of the same device: epochs and layers make a setting dearer.
    (epochs,) = contrasts(objective.known, objective.costs, [("epochs",)])
    assert all(seconds[cheap] < seconds[dear] for cheap, dear in epochs.pairs)


def test_the_covariance_is_that_of_other_architectures(darts_bpe, objective):
    """Against a bootstrap of the architectures, and the standard errors of the estimates."""
    rows = [row for row in objective.known.rows if row.label in ("test5", "test32", "test12")]
    found = covariance_of(Evidence(tuple(rows)))
    rng = np.random.default_rng(1)
    full = darts_bpe.accuracy("full", "test")
    columns = [darts_bpe.accuracy(row.label, "test") for row in rows]
    drawn = []
    for _ in range(1500):
        places = rng.integers(0, 100, 100)
        truth = full[places]
        drawn.append([stats.spearmanr(column[places], truth).statistic for column in columns])
    np.testing.assert_allclose(found, np.cov(np.array(drawn).T), rtol=0.3, atol=0.0006)


def process_of(points, groups, values, noise, draws):
    return SettingProcess(
        np.asarray(points), groups, np.asarray(values), np.asarray(noise), np.atleast_2d(draws)
    )


@pytest.fixture
def made_up():
    """Nine settings of two hyper-parameters."""
    rng = np.random.default_rng(5)
    points = rng.random((9, 2))
    values = 0.5 + 0.2 * points[:, 0] + 0.03 * rng.standard_normal(9)
    return points, values


def test_changes_are_those_of_scikit_learn(made_up):
    points, values = made_up
    lengths, deviation, nugget, noise = (0.7, 1.9), 0.25, 0.02, 0.001
    draw = np.log([*lengths, deviation, nugget])
    process = process_of(points, ((0,), (1,)), values, noise * np.eye(9), draw)
    before, after = np.array([[0.9, 0.1], [0.8, 0.7]]), np.array([[0.2, 0.1], [0.2, 0.7]])
    kernel = (
        ConstantKernel(deviation**2) * RBF(lengths) + ConstantKernel(1.0) + WhiteKernel(nugget**2)
    )
    regressor = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(points, values)
    # White noise is of a setting's own: the smooth part has none.
    mean = regressor.predict(np.vstack([before, after]))
    smooth = ConstantKernel(deviation**2) * RBF(lengths) + ConstantKernel(1.0)
    everything = np.vstack([before, after])
    cross = smooth(everything, points)
    known = kernel(points) + noise * np.eye(9)
    covariance = smooth(everything) - cross @ linalg.solve(known, cross.T)
    weights = np.array([-0.5, -0.5, 0.5, 0.5])
    change = process.change(before, after)
    assert change.mean == pytest.approx(weights @ mean, abs=1e-9)
    assert change.deviations[0] == pytest.approx(np.sqrt(weights @ covariance @ weights), abs=1e-9)


def test_a_setting_left_out_is_predicted_from_the_others(made_up):
    points, values = made_up
    draw = np.log([0.7, 1.9, 0.25, 0.02])
    noise = 0.001 * np.eye(9) + 0.0004
    process = process_of(points, ((0,), (1,)), values, noise, draw)
    kept = np.arange(9) != 4
    kernel = ConstantKernel(0.25**2) * RBF((0.7, 1.9)) + ConstantKernel(1.0)
    known = kernel(points) + noise + 0.02**2 * np.eye(9)
    solved = linalg.solve(known[np.ix_(kept, kept)], known[kept, 4])
    found = process.left_out()
    assert found.means[0, 4] == pytest.approx(solved @ values[kept])
    assert found.deviations[0, 4] == pytest.approx(np.sqrt(known[4, 4] - solved @ known[kept, 4]))


def test_kernels_are_drawn_from_their_posterior(made_up, monkeypatch):
    """Against a sum over a grid of the three parameters of one group."""
    monkeypatch.setattr(process_module, "_SWEEPS", 4000)
    points, values = made_up
    points, noise = points[:, :1], 0.001 * np.eye(9)
    process = SettingProcess.fit(points, [(0,)], values, noise, np.random.default_rng(2))
    centre, spread = np.log([1.5, 0.2, 0.02]), np.array([1.0, 0.7, 0.7])
    axes = [m + s * np.linspace(-4, 4, 25) for m, s in zip(centre, spread, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    heights = []
    for length, deviation, nugget in np.exp(grid):
        known = deviation**2 * RBF(length)(points) + 1.0 + noise + nugget**2 * np.eye(9)
        heights.append(stats.multivariate_normal.logpdf(values, cov=known))
    heights += -0.5 * (((grid - centre) / spread) ** 2).sum(axis=1)
    weights = np.exp(heights - np.max(heights))
    weights /= weights.sum()
    expected = weights @ grid
    deviations = np.sqrt(weights @ (grid - expected) ** 2)
    # Some 780 draws, of which a third or so are independent.
    np.testing.assert_allclose(process.draws.mean(axis=0), expected, atol=0.2 * deviations.max())
    np.testing.assert_allclose(process.draws.std(axis=0), deviations, rtol=0.2)


def test_settings_left_out_lie_in_their_intervals(model, objective):
    """90 to 98 % of 37; the spread between kernels is part of the interval."""
    found = model.process.left_out()
    inside = 0
    for place, value in enumerate(objective.known.correlations):
        of_one = Change(found.means[:, place], found.deviations[:, place])
        low, high = of_one.interval(0.95)
        inside += low <= value <= high
    assert 0.90 <= inside / len(objective.known.rows) <= 0.98


def test_precision_and_schedule_may_be_pinned_and_epochs_and_layers_may_not(model, groups):
    found = {group[0]: model.pin(group) for group in groups}
    for name in ("precision", "lr_schedule"):
        assert found[name].support >= 0.8
        assert found[name].low > -0.06
    for name in ("epochs", "layers"):
        assert found[name].support < 0.2
        assert found[name].high < 0
        assert found[name].seconds_saved > 0
        assert found[name].times_cheaper > 2


def test_pinned_to_is_what_two_settings_have(objective, model):
    """Batch size 1024 is the cheapest, and one setting has it."""
    sizes = [b.batch_size for b in objective.known.budgets]
    values = cheapest_values(("batch_size", "learning_rate"), objective.known, objective.costs)
    assert sizes.count(1024) == 1
    assert values == {"batch_size": 256, "learning_rate": 0.06}
    single = Evidence(objective.known.rows[:1])
    with pytest.raises(SelectionError) as error:
        cheapest_values(("epochs",), single, objective.costs)
    assert str(error.value) == (
        "pinning epochs needs a value that 2 settings have, found each value once; train more "
        "settings, or leave it out"
    )


def test_what_was_pinned_before_counts(model):
    """With few layers epochs are worth less, or as much: the change is of the pinned settings."""
    free, after = model.pin(("epochs",)), model.pin(("epochs",), pinned={"layers": 6})
    assert free.change != after.change
    assert after.seconds_saved < free.seconds_saved  # as all settings have six layers then


def test_a_margin_is_a_loss_that_does_not_matter(model):
    supports = [model.pin(("channels",), margin=margin).support for margin in (0.0, 0.02, 0.2)]
    assert supports == sorted(supports)
    assert supports[-1] > 0.99


def test_the_same_seed_gives_the_same_costs(objective):
    one, other, another = (
        PinningModel.fit(objective.known, objective.costs, np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )
    assert one.pin(("layers",)) == other.pin(("layers",))
    assert one.pin(("layers",)) != another.pin(("layers",))


def test_intervals_of_normal_changes_are_those_of_the_normal_distribution():
    change = Change(np.full(3, 0.1), np.full(3, 0.05))
    low, high = change.interval(0.95)
    assert (low, high) == pytest.approx((0.1 - 1.96 * 0.05, 0.1 + 1.96 * 0.05), abs=0.005)
    assert change.above(0.1) == pytest.approx(0.5)
    assert change.above(-0.02) == pytest.approx(stats.norm.cdf(0.12 / 0.05))


def test_the_page_shows_what_its_examples_print(repository, capsys):
    page = (repository / "docs" / "pinning.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for code, shown in blocks:
        exec(code, names)
        assert capsys.readouterr().out == shown


def test_settings_of_other_architectures_are_independent(darts_bpe):
    report = correlate(darts_bpe)
    whole, other = report.rows[0], report.rows[1]
    part = dataclasses.replace(
        other.estimate, influence=other.estimate.influence[:50], n=50, correlation=0.4
    )
    found = covariance_of(Evidence((whole, dataclasses.replace(other, estimate=part))))
    assert found[0, 1] == found[1, 0] == 0
    assert found[1, 1] == pytest.approx(np.mean(part.influence**2) / 50)
