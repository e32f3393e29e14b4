"""Merging tables: unions, units, contradictions."""

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe_bench.budget import Budget
from bpe_bench.errors import ContradictionError, SelectionError
from bpe_bench.spaces import get_space
from bpe_bench.tables.merging import _LISTED, merge
from bpe_bench.tables.storage import content_hash, read_table, write_table
from bpe_bench.tables.table import MEAN_OF_SEEDS, MISSING, Curves, Provenance, Setting, Split, Table

SPACE = get_space("nas-bench-201")
FULL = Budget(epochs=9, batch_size=256, learning_rate=0.1, layers=17, channels=16, image_size=32)
SIZE = 100
VALID = ("full", Split.VALIDATION)


def curves_of(cells, networks, *, size=SIZE, scale=1):
    """Return curves from {(seed, epoch): counts of all networks}."""
    seeds = sorted({seed for seed, _ in cells})
    epochs = sorted({epoch for _, epoch in cells})
    counts = np.full((len(seeds), len(epochs), networks), MISSING)
    for (seed, epoch), values in cells.items():
        counts[seeds.index(seed), epochs.index(epoch)] = values
    return Curves(counts, size, np.array(epochs), np.array(seeds), scale)


def table_of(indices, cells, *, key=VALID, scale=1, size=SIZE, measures=None, **changes):
    """Return a table of the architectures of some official indices with one array of curves."""
    setting = Setting(key[0], FULL, "cifar10")
    table = Table(
        space="nas-bench-201",
        dataset="cifar10",
        architectures=tuple(SPACE.from_index(index) for index in indices),
        settings=(setting,),
        curves={key: curves_of(cells, len(indices), scale=scale, size=size)},
        references=(key[0],),
        provenance=Provenance("made up", "CC0-1.0", "nobody"),
        measures={(key[0], name): values for name, values in (measures or {}).items()},
    )
    return dataclasses.replace(table, **changes)


def text(index):
    return SPACE.format(SPACE.from_index(index))


def cell(table, index, seed, epoch, key=VALID):
    """Return one count."""
    curves = table.curves[key]
    place = table.index(SPACE.from_index(index))
    return int(curves.column(curves.seed_place(seed), curves.epoch_place(epoch))[place])


def refusal(*tables, names=("one", "two")):
    with pytest.raises((SelectionError, ContradictionError)) as error:
        merge(tables, names)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_architectures_of_nas_bench_201_come_by_official_index():
    merged = merge(
        [table_of([7, 3], {(1, 9): [70, 30]}), table_of([5, 3], {(2, 9): [51, 31]})], ["one", "two"]
    ).table
    assert list(merged.architectures) == [SPACE.from_index(index) for index in (3, 5, 7)]
    curves = merged.curves[VALID]
    assert curves.seeds.tolist() == [1, 2]
    assert curves.counts[:, 0].tolist() == [[30, MISSING, 70], [31, 51, MISSING]]


def test_other_spaces_keep_the_order_in_which_architectures_come(golden):
    halves = [split(golden, part) for part in ([4, 0, 2], [5, 1, 2, 3])]
    merged = merge(halves, ["one", "two"]).table
    order = [4, 0, 2, 5, 1, 3]
    assert list(merged.architectures) == [golden.architectures[place] for place in order]
    for key, curves in golden.curves.items():
        assert np.array_equal(merged.curves[key].counts, curves.counts[:, :, order])


def split(table, places, *, seeds=slice(None), epochs=slice(None)):
    """Return a part of a table."""
    return dataclasses.replace(
        table,
        architectures=[table.architectures[place] for place in places],
        curves={
            key: dataclasses.replace(
                curves,
                counts=curves.counts[seeds][:, epochs][:, :, places],
                seeds=curves.seeds[seeds],
                epochs=curves.epochs[epochs],
            )
            for key, curves in table.curves.items()
        },
    )


def test_two_spellings_of_a_darts_cell_are_one_architecture(golden):
    """A node's two inputs have no order."""
    space, own = get_space("darts"), golden.architectures[0]
    other = next(a for a in respelt(own) if a != own)
    assert space.canonical(other) == space.canonical(own)
    spelt = dataclasses.replace(split(golden, [0]), architectures=[other])
    assert merge([golden, spelt], ["one", "two"]).table.architectures == golden.architectures


def respelt(architecture):
    """Yield the cell with the first node's inputs exchanged."""
    space = get_space("darts")
    pairs = re.findall(r"\('\w+', \d\)", space.format(architecture))
    text = space.format(architecture)
    one, two = pairs[:2]
    yield space.parse(text.replace(f"{one}, {two}", f"{two}, {one}", 1))


def test_isomorphic_cells_of_nas_bench_201_stay_apart():
    first = SPACE.build([0] * 6)
    second = next(
        a for a in SPACE.neighbours(first) if SPACE.canonical(a) == SPACE.canonical(first)
    )
    indices = [SPACE.index_of(a) for a in (first, second)]
    one, two = (table_of([index], {(1, 9): [50]}) for index in indices)
    assert len(merge([one, two], ["one", "two"]).table.architectures) == 2


@given(st.data())
def test_pieces_of_a_table_merge_to_the_table(golden, data):
    shares = st.lists(st.sampled_from(range(6)), min_size=1, unique=True)
    pieces = [
        golden_part(golden, data.draw(shares), data) for _ in range(data.draw(st.integers(1, 3)))
    ]
    names = [f"piece {i}" for i in range(len(pieces) + 1)]
    merged = merge([golden, *pieces], names)
    assert merged.contradictions == ()
    assert merged.table.architectures == golden.architectures
    assert merged.table.settings == golden.settings
    for key, curves in golden.curves.items():
        assert np.array_equal(merged.table.curves[key].counts, curves.counts)
    # Whatever the order, the union is the same.
    back = merge([*pieces, golden], names).table
    order = [back.index(architecture) for architecture in golden.architectures]
    for key, curves in golden.curves.items():
        assert np.array_equal(back.curves[key].counts[:, :, order], curves.counts)


def golden_part(golden, places, data):
    seeds = data.draw(st.sampled_from([[0], [1], [0, 1]]))
    epochs = data.draw(st.sampled_from([[0], [2], [0, 2], [0, 1, 2]]))
    return split(golden, places, seeds=seeds, epochs=epochs)


def test_epochs_and_seeds_are_united_and_missing_stays_missing():
    one = table_of([3, 5], {(1, 3): [33, MISSING], (1, 9): [39, 59]})
    two = table_of([3, 5], {(1, 1): [31, 51], (2, 9): [MISSING, 58], (1, 9): [39, MISSING]})
    curves = merge([one, two], ["one", "two"]).table.curves[VALID]
    assert curves.epochs.tolist() == [1, 3, 9]
    assert curves.counts[0].tolist() == [[31, 51], [33, MISSING], [39, 59]]
    assert curves.counts[1].tolist() == [[MISSING] * 2, [MISSING] * 2, [MISSING, 58]]


def test_counts_come_to_the_least_common_unit():
    one = table_of([3, 5], {(MEAN_OF_SEEDS, 9): [61, MISSING]}, scale=2)
    two = table_of([3, 5], {(MEAN_OF_SEEDS, 9): [MISSING, 100]}, scale=3)
    curves = merge([one, two], ["one", "two"]).table.curves[VALID]
    assert curves.scale == 6
    assert curves.counts[0, 0].tolist() == [183, 200]
    assert curves.most == 600


def test_units_without_a_common_one_in_32_bits():
    one, two = (
        table_of([3], {(MEAN_OF_SEEDS, 9): [50]}, scale=scale, size=50_000) for scale in (499, 503)
    )
    assert refusal(one, two) == (
        "the validation counts of 'full' have no common unit that fits 32 bits: they are in 1/499 "
        "and 1/503 images"
    )


def test_every_array_says_where_it_comes_from():
    one = table_of([3], {(1, 9): [30]})
    two = table_of([3], {(2, 9): [31]})
    other = table_of([3], {(2, 9): [31]}, key=("full", Split.TEST))
    merged = merge([one, two, other], ["one", "two", "three"]).table
    assert merged.curves[VALID].sources == ("one", "two")
    assert merged.curves["full", Split.TEST].sources == ("three",)
    again = merge([merged, table_of([3], {(5, 9): [33]})], ["merged", "four"]).table
    assert again.curves[VALID].sources == ("one", "two", "four")


def test_what_only_one_table_has_is_not_read_from_its_file(tmp_path, monkeypatch):
    networks = 2_000
    counts = {(seed, epoch): [seed] * networks for seed in range(5) for epoch in range(1, 31)}
    write_table(table_of(range(networks), counts), tmp_path / "large.h5")
    large = read_table(tmp_path / "large.h5")
    assert not isinstance(large.curves[VALID].counts, np.ndarray)

    def refuse(*_):
        raise AssertionError("read")

    monkeypatch.setattr(type(large.curves[VALID].counts), "read", refuse)
    monkeypatch.setattr(type(large.curves[VALID].counts), "column", refuse)
    other = table_of([3], {(1, 9): [50]}, key=("full", Split.TEST))
    assert merge([large, other], ["large", "other"]).table.curves[VALID].counts.shape == (
        5,
        30,
        2000,
    )


def test_a_contradiction_is_refused_and_says_everything():
    one = table_of([3, 5], {(7, 9): [30, 50]})
    two = table_of([5, 3], {(7, 9): [51, 30]})
    with pytest.raises(ContradictionError) as error:
        merge([one, two], ["one", "two"])
    assert str(error.value) == (
        "the tables contradict each other in 1 figure: full validation, seed 7, epoch 9 of "
        f"{text(5)}: 0.5 in one but 0.51 in two; leave one of them out, or prefer the first"
    )
    (found,) = error.value.contradictions
    assert error.value.count == 1
    assert (found.label, found.split, found.seed, found.epoch) == ("full", "validation", 7, 9)
    assert (found.architecture, found.sources, found.values) == (
        text(5),
        ("one", "two"),
        (0.5, 0.51),
    )


def test_the_message_shows_five_and_the_number():
    one = table_of(range(8), {(7, 9): range(8)})
    two = table_of(range(8), {(7, 9): range(10, 18)})
    message = refusal(one, two)
    assert message.startswith("the tables contradict each other in 8 figures: full validation")
    assert message.count(" in one but ") == 5
    assert message.endswith("; and 3 more; leave one of them out, or prefer the first")


def test_the_first_can_be_preferred_and_contradictions_stay_listed():
    one = table_of([3, 5], {(7, 9): [30, 50]})
    two = table_of([3, 5], {(7, 9): [33, 51], (8, 9): [34, 52]})
    three = table_of([3, 5], {(7, 9): [30, 55]})
    merged = merge([one, two, three], ["one", "two", "three"], prefer="first")
    assert merged.table.curves[VALID].counts[:, 0].tolist() == [[30, 50], [34, 52]]
    assert [(c.architecture, c.sources, c.values) for c in merged.contradictions] == [
        (text(3), ("one", "two"), (0.30, 0.33)),
        (text(5), ("one", "two"), (0.50, 0.51)),
        (text(5), ("one", "three"), (0.50, 0.55)),
    ]
    assert merged.contradiction_count == 3


def test_the_later_tables_name_is_told_where_the_first_lacks_the_cell():
    one = table_of([3], {(1, 9): [30]})
    two = table_of([5], {(1, 9): [50]})
    three = table_of([5], {(1, 9): [51]})
    merged = merge([one, two, three], ["one", "two", "three"], prefer="first")
    assert [c.sources for c in merged.contradictions] == [("two", "three")]
    assert cell(merged.table, 5, 1, 9) == 50


def test_the_list_is_bounded_and_the_number_is_not():
    networks = 6_000
    one = table_of(range(networks), {(1, 9): [1] * networks, (2, 9): [1] * networks})
    two = table_of(range(networks), {(1, 9): [2] * networks, (2, 9): [2] * networks})
    merged = merge([one, two], ["one", "two"], prefer="first")
    assert len(merged.contradictions) == _LISTED == 10_000
    assert merged.contradiction_count == 12_000


def mean_and_singles(mean, singles, *, scale=6):
    one = table_of([3], {(MEAN_OF_SEEDS, 9): [mean]}, scale=scale)
    two = table_of([3], {(seed, 9): [count] for seed, count in enumerate(singles)})
    return one, two


@pytest.mark.parametrize(
    ("mean", "singles"),
    [(6 * 30 + 3, (30, 31)), (6 * 30 + 2, (30, 30, 31)), (6 * 40, (30, 40, 50))],
)
def test_a_mean_that_is_the_mean_of_the_single_seeds_is_kept_beside_them(mean, singles):
    for tables in (pair := mean_and_singles(mean, singles), pair[::-1]):
        merged = merge(tables, ["one", "two"])
        assert merged.contradictions == ()
        assert cell(merged.table, 3, MEAN_OF_SEEDS, 9) == mean
        assert cell(merged.table, 3, 0, 9) == 6 * singles[0]
        assert merged.table.accuracy(*VALID)[0] == pytest.approx(np.mean(singles) / SIZE)


def test_a_mean_that_is_not_the_mean_of_another_tables_seeds_contradicts_it():
    one, two = mean_and_singles(6 * 30 + 2, (30, 31))
    assert refusal(one, two) == (
        "the tables contradict each other in 1 figure: full validation, mean over seeds, epoch 9 "
        f"of {text(3)}: 0.30333333 in one but 0.305 in two; leave one of them out, or prefer the "
        "first"
    )
    first = merge([one, two], ["one", "two"], prefer="first").table
    assert first.accuracy(*VALID)[0] == pytest.approx(0.30 + 0.01 / 3)
    assert [cell(first, 3, seed, 9) for seed in (0, 1)] == [MISSING, MISSING]
    other = merge([two, one], ["two", "one"], prefer="first").table
    assert other.accuracy(*VALID)[0] == pytest.approx(0.305)
    assert cell(other, 3, MEAN_OF_SEEDS, 9) == MISSING


def test_a_mean_rounded_to_its_own_unit_is_none_the_less_the_mean():
    assert merge(mean_and_singles(30, (30, 30, 31), scale=1), ["one", "two"]).contradictions == ()
    assert "1 figure" in refusal(*mean_and_singles(31, (30, 30, 31), scale=1))


def test_one_seed_alone_says_nothing_of_a_mean():
    assert merge(mean_and_singles(6 * 50, (30,)), ["one", "two"]).contradictions == ()


def test_seeds_of_several_tables_are_compared_with_a_mean_together():
    one, two = mean_and_singles(6 * 40, (30, 40))
    three = table_of([3], {(2, 9): [50]})
    assert merge([one, two, three], ["one", "two", "three"]).contradictions == ()


def test_a_table_may_give_a_mean_of_more_seeds_than_it_has():
    own = table_of([3], {(MEAN_OF_SEEDS, 9): [40], (0, 9): [30], (1, 9): [31]})
    other = table_of([5], {(0, 9): [30]})
    assert merge([own, other], ["one", "two"]).contradictions == ()


def test_measures_are_united():
    one = table_of([3, 5], {(1, 9): [1, 1]}, measures={"seconds": [10.0, math.nan]})
    two = table_of(
        [5, 7], {(1, 9): [1, 1]}, measures={"seconds": [20.0, 60.0], "flops": [1.0, 2.0]}
    )
    merged = merge([one, two], ["one", "two"]).table
    assert merged.measure("full", "seconds").tolist() == [10.0, 20.0, 60.0]
    assert merged.setting("full").seconds == 30.0
    assert merged.measure("full", "flops") == pytest.approx([math.nan, 1.0, 2.0], nan_ok=True)


def test_measures_can_contradict_each_other():
    one = table_of([3, 5], {(1, 9): [1, 1]}, measures={"flops": [10.0, 20.0]})
    two = table_of([3, 5], {(1, 9): [1, 1]}, measures={"flops": [10.0 + 1e-9, 21.0]})
    assert refusal(one, two) == (
        f"the tables contradict each other in 1 figure: full flops of {text(5)}: 20 in one but 21 "
        "in two; leave one of them out, or prefer the first"
    )
    merged = merge([one, two], ["one", "two"], prefer="first")
    assert merged.table.measure("full", "flops").tolist() == [10.0, 20.0]
    (found,) = merged.contradictions
    assert (found.split, found.seed, found.epoch) == ("flops", None, None)


def test_seconds_come_from_whichever_table_has_them():
    bare = table_of([3], {(1, 9): [1]})
    timed = table_of([3], {(1, 9): [1]}, settings=(Setting("full", FULL, "cifar10", 7.0, "V100"),))
    for tables in ([bare, timed], [timed, bare]):
        setting = merge(tables, ["one", "two"]).table.setting("full")
        assert (setting.seconds, setting.device) == (7.0, "V100")


def test_seconds_of_another_device_are_left_out_and_that_is_said():
    tables = [
        table_of(
            [index],
            {(1, 9): [1]},
            settings=(Setting("full", FULL, "cifar10", seconds, device),),
            measures={"seconds": [seconds], "seconds@1": [seconds / 9]},
        )
        for index, seconds, device in ((3, 7.0, "V100"), (5, 3.0, "H100"))
    ]
    merged = merge(tables, ["one", "two"]).table
    assert merged.measure("full", "seconds") == pytest.approx([7.0, math.nan], nan_ok=True)
    assert merged.measure("full", "seconds@1") == pytest.approx([7 / 9, math.nan], nan_ok=True)
    assert (merged.setting("full").seconds, merged.setting("full").device) == (7.0, "V100")
    assert merged.caveats == (
        "seconds of full are those of one on V100, those of two on H100 are left out",
    )


def test_seconds_up_to_an_epoch_go_with_the_device_of_the_whole():
    tables = [
        table_of(
            [3],
            {(1, 9): [1]},
            settings=(Setting("full", FULL, "cifar10", seconds, device),),
            measures={"seconds": [seconds]} | measures,
        )
        for seconds, device, measures in (
            (90.0, "V100", {}),
            (900.0, "CPU", {"seconds@3": [300.0]}),
        )
    ]
    merged = merge(tables, ["one", "two"]).table
    # 300 s of the CPU are no share of 90 s of the V100.
    assert merged.cost_share("full", 3) == pytest.approx(3 / 9)


def test_settings_references_and_texts_are_united():
    one = table_of([3], {(1, 9): [1]}, caveats=("first", "both"))
    setting = Setting("other", FULL, "cifar100")
    two = table_of(
        [3],
        {(1, 9): [1]},
        key=("other", Split.TEST),
        settings=(setting,),
        dataset="cifar100",
        caveats=("both", "second"),
        provenance=Provenance("made up too", "CC0-1.0", "nobody"),
    )
    merged = merge([one, two], ["one", "two"]).table
    assert [s.label for s in merged.settings] == ["full", "other"]
    assert merged.references == ("full", "other")
    assert merged.dataset == "cifar10"
    assert merged.caveats == ("first", "both", "second")
    assert merged.provenance.source == "made up; made up too"
    assert (merged.provenance.licence, merged.provenance.citation) == ("CC0-1.0", "nobody")


def test_where_references_conflict_the_first_tables_stays():
    one = table_of([3], {(1, 9): [1]})
    two = table_of(
        [3], {(1, 9): [1]}, key=("other", Split.TEST), settings=(Setting("other", FULL, "cifar10"),)
    )
    assert merge([one, two], ["one", "two"]).table.references == ("full",)
    assert merge([two, one], ["two", "one"]).table.references == ("other",)


def test_a_merge_is_the_same_every_time():
    tables = [table_of([7, 3], {(1, 9): [70, 30]}), table_of([5, 3], {(2, 9): [51, 31]})]
    hashes = {content_hash(merge(tables, ["one", "two"]).table) for _ in range(2)}
    assert len(hashes) == 1


def test_a_label_that_means_two_budgets():
    one = table_of([3], {(1, 9): [1]})
    budget = FULL.replace(epochs=3)
    two = table_of([3], {(1, 9): [1]}, settings=(Setting("full", budget, "cifar10"),))
    assert refusal(one, two) == (
        f"setting 'full' has the budget {FULL} in one and {budget} in two; label one of them "
        "otherwise"
    )


def test_a_label_that_means_two_data_sets():
    one = table_of([3], {(1, 9): [1]})
    two = table_of(
        [3], {(1, 9): [1]}, settings=(Setting("full", FULL, "cifar100"),), dataset="cifar100"
    )
    assert refusal(one, two) == (
        "setting 'full' has the dataset cifar10 in one and cifar100 in two; label one of them "
        "otherwise"
    )


def test_a_split_of_two_sizes():
    one, two = (table_of([3], {(1, 9): [1]}, size=size) for size in (100, 200))
    assert refusal(one, two) == (
        "the validation split of 'full' has 100 images in one and 200 in two: not the same split"
    )


def test_tables_of_two_spaces(golden):
    assert refusal(golden, table_of([3], {(1, 9): [1]})) == (
        "tables of different spaces cannot be merged: one is of 'darts', two of 'nas-bench-201'"
    )


def test_a_table_that_holds_an_architecture_twice():
    one, two = table_of([3], {(1, 9): [1]}), table_of([5, 5], {(1, 9): [1, 2]})
    assert refusal(one, two) == "table two holds an architecture twice, so its cells clash"


def test_arguments_that_make_no_merge():
    table = table_of([3], {(1, 9): [1]})
    assert refusal(table, names=["one"]) == "a merge needs at least 2 tables, found 1; name another"
    assert refusal(table, table, names=["one", "one"]) == (
        "a merge needs 2 different names of tables, found: one, one"
    )
    with pytest.raises(SelectionError, match="prefer must be 'first' or not given, found 'last'"):
        merge([table, table], ["one", "two"], prefer="last")
