"""The table in memory: what it refuses, what is missing, what a search may see."""

import dataclasses
import re

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.errors import (
    InvalidTableError,
    LeakError,
    MissingReferenceError,
    SelectionError,
    UnknownNameError,
)
from bpe_bench.spaces import Architecture, get_space
from bpe_bench.tables.table import MISSING, Curves, Setting, Split


def test_accuracy_is_the_count_over_the_split(golden):
    np.testing.assert_array_equal(
        golden.accuracy("cheap", Split.VALIDATION, seed=0), [0.61, 0.60, 0.64, 0.63, 0.66, 0.65]
    )
    np.testing.assert_array_equal(
        golden.accuracy("cheap", Split.TEST, seed=0), [0.695, 0.7, 0.68, 0.685, 0.67, 0.675]
    )


def test_the_mean_is_over_the_seeds_that_are_there(golden):
    # The fourth cell of full training has one seed, the others two.
    np.testing.assert_allclose(
        golden.accuracy("full", Split.VALIDATION), [0.911, 0.919, 0.932, 0.94, 0.949, 0.962]
    )


def test_missing_stays_missing(golden):
    assert np.isnan(golden.accuracy("middle", Split.VALIDATION)).tolist() == [False] * 5 + [True]
    assert np.isnan(golden.accuracy("full", Split.VALIDATION, seed=1))[3]


def test_an_epoch_is_asked_for_by_its_number(golden):
    first = golden.accuracy("cheap", Split.VALIDATION, epoch=1, seed=0)
    np.testing.assert_allclose(first, [0.53, 0.52, 0.56, 0.55, 0.58, 0.57])
    last = golden.accuracy("cheap", Split.VALIDATION, epoch=10, seed=0)
    np.testing.assert_array_equal(last, golden.accuracy("cheap", Split.VALIDATION, seed=0))


@pytest.mark.parametrize("epoch", [-1, 0, 2, 11])
def test_an_epoch_that_was_not_recorded_is_not_another_one(golden, epoch):
    with pytest.raises(UnknownNameError) as caught:
        golden.accuracy("cheap", Split.VALIDATION, epoch=epoch)
    text = str(caught.value)
    assert text.startswith(f"unknown epoch '{epoch}'")
    assert text.endswith("there are: 1, 5, 10")


def test_an_architecture_is_asked_for_by_itself_its_text_or_its_place(golden):
    cell = golden.architectures[2]
    text = get_space(golden.space).format(cell)
    answers = {
        golden.query(asked, "cheap", split="validation", seed=0).accuracy
        for asked in (cell, text, 2, np.int64(2))
    }
    assert answers == {0.64}


@pytest.mark.parametrize("place", [-1, 6])
def test_a_place_out_of_range_is_no_other_one(golden, place):
    with pytest.raises(SelectionError) as caught:
        golden.query(place, "cheap", split="validation", seed=0)
    assert str(caught.value) == (
        f"the table does not hold an architecture {place}; it counts its 6 architectures of "
        "darts from 0"
    )


def test_names_that_do_not_exist(golden):
    with pytest.raises(UnknownNameError, match=r"^unknown seed '2'; there are: 0, 1$"):
        golden.accuracy("cheap", Split.VALIDATION, seed=2)
    with pytest.raises(UnknownNameError) as caught:
        golden.setting("chap")
    assert str(caught.value) == (
        "unknown budget 'chap' (did you mean 'cheap'?); there are: full, cheap, middle"
    )
    with pytest.raises(UnknownNameError) as caught:
        golden.curves_of("cheap", Split.TRAIN)
    assert str(caught.value) == (
        "unknown split 'train' of setting 'cheap'; there are: validation, test"
    )


def test_test_accuracy_may_not_steer_a_search(golden):
    with pytest.raises(LeakError) as caught:
        golden.steering_accuracy("cheap", Split.TEST)
    assert str(caught.value) == (
        "a search may not look at test accuracy of 'cheap'; use one of: validation"
    )
    np.testing.assert_array_equal(
        golden.steering_accuracy("cheap", Split.VALIDATION, epoch=5, seed=1),
        golden.accuracy("cheap", Split.VALIDATION, epoch=5, seed=1),
    )


def test_a_table_of_test_accuracies_cannot_steer_at_all(darts_bpe):
    with pytest.raises(
        LeakError, match=r"take another budget or table, or ask for it: --split test$"
    ):
        darts_bpe.steering_accuracy("test5", Split.TEST)


def test_a_table_without_a_reference_says_so(golden):
    table = dataclasses.replace(golden, references=())
    with pytest.raises(MissingReferenceError) as caught:
        table.reference()
    assert str(caught.value) == (
        "the table has no reference (full training) for data set 'cifar10'; references: none; "
        "without one there is nothing to correlate with, so build the table with a setting named "
        "as its reference"
    )
    with pytest.raises(UnknownNameError, match=r"unknown data set 'mnist'; there are: cifar10"):
        golden.reference("mnist")


def test_ranking_is_by_validation_where_all_have_it(golden, darts_bpe):
    assert golden.ranking_split("full", "cheap") is Split.VALIDATION
    assert darts_bpe.ranking_split("full", "test5") is Split.TEST
    rest = {k: v for k, v in golden.curves.items() if k != ("cheap", Split.VALIDATION)}
    assert dataclasses.replace(golden, curves=rest).ranking_split("full", "cheap") is Split.TEST
    with pytest.raises(SelectionError, match=r"^settings cheap share no validation or test"):
        dataclasses.replace(golden, curves={}).ranking_split("cheap")


def test_published_names(golden, darts_bpe):
    assert dict(golden.published_names()) == {}
    assert dict(darts_bpe.published_names()) == {"test5": "BPE-1", "test32": "BPE-2"}
    assert darts_bpe.setting("BPE-1") is darts_bpe.setting("test5")
    assert darts_bpe.setting("BPE-1").budget == BPE_1


def test_costs_and_devices(golden):
    assert golden.seconds() == {"full": 4000.0, "cheap": 10.0, "middle": 100.0}
    assert golden.devices() == ("RTX 2080 Ti", "V100")
    assert golden.devices(["cheap", "full"]) == ("V100",)


def test_a_table_cannot_be_changed(golden):
    curves = golden.curves_of("cheap", Split.TEST)
    with pytest.raises(ValueError, match=r"read-only"):
        curves.counts[0, 0, 0] = 1
    with pytest.raises(TypeError, match=r"does not support item assignment"):
        golden.curves["cheap", Split.TRAIN] = curves
    with pytest.raises(dataclasses.FrozenInstanceError):
        golden.dataset = "other"


def curves(counts=((0, 1),), size=10, epochs=(1,), seeds=(0,)):
    return Curves(np.array([counts]), size, np.array(epochs), np.array(seeds))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"seeds": (0, 1)},
            "counts must have the shape (seeds, epochs, architectures) = (2, 1, A), "
            "found (1, 1, 2)",
        ),
        ({"size": 0}, "curves need at least one image, seed, epoch and architecture"),
        ({"counts": ((),)}, "curves need at least one image, seed, epoch and architecture"),
        (
            {"counts": ((0, 11),)},
            "counts must lie between 0 and the split's 10 images, or be -1 where missing; "
            "found 0 to 11",
        ),
        (
            {"counts": ((-2, 3),)},
            "counts must lie between 0 and the split's 10 images, or be -1 where missing; "
            "found -2 to 3",
        ),
        # Larger than 32 bits: must not wrap round into range.
        (
            {"counts": ((0, 2**32 + 1),)},
            "counts must lie between 0 and the split's 10 images, or be -1 where missing; "
            "found 0 to 4294967297",
        ),
        # Fractions would all become 0.
        ({"counts": ((0.5, 0.9),)}, "counts must be whole numbers, found float64"),
        (
            {"epochs": (0,)},
            "recorded epochs must count from 1 and ascend, and none is larger than 2147483647; "
            "found [0]",
        ),
    ],
)
def test_malformed_curves(arguments, message):
    with pytest.raises(InvalidTableError) as caught:
        curves(**arguments)
    assert str(caught.value) == message


def test_epochs_must_ascend():
    with pytest.raises(InvalidTableError, match=r"count from 1 and ascend"):
        Curves(np.zeros((1, 2, 1), dtype=int), 10, np.array([2, 2]), np.array([0]))


@pytest.mark.parametrize("label", ["", "a/b", "../x", ".", "-a", "a b", "ä", "a\n"])
def test_labels_that_would_not_survive_a_file(label):
    with pytest.raises(InvalidTableError, match=r"^a setting's label must be letters, digits"):
        Setting(label, BPE_1, "cifar10")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf")])
def test_seconds_that_cannot_be(seconds):
    message = re.escape(f"seconds of setting 'a' must be above 0 or unknown (NaN), found {seconds}")
    with pytest.raises(InvalidTableError, match=f"^{message}$"):
        Setting("a", BPE_1, "cifar10", seconds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"architectures": ()}, "a table needs at least one architecture and one"),
        (lambda t: {"settings": (*t.settings, t.settings[0])}, r"differ, found twice: \['full'\]"),
        (
            lambda t: {"architectures": (*t.architectures[:5], Architecture("other", (1,)))},
            "a table of space 'darts' cannot hold an architecture of 'other'",
        ),
        (lambda t: {"settings": t.settings[:2]}, "curves of setting 'middle', which the table"),
        (
            lambda t: {"architectures": t.architectures[:5]},
            "the validation curves of 'full' have 6 architectures, the table has 5",
        ),
        (lambda t: {"references": ("best",)}, "reference 'best' is not a setting of the table"),
        (lambda t: {"references": ("full", "cheap")}, "a data set can have one reference only"),
        (lambda t: {"dataset": "mnist"}, "no setting of the table is on its data set 'mnist'"),
    ],
)
def test_parts_that_do_not_fit_together(golden, change, message):
    with pytest.raises(InvalidTableError, match=message):
        dataclasses.replace(golden, **change(golden))


def test_missing_is_not_a_count():
    assert np.isnan(curves(counts=((MISSING, 0),)).accuracy()).tolist() == [[True, False]]


def test_a_label_may_name_an_epoch(golden):
    cheap = golden.setting("cheap")
    assert golden.setting_at("cheap") == (cheap, None)
    assert golden.setting_at("cheap@1") == (cheap, 1)
    assert golden.setting_at("cheap@10") == (cheap, 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cheap@7", "unknown epoch '7' of setting 'cheap'; there are: 1, 5, 10"),
        ("cheap@", "unknown epoch '' of setting 'cheap'; there are: 1, 5, 10"),
        (
            "cheep@1",
            "unknown budget 'cheep' (did you mean 'cheap'?); there are: full, ",
        ),
    ],
)
def test_a_label_with_an_epoch_that_is_not_there(golden, name, message):
    with pytest.raises(UnknownNameError) as caught:
        golden.setting_at(name)
    assert str(caught.value).startswith(message)


def test_an_epoch_costs_what_was_measured_or_its_share(golden):
    assert golden.cost_share("cheap", 5) == 0.5
    whole, part = np.full(6, 10.0), np.full(6, 7.0)
    part[0] = whole[1] = np.nan  # only what has both counts
    measured = {("cheap", "seconds"): whole, ("cheap", "seconds@5"): part}
    table = dataclasses.replace(golden, measures=measured)
    assert table.cost_share("cheap", 5) == pytest.approx(0.7)
    assert table.cost_share("cheap", 1) == 0.1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"seeds": np.array([2**32 - 1])},
            "seeds count from 0, and -1 is a mean, and none is larg",
        ),
        ({"seeds": [3_000_000_000]}, "than 2147483647; found \\[3000000000\\]"),
        ({"seeds": [2**70]}, "none is larger than 2147483647; found"),
        ({"seeds": [-2]}, "seeds count from 0, and -1 is a mean"),
        ({"epochs": [2**31]}, "ascend, and none is larger than 2147483647; found \\[2147483648\\]"),
    ],
)
def test_seeds_and_epochs_that_32_bits_would_change_are_refused(changed, said):
    parts = {"counts": np.zeros((1, 1, 2), int), "split_size": 10, "epochs": [1], "seeds": [0]}
    with pytest.raises(InvalidTableError, match=said):
        Curves(**{**parts, **changed})
