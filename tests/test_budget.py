"""Budgets and the spaces they span."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe_bench.budget import (
    BPE_1,
    BPE_2,
    DARTS_FULL,
    Budget,
    BudgetSpace,
    encode,
    parse_values,
)
from bpe_bench.errors import InvalidBudgetError, SelectionError, UnknownNameError
from bpe_bench.hyper_parameters import HYPER_PARAMETERS

budgets = st.builds(
    Budget,
    epochs=st.integers(1, 600),
    batch_size=st.integers(1, 1024),
    learning_rate=st.floats(1e-6, 10),
    layers=st.integers(1, 24),
    channels=st.integers(1, 64),
    image_size=st.integers(17, 32),
    lr_schedule=st.sampled_from(["cosine", "linear", "step"]),
    precision=st.sampled_from(["fp16", "bf16", "fp32"]),
    cutout=st.integers(0, 16),
    data_fraction=st.floats(0.01, 1.0),
)


def test_the_published_budgets():
    # The table of the paper: epochs, batch size, learning rate, layers, channels, image size.
    assert [str(b) for b in (BPE_1, BPE_2)] == [
        "epochs=10,batch_size=128,learning_rate=0.03,lr_schedule=cosine,layers=6,channels=8,"
        "image_size=16,precision=fp32,cutout=0,data_fraction=1.0",
        "epochs=30,batch_size=128,learning_rate=0.03,lr_schedule=cosine,layers=16,channels=16,"
        "image_size=16,precision=fp32,cutout=0,data_fraction=1.0",
    ]
    assert (DARTS_FULL.epochs, DARTS_FULL.layers, DARTS_FULL.channels) == (600, 20, 36)


def test_every_field_is_a_hyper_parameter():
    assert {f.name for f in dataclasses.fields(Budget)} == set(HYPER_PARAMETERS)
    assert len(HYPER_PARAMETERS) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, found 0"),
        ({"epochs": 1.0}, "epochs must be a whole number of at least 1, found 1.0"),
        ({"layers": True}, "layers must be a whole number of at least 1, found True"),
        ({"channels": "8"}, "channels must be a whole number of at least 1, found '8'"),
        ({"cutout": -1}, "cutout must be a whole number of at least 0, found -1"),
        ({"learning_rate": 0}, "learning_rate must be above 0, found 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0, found nan"),
        ({"learning_rate": math.inf}, "learning_rate must be above 0, found inf"),
        ({"data_fraction": 1.5}, "data_fraction must be above 0 and at most 1, found 1.5"),
        ({"lr_schedule": "sine"}, "lr_schedule must be one of cosine, linear, step, found 'sine'"),
        ({"precision": 16}, "precision must be one of fp16, bf16, fp32, found 16"),
        (
            {"cutout": 16},
            "cutout (16 pixels) must be smaller than image_size (16 pixels)",
        ),
    ],
)
def test_impossible_values_are_refused(change, message):
    with pytest.raises(InvalidBudgetError) as caught:
        BPE_1.replace(**change)
    assert str(caught.value) == message


def test_replacing_an_unknown_hyper_parameter_lists_those_that_exist():
    with pytest.raises(UnknownNameError) as caught:
        BPE_1.replace(epoch=5)
    assert str(caught.value) == (
        "unknown hyper-parameter 'epoch' (did you mean 'epochs'?); there are: "
        + ", ".join(HYPER_PARAMETERS)
    )


def test_numpy_numbers_become_plain_ones():
    budget = BPE_1.replace(epochs=np.int32(5), learning_rate=np.float32(0.5))
    assert type(budget.epochs) is int
    assert type(budget.learning_rate) is float
    assert budget == BPE_1.replace(epochs=5, learning_rate=0.5)


@given(budget=budgets)
def test_a_budget_is_its_dictionary(budget):
    assert Budget(**budget.to_dict()) == budget
    assert list(budget.to_dict()) == list(HYPER_PARAMETERS)
    assert hash(Budget(**budget.to_dict())) == hash(budget)


@given(budget=budgets)
def test_the_encoding_keeps_numbers_and_orders_categories(budget):
    (row,) = encode([budget])
    expected = [
        budget.epochs, budget.batch_size, budget.learning_rate,
        ["cosine", "linear", "step"].index(budget.lr_schedule), budget.layers, budget.channels,
        budget.image_size, ["fp16", "bf16", "fp32"].index(budget.precision), budget.cutout,
        budget.data_fraction,
    ]  # fmt: skip
    assert row.tolist() == expected


def test_the_encoding_of_chosen_columns():
    assert encode([BPE_1, BPE_2], ["layers", "epochs"]).tolist() == [[6, 10], [16, 30]]
    assert encode([]).shape == (0, 10)


@given(found=st.lists(budgets, min_size=1, max_size=4))
def test_the_space_of_some_budgets_holds_them_and_is_sorted(found):
    space = BudgetSpace.of(found)
    assert all(budget in space for budget in found)
    for name in HYPER_PARAMETERS:
        present = {getattr(b, name) for b in found}
        assert set(space.values[name]) == present
        assert (name in space.free) == (len(present) > 1)
    assert list(space.values["epochs"]) == sorted(space.values["epochs"])


def test_pinning_fixes_one_hyper_parameter():
    space = BudgetSpace.of([BPE_1, BPE_2])
    pinned = space.pin("layers", 6)
    assert (space.size, pinned.size) == (8, 4)
    assert pinned.free == ("epochs", "channels")
    assert space.free == ("epochs", "layers", "channels")  # the original is as it was
    assert BPE_2 not in pinned


def test_pinning_at_a_value_that_is_no_candidate():
    with pytest.raises(InvalidBudgetError) as caught:
        BudgetSpace.of([BPE_1, BPE_2]).pin("layers", 7)
    assert str(caught.value) == "cannot pin layers at 7: its candidates are 6, 16"


def test_spaces_that_cannot_be():
    with pytest.raises(SelectionError, match=r"at least one budget, found none"):
        BudgetSpace.of([])
    with pytest.raises(InvalidBudgetError, match=r"at least one value of batch_size, found none"):
        BudgetSpace({"epochs": (1,)})
    with pytest.raises(UnknownNameError, match=r"unknown hyper-parameter 'depth'"):
        BudgetSpace({"depth": (1,)})
    values = {**BudgetSpace.of([BPE_1]).values, "lr_schedule": ("sine",)}
    with pytest.raises(InvalidBudgetError, match=r"'sine'"):
        BudgetSpace(values)


def test_iteration_and_membership_agree_with_the_size():
    space = BudgetSpace.of([BPE_1, BPE_2])
    listed = list(space)
    assert len(set(listed)) == len(listed) == space.size
    assert all(budget in space for budget in listed)
    assert "a text" not in space


# A cutout of 16 fits an image of 32 and not one of 16, as in the shipped table.
CLASHING = BudgetSpace.of([BPE_1, DARTS_FULL])


def test_budgets_that_cannot_be_are_neither_counted_nor_listed_nor_drawn():
    # Seven hyper-parameters have two values; of the four pairs of cutout and
    # image size, one is impossible.
    assert len(CLASHING.free) == 7
    assert CLASHING.size == 2**5 * 3
    assert len(list(CLASHING)) == CLASHING.size
    rng = np.random.default_rng(0)
    assert all(CLASHING.sample(rng) in CLASHING for _ in range(200))


def test_a_space_of_impossible_budgets_only():
    nothing = CLASHING.pin("cutout", 16).pin("image_size", 16)
    assert nothing.size == 0
    with pytest.raises(InvalidBudgetError, match=r"no valid budget"):
        nothing.sample(np.random.default_rng(0))


def test_sampling_by_seed():
    def drawn(seed):
        rng = np.random.default_rng(seed)
        return [CLASHING.sample(rng) for _ in range(20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_sampling_is_uniform():
    rng = np.random.default_rng(0)
    space = BudgetSpace.of([BPE_1, BPE_2])
    found = [space.sample(rng) for _ in range(4000)]
    counts = [found.count(budget) for budget in space]
    # Binomial(4000, 1/8) has a standard deviation of 21.
    assert max(abs(count - 500) for count in counts) < 5 * 21


def test_a_table_may_not_know_a_hyper_parameter():
    unknown = BPE_1.replace(batch_size=None, precision=None, cutout=None)
    assert unknown.to_dict()["batch_size"] is None
    assert str(unknown).startswith("epochs=10,batch_size=unknown,learning_rate=0.03")
    assert Budget(**parse_values(str(unknown))) == unknown
    space = BudgetSpace.of([unknown, BPE_2])
    assert space.unknown == ("batch_size", "precision", "cutout")
    assert space.free == ("epochs", "layers", "channels")
    assert BPE_2 in space
    assert space.size == len(list(space)) == 8
    assert encode([unknown], ["layers", "epochs"]).tolist() == [[6, 10]]


def test_what_needs_an_unknown_value_says_so():
    unknown = BPE_1.replace(batch_size=None, layers=None)
    with pytest.raises(InvalidBudgetError, match=r"^batch_size must be .* found a setting"):
        encode([unknown], ["batch_size"])
    with pytest.raises(InvalidBudgetError, match=r"^to train, a budget needs batch_size, layers;"):
        unknown.check_trainable()
    with pytest.raises(InvalidBudgetError, match="epochs must be a whole number of at least 1"):
        BPE_1.replace(epochs=None)
    with pytest.raises(InvalidBudgetError, match="found lr_schedule=step, which is for published"):
        BPE_1.replace(lr_schedule="step").check_trainable()
    BPE_1.check_trainable()
