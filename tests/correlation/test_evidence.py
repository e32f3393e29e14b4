"""What minimum importance pruning may conclude from the settings it has seen."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bpe_bench import Curves, Selection, Split, correlate
from bpe_bench.budget import BPE_1
from bpe_bench.correlation.candidates import Candidate, Cost
from bpe_bench.correlation.evidence import Evidence, covering
from bpe_bench.hyper_parameters import HYPER_PARAMETERS


def row(label, budget, seconds=100.0, correlation=0.5):
    cost = Cost(seconds, device="V100")
    candidate = Candidate(label=label, budget=budget, cost=cost)
    return candidate.predicted(correlation, float("nan"), float("nan"))


def evidence_of(**columns):
    """Settings that are BPE-1 but for the columns given."""
    values = zip(*columns.values(), strict=True)
    budgets = [BPE_1.replace(**dict(zip(columns, row, strict=True))) for row in values]
    return Evidence(tuple(row(f"s{i}", b) for i, b in enumerate(budgets)))


@pytest.fixture(scope="module")
def rows(darts_bpe):
    return correlate(darts_bpe).rows


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10, 10, 20, 20], True),
        ([10, 10, 20, 20, 30], True),
        ([10, 10, 10, 20], False),
        ([10, 20, 30, 40], False),
        ([10, 10, 10, 10], False),
        ([10, 10, 20, 30], False),
    ],
)
def test_eligible_takes_two_values_seen_twice(values, expected):
    assert evidence_of(epochs=values).eligible("epochs") is expected


def test_eligible_on_the_shipped_table(rows):
    found = {name for name in HYPER_PARAMETERS if Evidence(rows).eligible(name)}
    assert found == set(HYPER_PARAMETERS) - {"cutout", "data_fraction"}


def test_varied_on_the_shipped_table(rows):
    assert set(Evidence(rows).varied) == set(HYPER_PARAMETERS)
    assert Evidence(rows[:1]).varied == ()


def test_only_batch_size_and_learning_rate_move_together_in_the_shipped_table(rows):
    joined = [g for g in Evidence(rows).groups(list(HYPER_PARAMETERS)) if len(g) > 1]
    assert joined == [("batch_size", "learning_rate")]
    size, rate = ([getattr(r.budget, n) for r in rows] for n in joined[0])
    assert stats.spearmanr(size, rate).statistic > 0.95
    others = [n for n in HYPER_PARAMETERS if n not in ("lr_schedule", "precision")]
    columns = [[getattr(r.budget, n) for r in rows] for n in others]
    between = np.abs(stats.spearmanr(np.transpose(columns)).statistic) - np.eye(len(others))
    pairs = {frozenset((others[i], others[j])) for i, j in np.argwhere(between >= 0.95)}
    assert pairs == {frozenset(joined[0])}


def test_groups_keep_every_name_once_and_in_order(rows):
    names = ["layers", "learning_rate", "epochs", "batch_size"]
    assert Evidence(rows).groups(names) == [
        ("layers",),
        ("learning_rate", "batch_size"),
        ("epochs",),
    ]


def test_groups_join_what_falls_as_the_other_rises():
    found = evidence_of(epochs=[1, 2, 3, 4], layers=[9, 8, 7, 6], channels=[5, 9, 4, 8])
    assert found.groups(found.varied) == [("epochs", "layers"), ("channels",)]


def test_groups_join_over_a_hyper_parameter_in_between():
    """Epochs and layers hardly move together, but both do with channels: one group."""
    rng = np.random.default_rng(0)
    epochs = np.arange(60)
    channels = np.argsort(np.argsort(epochs + rng.normal(0, 5, 60)))
    layers = np.argsort(np.argsort(channels + rng.normal(0, 5, 60)))
    between = stats.spearmanr(np.transpose([epochs, channels, layers])).statistic
    assert min(between[0, 1], between[1, 2]) >= 0.95 > between[0, 2]
    found = evidence_of(
        epochs=epochs + 1, layers=layers + 1, channels=channels + 1, image_size=[16, 32] * 30
    )
    names = ("epochs", "layers", "channels", "image_size")
    assert found.groups(names) == [("epochs", "layers", "channels"), ("image_size",)]


def test_allows_only_values_that_were_seen_together():
    seen = evidence_of(
        batch_size=[64, 128, 256, 512], learning_rate=[0.01, 0.02, 0.04, 0.08], layers=[6, 8, 8, 6]
    )
    assert seen.allows(BPE_1.replace(batch_size=256, learning_rate=0.04, layers=6))
    assert not seen.allows(BPE_1.replace(batch_size=256, learning_rate=0.02, layers=8))


def test_usual_value_is_the_most_common():
    assert evidence_of(layers=[6, 8, 8, 20]).usual_value("layers") == 8


def test_covering_starts_with_what_shows_most_per_second():
    pool = [
        row("cheap", BPE_1, 10),
        row("cheaper twin", BPE_1, 9),
        row("much for it", BPE_1.replace(epochs=20, layers=8, channels=16), 12),
        row("dear", BPE_1.replace(epochs=20, layers=8, channels=16), 1000),
    ]
    # Ten hyper-parameters are new each time at first: 10 / 9 beats 10 / 12. Then the third shows
    # three new values and seven old ones a second time, 10 / 12, and beats 10 / 10 of the first
    # only in that the first, too, shows ten values a second time: 10 / 10 > 10 / 12.
    assert [r.label for r in covering(pool, (), 2)] == ["cheaper twin", "cheap"]
    # With the twins known only new values count: three of them, each once.
    assert [r.label for r in covering(pool[2:], pool[:2], 1)] == ["much for it"]


def test_covering_makes_the_hyper_parameters_of_the_shipped_table_eligible(rows):
    chosen = covering(rows, (), 12)
    for name in ("epochs", "layers", "channels", "image_size", "precision", "batch_size"):
        counts = Counter(getattr(r.budget, name) for r in chosen)
        assert sum(count >= 2 for count in counts.values()) >= 2, name
    # and does so for a small part of what all settings cost
    assert sum(r.cost_seconds for r in chosen) < 0.15 * sum(r.cost_seconds for r in rows)


def test_covering_never_looks_at_correlations(rows):
    plain = covering(rows, (), 12)
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = [r.measured(rows[other].estimate) for r, other in zip(rows, order, strict=True)]
    assert [r.label for r in covering(shuffled, (), 12)] == [r.label for r in plain]


def test_covering_does_not_depend_on_the_order_of_the_pool(rows):
    plain = covering(rows, (), 8)
    assert covering(rows[::-1], (), 8) == plain


def test_covering_takes_the_cheapest_once_all_is_covered():
    known = evidence_of(epochs=[10, 10, 20, 20]).rows
    pool = [row(f"p{cost}", BPE_1, cost) for cost in (30, 10, 20)]
    # BPE-1 shows nothing that was not seen twice.
    assert [r.cost_seconds for r in covering(pool, known, 2)] == [10, 20]


def test_covering_gives_what_there_is():
    pool = evidence_of(epochs=[10, 20]).rows
    assert len(covering(pool, (), 5)) == 2
    assert covering((), pool, 5) == []


@pytest.fixture(scope="module")
def drawn(rows):
    """Two thousand draws of four budgets, and their accuracies' ranks resampled by scipy."""
    return Evidence(rows[:4]).draw(2000, np.random.default_rng(0))


def test_draws_spread_as_a_bootstrap_over_architectures_does(darts_bpe, rows, drawn):
    truth = darts_bpe.accuracy("full", Split.TEST)
    cheap = [darts_bpe.accuracy(r.label, Split.TEST) for r in rows[:4]]
    rng = np.random.default_rng(1)
    chosen = [rng.integers(100, size=100) for _ in range(600)]
    resampled = np.array(
        [[stats.spearmanr(x[c], truth[c]).statistic for x in cheap] for c in chosen]
    )
    np.testing.assert_allclose(drawn.std(axis=0), resampled.std(axis=0), rtol=0.15)
    # One set of architectures serves all budgets, so what they share they share in the draws, too.
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(resampled.T), atol=0.15)


def test_draws_are_around_what_was_found(rows, drawn):
    found = [r.correlation for r in rows[:4]]
    np.testing.assert_allclose(np.median(drawn, axis=0), found, atol=0.02)
    assert np.abs(drawn).max() < 1


def test_a_surrogates_answers_vary_by_its_error(rows):
    answered = rows[0].predicted(0.3, math.nan, math.nan)
    found = Evidence((rows[0], answered, rows[1]), surrogate_error=0.07)
    drawn = found.draw(4000, np.random.default_rng(0))
    assert drawn[:, 1].std() == pytest.approx(0.07, rel=0.05)
    assert drawn[:, 1].mean() == pytest.approx(0.3, abs=0.005)
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.05
    exact = Evidence((rows[0], answered)).draw(3, np.random.default_rng(0))
    np.testing.assert_array_equal(exact[:, 1], [0.3] * 3)


def test_settings_that_lack_architectures_can_be_drawn(darts_bpe, rows):
    label = rows[1].label
    curves = darts_bpe.curves[label, Split.TEST]
    counts = curves.counts.copy()
    counts[:, :, :3] = -1
    shorter = Curves(counts, curves.split_size, curves.epochs, curves.seeds)
    table = replace(darts_bpe, curves={**darts_bpe.curves, (label, Split.TEST): shorter})
    found = correlate(table, Selection(labels=[r.label for r in rows[:3]])).rows
    assert [r.estimate.n for r in found] == [100, 97, 100]
    drawn = Evidence(found).draw(1000, np.random.default_rng(0))
    np.testing.assert_allclose(np.median(drawn, axis=0), [r.correlation for r in found], atol=0.02)
    assert drawn[:, 1].std() == pytest.approx(drawn[:, 0].std(), rel=0.5)


def test_draws_are_the_same_for_the_same_seed(rows):
    one, same, other = (
        Evidence(rows).draw(3, np.random.default_rng(seed)).tobytes() for seed in (0, 0, 1)
    )
    assert one == same != other
