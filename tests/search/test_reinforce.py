"""REINFORCE: gradients by finite differences, policies by enumeration, the baseline by hand."""

import itertools
import math
from typing import ClassVar

import numpy as np
import pytest
from scipy import special, stats

from bpe_bench.estimators import Evaluation
from bpe_bench.search import Reinforce, run_search
from bpe_bench.spaces import Architecture, get_space
from bpe_bench.spaces.darts import cells_of

SPACE = get_space("nas-bench-201")
CASES = {
    "nas-bench-201": ("nas-bench-201", "pruned"),
    "darts": ("darts", "pruned"),
    "darts, all edges": ("darts", "full"),
}


def told(accuracy):
    return Evaluation(accuracy, 1.0, "table")


def started(space, score="pruned", *, seed=0, spread=0.0, **parameters):
    """Return a searcher whose logits are drawn, but for those of closed options."""
    searcher = Reinforce(score=score, **parameters)
    rng = np.random.default_rng(seed)
    searcher.start(get_space(space), rng)
    searcher.logits = searcher.logits + spread * rng.normal(size=searcher.logits.shape)
    return searcher


def numerical(function, logits, step=1e-5):
    """Return the gradient of a function of logits by central differences; 0 where -inf."""
    gradient = np.zeros_like(logits)
    for place in zip(*np.nonzero(np.isfinite(logits)), strict=True):
        ends = []
        for sign in (1, -1):
            moved = logits.copy()
            moved[place] += sign * step
            ends.append(function(moved))
        gradient[place] = (ends[0] - ends[1]) / (2 * step)
    return gradient


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_the_log_probability(case):
    searcher = started(*CASES[case], spread=1.5)
    choices = [int(np.random.default_rng(1).integers(size)) for size in searcher._space.sizes]
    used = list(searcher._space.used(choices))

    def log_probability(logits):
        logs = special.log_softmax(logits, axis=1)
        return sum(logs[place, choices[place]] for place in used)

    assert searcher.log_probability(choices) == pytest.approx(log_probability(searcher.logits))
    expected = numerical(log_probability, searcher.logits)
    np.testing.assert_allclose(searcher.log_probability_gradient(choices), expected, atol=1e-8)
    # What the architecture does not depend on has no part in its probability.
    unused = sorted(set(range(len(choices))) - set(used))
    assert len(unused) == (12 if case == "darts" else 0)
    assert not searcher.log_probability_gradient(choices)[unused].any()


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_the_entropy(case):
    searcher = started(*CASES[case], spread=1.5)

    def entropy(logits):
        return stats.entropy(special.softmax(logits, axis=1), axis=1).sum()

    expected = numerical(entropy, searcher.logits)
    np.testing.assert_allclose(searcher.entropy_gradient(), expected, atol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_the_formulas(case):
    """logits + learning_rate (advantage d log p + entropy d H), by finite differences."""
    searcher = started(*CASES[case], spread=1.0, learning_rate=0.7, entropy=0.3, normalise=False)
    first, second = searcher.ask(), searcher.ask()
    choices = searcher._asked[second]
    searcher.tell(first, told(0.5))  # the first reward is what is expected
    before = searcher.logits.copy()
    searcher.tell(second, told(0.9))

    def objective(logits):
        logs = special.log_softmax(logits, axis=1)
        entropy = stats.entropy(special.softmax(logits, axis=1), axis=1).sum()
        used = searcher._space.used(choices)
        return (0.9 - 0.5) * sum(logs[place, choices[place]] for place in used) + 0.3 * entropy

    moved = np.where(np.isfinite(before), searcher.logits, 0) - np.where(
        np.isfinite(before), before, 0
    )
    np.testing.assert_allclose(moved, 0.7 * numerical(objective, before), atol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_options_that_a_choice_does_not_have_stay_closed(toys, case):
    space, score = CASES[case]
    searcher = Reinforce(learning_rate=5.0, entropy=1.0, score=score)
    toy = toys.Toy(lambda a: (sum(a.genes) % 7) / 7, space=space)
    run_search(searcher, toy, evaluations=200, rng=np.random.default_rng(0))
    probabilities = searcher.probabilities()
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    for row, logits, size in zip(
        probabilities, searcher.logits, searcher._space.sizes, strict=True
    ):
        assert not row[size:].any()
        assert (logits[size:] == -np.inf).all()


class Tiny(type(SPACE)):
    """Five architectures: the first choice says which of the two others counts."""

    choices: ClassVar = {"first": "ab", "second": "abc", "third": "ab"}

    def used(self, choices):
        return (0, 1 + choices[0])

    def build(self, choices):
        return Architecture("tiny", tuple(choices[place] for place in self.used(choices)))


def in_tiny():
    """Return a searcher of the five architectures, with a policy that was drawn."""
    searcher = Reinforce()
    rng = np.random.default_rng(0)
    searcher.start(Tiny(), rng)
    searcher.logits = searcher.logits + rng.normal(size=searcher.logits.shape)
    return searcher


def policy(searcher):
    """Return the probability of every architecture, by enumerating its choices."""
    found = {}
    for choices in itertools.product(range(2), range(3), range(2)):
        found[Tiny().build(choices)] = math.exp(searcher.log_probability(choices))
    return found


def test_probabilities_of_all_architectures_add_up_to_1():
    searcher = in_tiny()
    found = policy(searcher)
    assert len(found) == 5
    assert sum(found.values()) == pytest.approx(1)
    p = special.softmax(searcher.logits, axis=1)
    assert found[Architecture("tiny", (1, 0))] == pytest.approx(p[0, 1] * p[2, 0])


def test_what_is_asked_is_drawn_from_the_policy():
    searcher = in_tiny()
    found = policy(searcher)
    drawn = [searcher.ask() for _ in range(5_000)]
    counts = [drawn.count(architecture) for architecture in found]
    assert sum(counts) == 5_000
    expected = 5_000 * np.array(list(found.values()))
    assert stats.chisquare(counts, expected, sum_check=False).pvalue > 1e-3


def test_a_policy_that_is_sure_draws_nothing_else():
    searcher = started("nas-bench-201")
    searcher.logits[:, 2] = 1e4
    assert {searcher.ask().genes for _ in range(50)} == {(2,) * 6}
    assert np.isfinite(searcher.entropy_gradient()).all()


# The baseline


def advantages(rewards, **parameters):
    """Return what each reward moved the policy by, in units of the gradient."""
    searcher = started("nas-bench-201", learning_rate=1.0, entropy=0.0, **parameters)
    found = []
    for reward in rewards:
        searcher.logits = np.zeros_like(searcher.logits)
        architecture = searcher.ask()
        searcher.tell(architecture, told(reward))
        # From uniform: one-hot minus 1/5.
        moved = searcher.logits[0] / ((np.arange(5) == architecture.genes[0]) - 0.2)
        assert np.ptp(moved) < 1e-12
        found.append(moved[0])
    return found


def test_the_baseline_is_a_moving_average():
    # 0.5; 0.9 * 0.5 + 0.1 * 0.6 = 0.51; the first has nothing to be compared with.
    found = advantages([0.5, 0.6, 0.7], normalise=False)
    assert found == pytest.approx([0.0, 0.6 - 0.5, 0.7 - 0.51])
    found = advantages([0.5, 0.6, 0.7], normalise=False, baseline_decay=0.5)
    assert found == pytest.approx([0.0, 0.1, 0.7 - 0.55])
    assert advantages([0.5, 0.6, 0.7], normalise=False, baseline_decay=0) == pytest.approx(
        [0.0, 0.1, 0.1]
    )


def test_as_published_the_baseline_moves_first():
    found = advantages([0.5, 0.6, 0.7], normalise=False, baseline_first=True)
    assert found == pytest.approx([0.0, 0.6 - 0.51, 0.7 - (0.9 * 0.51 + 0.07)])


def test_normalised_advantages_are_in_units_of_the_moving_deviation():
    # Squares of reward minus baseline: 0.01, then 0.19²; their average 0.9 and 0.1.
    variance = 0.9 * 0.01 + 0.1 * 0.19**2
    found = advantages([0.5, 0.6, 0.7])
    assert found == pytest.approx([0.0, 1.0, 0.19 / math.sqrt(variance)])
    # So a hundredth of the differences gives the same steps.
    assert advantages([0.5, 0.501, 0.502]) == pytest.approx(found)
    assert advantages([0.5, 0.5, 0.5]) == [0.0, 0.0, 0.0]


def test_what_failed_moves_nothing():
    searcher = started("nas-bench-201")
    for reward in (0.5, 0.7):
        searcher.tell(searcher.ask(), told(reward))
    before = searcher.logits.copy(), searcher._baseline, searcher._variance
    searcher.tell(searcher.ask(), Evaluation(math.nan, 1.0, "table", "failed"))
    np.testing.assert_array_equal(searcher.logits, before[0])
    assert (searcher._baseline, searcher._variance) == before[1:]


def test_what_was_not_asked_for_moves_nothing():
    searcher = started("nas-bench-201")
    searcher.tell(searcher.ask(), told(0.5))
    before = searcher.logits.copy()
    searcher.tell(Architecture("nas-bench-201", (0,) * 6), told(0.9))
    np.testing.assert_array_equal(searcher.logits, before)


# What is published, and what is useful


def test_the_published_settings():
    found = Reinforce.published()
    assert found.parameters() == {
        "learning_rate": 0.1,
        "entropy": 0.0,
        "baseline_decay": 0.9,
        "normalise": False,
        "baseline_first": True,
        "score": "full",
    }
    assert Reinforce.published("pruned").score == "pruned"


def test_the_published_policy_barely_moves_in_100_steps(toys):
    """Simulated it ends at 0.146, where 1/7 = 0.143 is uniform: close to random search."""
    rng = np.random.default_rng(0)
    for seed in range(5):
        # Accuracies of cells under a short training: about a point apart.
        toy = toys.Toy(lambda a: 0.85 + 0.01 * rng.normal(), space="darts")
        searcher = Reinforce.published()
        run_search(searcher, toy, evaluations=100, rng=np.random.default_rng(seed))
        assert 1 / 7 < searcher.probabilities().max() < 0.15
        default = Reinforce(score="full")
        run_search(default, toy, evaluations=100, rng=np.random.default_rng(seed))
        assert default.probabilities().max() > 0.25


def learned(searcher, toy, evaluations=300):
    """Return the mean signal of the last fifty evaluations."""
    trace = run_search(searcher, toy, evaluations=evaluations, rng=np.random.default_rng(0))
    return np.mean([step.accuracy for step in trace.steps[-50:]])


def test_the_default_learns_and_the_published_one_does_not(toys):
    # A point of accuracy for each convolution of 3x3 on an edge; random search has 0.812.
    toy = toys.Toy(lambda a: 0.8 + 0.01 * a.genes.count(3))
    assert learned(Reinforce(), toy) > 0.84
    assert learned(Reinforce.published("pruned"), toy) < 0.82


def test_the_default_learns_over_darts_too(toys):
    def convolutions(architecture):
        return sum(op == 3 for cell in cells_of(architecture) for node in cell for op, _ in node)

    for score, edges in (("pruned", 16), ("full", 28)):
        toy = toys.Toy(lambda a, n=edges: 0.8 + 0.1 * convolutions(a) / n, space="darts")
        # Random search has a seventh of the edges, 0.814.
        assert learned(Reinforce(score=score), toy, evaluations=1_000) > 0.83


def test_entropy_keeps_the_policy_from_settling(toys):
    toy = toys.Toy(lambda a: 0.8 + 0.01 * a.genes.count(3))
    surest = []
    for entropy in (0.0, 1.0):
        searcher = Reinforce(entropy=entropy)
        run_search(searcher, toy, evaluations=1_000, rng=np.random.default_rng(0))
        surest.append(searcher.probabilities().max(axis=1).mean())
    assert surest[0] > 0.95 > surest[1]
