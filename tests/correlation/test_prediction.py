"""What settings that nobody trained would cost and correlate."""

import itertools
import math

import numpy as np
import pytest

from bpe_bench import correlate
from bpe_bench.budget import BPE_1, BudgetSpace
from bpe_bench.correlation.candidates import Candidate, Cost, Predicted
from bpe_bench.correlation.evidence import Evidence
from bpe_bench.correlation.prediction import CostModel, predict
from bpe_bench.errors import SelectionError
from bpe_bench.hyper_parameters import HYPER_PARAMETERS

POWERS = {
    "epochs": 1.0, "batch_size": -0.3, "layers": 1.2, "channels": 0.8, "image_size": 1.9,
    "data_fraction": 1.1,
}  # fmt: skip


def row(label, budget, correlation=0.5, seconds=100.0, device="V100"):
    cost = Cost(seconds, device=device)
    candidate = Candidate(label=label, budget=budget, cost=cost)
    return candidate.predicted(correlation, float("nan"), float("nan"))


def amounts(model, budgets):
    return np.array([cost.amount for cost in model.costs(budgets)])


def law(budget):
    """Seconds by a power law; each step of precision doubles them."""
    seconds = 0.01 * math.prod(getattr(budget, name) ** power for name, power in POWERS.items())
    return seconds * {"fp16": 1, "bf16": 2, "fp32": 4}[budget.precision]


SPACE = BudgetSpace(
    {
        "epochs": (5, 10, 40), "batch_size": (64, 128), "learning_rate": (0.02, 0.05),
        "lr_schedule": ("cosine", "linear"), "layers": (4, 8, 16), "channels": (8, 16),
        "image_size": (16, 32), "precision": ("fp16", "fp32"), "cutout": (0, 8),
        "data_fraction": (0.5, 1.0),
    }
)  # fmt: skip


def sampled(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


@pytest.fixture(scope="module")
def rows(darts_bpe):
    return correlate(darts_bpe).rows


def test_costs_of_an_exact_power_law_are_recovered():
    model = CostModel.fit([row(f"s{i}", b, seconds=law(b)) for i, b in enumerate(sampled(40))])
    new = [b.replace(epochs=600, channels=36, layers=20) for b in sampled(20, seed=1)]
    np.testing.assert_allclose(amounts(model, new), [law(b) for b in new], rtol=1e-6)
    assert model.error == pytest.approx(0, abs=1e-9)


def test_equal_settings_cost_the_same_wherever_they_stand():
    """A matrix product computes the last rows of a matrix in another way than the first."""
    model = CostModel.fit([row(f"s{i}", b, seconds=law(b)) for i, b in enumerate(sampled(40))])
    budgets = sampled(67, seed=2)
    together = amounts(model, budgets)
    np.testing.assert_array_equal(together[::-1], amounts(model, budgets[::-1]))
    np.testing.assert_array_equal(together, [amounts(model, [b])[0] for b in budgets])


def test_hyper_parameters_that_always_move_together_cost_something_together():
    """Of a singular design the smallest solution: epochs and layers share what they cost."""
    budgets = [BPE_1.replace(epochs=n, layers=n) for n in (4, 8, 16, 32, 64)]
    model = CostModel.fit([row(str(b.epochs), b, seconds=float(b.epochs) ** 2) for b in budgets])
    shares = dict(zip(model.names, model.coefficients[1:], strict=True))
    assert shares["epochs"] == pytest.approx(shares["layers"]) == pytest.approx(1)
    assert amounts(model, [BPE_1.replace(epochs=20, layers=20)])[0] == pytest.approx(400)


def test_what_changes_no_arithmetic_costs_nothing():
    model = CostModel.fit([row(f"s{i}", b, seconds=law(b)) for i, b in enumerate(sampled(40))])
    other = BPE_1.replace(learning_rate=0.5, lr_schedule="linear", cutout=8)
    assert amounts(model, [other]) == pytest.approx(amounts(model, [BPE_1]), rel=1e-12)


def test_costs_are_for_the_device_that_most_settings_were_measured_on():
    budgets = sampled(40)
    slow = [i % 3 == 0 for i in range(40)]
    measured = [
        row(f"s{i}", b, seconds=law(b) * (5 if s else 1), device="slow" if s else "fast")
        for i, (b, s) in enumerate(zip(budgets, slow, strict=True))
    ]
    model = CostModel.fit(measured)
    assert model.device == "fast"
    np.testing.assert_allclose(amounts(model, budgets), [law(b) for b in budgets], rtol=1e-6)
    turned = CostModel.fit(
        [r for r, s in zip(measured, slow, strict=True) if s] * 3 + measured[1:2]
    )
    assert turned.device == "slow"


def test_error_of_the_cost_model_is_what_leaving_each_setting_out_gives():
    rng = np.random.default_rng(0)
    budgets = sampled(40)
    seconds = [law(b) * math.exp(rng.normal(0, 0.3)) for b in budgets]
    devices = ["P4" if i % 4 == 0 else "V100" for i in range(40)]
    model = CostModel.fit(
        [
            row("s", b, seconds=s, device=d)
            for b, s, d in zip(budgets, seconds, devices, strict=True)
        ]
    )
    design = np.array(
        [
            [1.0, *(math.log(getattr(b, n)) for n in POWERS), b.precision == "fp32", d == "P4"]
            for b, d in zip(budgets, devices, strict=True)
        ]
    )
    target = np.log(seconds)
    missed = []
    for out in range(40):
        kept = np.arange(40) != out
        fitted = np.linalg.lstsq(design[kept], target[kept], rcond=None)[0]
        missed.append(target[out] - design[out] @ fitted)
    assert model.error == pytest.approx(np.sqrt(np.mean(np.square(missed))), rel=1e-6)


def test_settings_of_unknown_cost_do_not_count():
    budgets = sampled(40)
    known = [row("s", b, seconds=law(b)) for b in budgets]
    unknown = [row("s", b, seconds=math.nan) for b in sampled(5, seed=1)]
    np.testing.assert_array_equal(
        CostModel.fit(known + unknown).coefficients, CostModel.fit(known).coefficients
    )


def test_no_cost_at_all_is_refused():
    with pytest.raises(SelectionError) as caught:
        CostModel.fit([row("s", BPE_1, seconds=math.nan)])
    assert str(caught.value) == (
        "pruning pins hyper-parameters at their cheapest value, but the table records no cost; "
        "add seconds to its settings"
    )


def known_correlation(budget, rng):
    level = 0.2 + 0.1 * math.log2(budget.epochs / 5) + 0.05 * math.log2(budget.layers / 4)
    return level + rng.normal(0, 0.03)


def synthetic(seed, count=40):
    """Settings of a space of 144 with known correlations; the rest is asked for."""
    space = BudgetSpace.of(
        BPE_1.replace(epochs=e, layers=y, channels=c, image_size=i)
        for e, y, c, i in itertools.product((5, 10, 20, 40), (4, 8, 16), (8, 16, 32), (16, 32))
    )
    rng = np.random.default_rng(seed)
    budgets = list(space)
    order = rng.permutation(len(budgets))
    chosen = [budgets[place] for place in order[:count]]
    known = [row(f"s{i}", b, known_correlation(b, rng), law(b)) for i, b in enumerate(chosen)]
    return space, known, rng


def test_intervals_of_predictions_cover():
    """Five data sets, about 30 settings each: 95 % intervals hold at least 90 % of new ones."""
    inside = []
    for seed in range(5):
        space, known, rng = synthetic(seed)
        asked, error = predict(
            Evidence(tuple(known)), CostModel.fit(known), space, {r.budget for r in known}, rng
        )
        truth = np.array([known_correlation(r.budget, rng) for r in asked])
        inside += [r.low <= t <= r.high for r, t in zip(asked, truth, strict=True)]
        missed = np.sqrt(
            np.mean([(r.correlation - t) ** 2 for r, t in zip(asked, truth, strict=True)])
        )
        assert error == pytest.approx(missed, rel=0.6)
        # Wide enough to cover, but not because they say nothing: correlations range over 0.4.
        assert max(r.high - r.low for r in asked) < 0.4
    assert len(inside) == 5 * (72 - 40)
    assert np.mean(inside) >= 0.9


def test_predictions_are_of_settings_that_were_not_evaluated_and_say_so():
    space, known, rng = synthetic(0)
    costs = CostModel.fit(known)
    taken = {r.budget for r in known}
    asked, _ = predict(Evidence(tuple(known)), costs, space, taken, rng)
    assert {r.budget for r in asked} == set(space) - taken
    assert len({r.label for r in asked}) == len(asked)
    for found in asked:
        assert found.cost_seconds == pytest.approx(law(found.budget), rel=1e-6)
        assert found.device == "V100"
        assert isinstance(found, Predicted)
        assert found.to_json()["precision_at_k"] is None
        for part in found.label.split(","):
            name, value = part.split("=")
            assert str(getattr(found.budget, name)) == value


def test_nothing_to_ask_gives_nothing():
    space, known, rng = synthetic(0)
    costs = CostModel.fit(known)
    assert predict(Evidence(tuple(known)), costs, space, set(space), rng) == ([], 0.0)


def test_only_combinations_that_were_seen_together_are_predicted(rows):
    space = BudgetSpace.of(r.budget for r in rows)
    for name in ("lr_schedule", "layers", "channels", "precision", "cutout", "data_fraction"):
        space = space.pin(name, Evidence(rows).usual_value(name))
    asked, _ = predict(
        Evidence(rows), CostModel.fit(rows), space, set(), np.random.default_rng(0), resamples=10
    )
    seen = {(r.budget.batch_size, r.budget.learning_rate) for r in rows}
    predicted = {(r.budget.batch_size, r.budget.learning_rate) for r in asked}
    assert predicted == seen
    assert len(asked) == len(seen) * 8 * 2  # times epochs and image sizes


def test_a_space_too_large_to_look_at_is_sampled_all_over(rows):
    """The first budgets in order would all be those of fewest epochs."""
    space = BudgetSpace.of(r.budget for r in rows).pin("cutout", 0).pin("data_fraction", 1.0)
    space = space.pin("lr_schedule", "cosine")
    costs, rng = CostModel.fit(rows), np.random.default_rng(0)
    asked, _ = predict(Evidence(rows), costs, space, set(), rng, resamples=10)
    assert len(asked) == len({r.budget for r in asked}) == 4096
    for name in set(HYPER_PARAMETERS) - {"cutout", "data_fraction", "lr_schedule"}:
        assert {getattr(r.budget, name) for r in asked} == set(space.values[name])


def test_predictions_are_the_same_for_the_same_seed():
    space, known, _ = synthetic(0)
    evidence, costs, taken = Evidence(tuple(known)), CostModel.fit(known), {r.budget for r in known}
    one, same, other = (
        predict(evidence, costs, space, taken, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert [r.to_json() for r in one[0]] == [r.to_json() for r in same[0]]
    assert one[1] == same[1] != other[1]
