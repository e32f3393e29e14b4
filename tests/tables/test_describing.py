"""What a table says of itself, against what is known of the shipped ones."""

from dataclasses import replace
from itertools import combinations

import pytest
from scipy.stats import spearmanr

from bpe_bench import Split, correlate, open_table
from bpe_bench.tables.describing import description


def test_the_answer_for_a_table_with_one_seed(darts_bpe):
    assert description(darts_bpe, "darts-bpe")["answer"] == (
        "darts-bpe: 100 darts architectures in 38 settings on cifar10. 37 budgets can be ranked "
        "against full training, 'full'. The noise ceiling is unknown, because full training has "
        "one seed. Cost is the time to train a network on RTX 2080 Ti and V100, unknown for full."
    )


def test_the_noise_ceiling_is_the_mean_correlation_of_pairs_of_seeds():
    table = open_table("nas-bench-201-curves")
    seeds = table.curves["cifar10-valid-200", Split.VALIDATION].accuracy()
    pairs = [spearmanr(*pair, nan_policy="omit").statistic for pair in combinations(seeds, 2)]
    found = description(table, "curves")
    expected = sum(pairs) / len(pairs)
    assert found["noise_ceiling"] == {"cifar10-valid-200": pytest.approx(expected)}
    assert f"The noise ceiling is {expected:.3f} (Spearman between its seeds)." in found["answer"]


@pytest.mark.parametrize("name", ["darts-bpe", "darts-proxy", "nas-bench-201-curves"])
def test_as_many_budgets_can_be_ranked_as_correlate_ranks(name):
    table = open_table(name)
    assert description(table, name)["budgets"] == len(correlate(table).rows)


def test_a_table_without_full_training_cannot_be_ranked(darts_bpe):
    answer = description(replace(darts_bpe, references=()), "mine")["answer"]
    assert (
        "It cannot be ranked, because it names no full training; import it again and name the "
        "setting, for instance --reference full." in answer
    )
    assert "ceiling" not in answer


def test_full_training_alone_cannot_be_ranked(darts_bpe):
    full = darts_bpe.setting("full")
    curves = {("full", Split.TEST): darts_bpe.curves["full", Split.TEST]}
    answer = description(replace(darts_bpe, settings=(full,), curves=curves), "mine")["answer"]
    assert "It cannot be ranked, because full training, 'full', is all that it holds." in answer
    assert "The cost of training is unknown." in answer


def test_settings_have_their_published_names_and_what_was_recorded(darts_bpe):
    settings = {s["label"]: s for s in description(darts_bpe, "darts-bpe")["settings"]}
    named = {label: s["published"] for label, s in settings.items() if s["published"]}
    assert named == {"test5": "BPE-1", "test32": "BPE-2"}
    assert {s["recorded"] for s in settings.values()} == {"test accuracy: the last epoch, 1 seed"}
    proxy = description(open_table("darts-proxy"), "darts-proxy")["settings"]
    assert [s["recorded"] for s in proxy] == [
        "test accuracy: the last epoch, 1 seed",
        "train, validation and test accuracy: 3 epochs, 1 seed",
        "train, validation and test accuracy: 6 epochs, 1 seed",
    ]
