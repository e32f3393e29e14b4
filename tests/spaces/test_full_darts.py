"""DARTS cells with all 14 edges, which the released searchers score, and their pruning."""

import itertools

import numpy as np
import pytest
from scipy import stats

from bpe_bench.errors import GenotypeError
from bpe_bench.spaces import get_space
from bpe_bench.spaces.darts import EDGES, OPERATIONS, cells_of, edge_index

DARTS = get_space("darts")
FULL = DARTS.unpruned


def draw(seed):
    return FULL.sample(np.random.default_rng(seed))


def nodes(architecture):
    return [node for cell in cells_of(architecture) for node in cell]


def by_operation(weights):
    """Return weights of 2 x 14 edges as those of all operations on them, (28, 7)."""
    return np.repeat(weights.reshape(-1, 1), len(OPERATIONS), axis=1)


def test_a_sample_has_every_edge_once():
    for seed in range(20):
        assert [[s for _, s in node] for node in nodes(draw(seed))] == [
            list(range(inputs)) for inputs in (2, 3, 4, 5)
        ] * 2


def test_samples_are_uniform_over_operations():
    rng = np.random.default_rng(0)
    drawn = np.array([FULL.choices_of(FULL.sample(rng)) for _ in range(2_100)])
    for column in drawn.reshape(len(drawn), -1).T:
        assert stats.chisquare(np.bincount(column, minlength=7)).pvalue > 1e-5


def test_the_size_is_that_of_28_choices_of_7():
    assert FULL.size == 7**28


def test_the_same_seed_gives_the_same_draws():
    assert draw(3) == draw(3) != draw(4)
    children = [FULL.mutate(draw(0), np.random.default_rng(1)) for _ in range(2)]
    assert children[0] == children[1]


def test_a_mutation_changes_exactly_one_operation():
    rng = np.random.default_rng(0)
    parent = draw(0)
    own = np.array(FULL.choices_of(parent))
    changes = set()
    for _ in range(3_000):
        child = np.array(FULL.choices_of(FULL.mutate(parent, rng)))
        ((edge,),) = np.argwhere(child != own)
        changes.add((edge, child[edge]))
    # All 168 are reached, none of them the operation that was there.
    assert len(changes) == 2 * EDGES * (len(OPERATIONS) - 1)
    neighbours = set(FULL.neighbours(parent))
    assert len(neighbours) == 168
    assert FULL.mutate(parent, rng) in neighbours


def test_the_texts_are_those_of_darts():
    for seed in range(20):
        architecture = draw(seed)
        text = DARTS.format(architecture)
        assert DARTS.parse(text) == architecture
        assert FULL.format(architecture) == text
        assert architecture.space == DARTS.name == FULL.name
    assert FULL.unpruned is None


def test_operations_of_edges_are_read_and_written():
    rng = np.random.default_rng(0)
    operations = rng.integers(7, size=2 * EDGES).tolist()
    architecture = FULL.build(operations)
    assert FULL.choices_of(architecture) == operations
    for which, cell in enumerate(cells_of(architecture)):
        for index, node in enumerate(cell):
            assert [op for op, _ in node] == [
                operations[which * EDGES + edge_index(index, source)] for source in range(index + 2)
            ]


def test_the_choices_of_darts_make_all_its_architectures():
    assert DARTS.sizes == (7,) * 28 + (1, 3, 6, 10) * 2
    rng = np.random.default_rng(0)
    for _ in range(50):
        choices = rng.integers(DARTS.sizes).tolist()
        architecture = DARTS.build(choices)
        assert [len(node) for node in nodes(architecture)] == [2] * 8
        assert DARTS.canonical(architecture) == architecture
        # Each of the 16 kept edges, and each of the 8 pairs, has a part.
        used = DARTS.used(choices)
        assert len(used) == len(set(used)) == 16 + 8
        changed = [
            (c + 1) % size if place not in used else c
            for place, (c, size) in enumerate(zip(choices, DARTS.sizes, strict=True))
        ]
        assert DARTS.build(changed) == architecture
        for place in used:
            other = list(choices)
            other[place] = (other[place] + 1) % DARTS.sizes[place]
            assert (DARTS.build(other) == architecture) == (DARTS.sizes[place] == 1)


def test_pruning_keeps_the_two_inputs_of_the_largest_weights():
    rng = np.random.default_rng(0)
    architecture = draw(0)
    operations = FULL.choices_of(architecture)
    weights = rng.random((2, EDGES))
    pruned = FULL.prune(architecture, rng, by_operation(weights))
    for which, cell in enumerate(cells_of(pruned)):
        for index, node in enumerate(cell):
            # Brute force: of all pairs of inputs that with the largest sum.
            pairs = itertools.combinations(range(index + 2), 2)
            best = max(
                pairs, key=lambda pair: sum(weights[which, edge_index(index, s)] for s in pair)
            )
            assert [s for _, s in node] == list(best)
            assert [op for op, _ in node] == [
                operations[which * EDGES + edge_index(index, s)] for s in best
            ]
    # Where nothing is equal nothing is drawn.
    assert FULL.prune(architecture, np.random.default_rng(9), by_operation(weights)) == pruned
    assert DARTS.parse(DARTS.format(pruned)) == pruned


def test_equal_weights_are_told_apart_at_random_by_the_seed():
    architecture = draw(0)

    def kept(seed, weights=None):
        given = None if weights is None else by_operation(weights)
        pruned = FULL.prune(architecture, np.random.default_rng(seed), given)
        return tuple(tuple(s for _, s in node) for node in nodes(pruned))

    assert kept(1) == kept(1)
    found = [kept(seed) for seed in range(1_000)]
    for place, inputs in enumerate((2, 3, 4, 5)):
        for which in (0, 4):
            pairs = [drawn[which + place] for drawn in found]
            possible = list(itertools.combinations(range(inputs), 2))
            counts = [pairs.count(pair) for pair in possible]
            assert sum(counts) == 1_000
            assert len(counts) == 1 or stats.chisquare(counts).pvalue > 1e-4
    # Of three equal ones behind a larger one, one is drawn.
    weights = np.ones((2, EDGES))
    weights[:, edge_index(2, 3)] = 2
    found = {kept(seed, weights)[2] for seed in range(50)}
    assert found == {(0, 3), (1, 3), (2, 3)}


def test_cells_that_are_pruned_already_are_refused():
    pruned = DARTS.sample(np.random.default_rng(0))
    for call in (
        FULL.choices_of,
        lambda a: FULL.prune(a, np.random.default_rng(0)),
        lambda a: FULL.mutate(a, np.random.default_rng(0)),
    ):
        with pytest.raises(GenotypeError) as error:
            call(pruned)
        assert str(error.value) == "DARTS cells with all 14 edges are wanted, found fewer"
