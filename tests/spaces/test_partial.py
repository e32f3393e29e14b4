"""What a table holds of a space, as a space of its own."""

from collections import Counter

import numpy as np
import pytest

from bpe_bench.spaces import DeclaredSpace, PartialSpace, get_space

NB201 = get_space("nas-bench-201")


@pytest.fixture
def some():
    """Two hundred networks of NAS-Bench-201."""
    rng = np.random.default_rng(0)
    return [NB201.from_index(int(i)) for i in rng.choice(NB201.size, 200, replace=False)]


def test_every_architecture_is_drawn_as_often_as_any_other(some):
    space, rng = PartialSpace(NB201, some[:4]), np.random.default_rng(1)
    counts = Counter(space.sample(rng) for _ in range(4000))
    assert set(counts) == set(some[:4])
    # Five standard deviations of a binomial of 4,000 draws with chance 1/4: 137.
    assert all(abs(count - 1000) < 137 for count in counts.values())


def test_neighbours_are_listed_and_differ_in_one_choice(some):
    space = PartialSpace(NB201, some)
    for architecture in some:
        differing = [
            other
            for other in some
            if sum(x != y for x, y in zip(architecture.genes, other.genes, strict=True)) == 1
        ]
        found = space.neighbours(architecture)
        if len(differing) >= 10:
            assert found == differing
        else:  # the nearest make up ten, so that searches do not go round in a few
            assert found[: len(differing)] == differing
            assert len(found) == len(set(found)) == 10
        assert architecture not in found
        assert space.mutate(architecture, np.random.default_rng(2)) in found


def test_where_nothing_differs_in_one_choice_the_nearest_are_neighbours():
    real = {"kind": "real", "low": 0.0, "high": 1.0}
    whole = DeclaredSpace.of({"name": "square", "parameters": {"x": real, "y": real}})
    points = [(x / 16, (7 * x % 16) / 16) for x in range(16)]
    listed = [whole.parse(f"x={x},y={y}") for x, y in points]
    space = PartialSpace(whole, listed)
    distances = [abs(x - points[5][0]) + abs(y - points[5][1]) for x, y in points]
    nearest = sorted(sorted(distances)[1:11])
    found = [distances[listed.index(a)] for a in space.neighbours(listed[5])]
    assert sorted(found) == nearest


def test_choices_that_make_nothing_listed_make_the_one_that_shares_most(some):
    space = PartialSpace(NB201, some)
    for place, architecture in enumerate(some):
        assert space.build(space.choices_of(architecture)) == some[place]
    assert space.sizes == tuple(
        len({a.genes[place] for a in some}) for place in range(len(some[0].genes))
    )
    other = list(space.choices_of(some[7]))
    other[0] = (other[0] + 1) % space.sizes[0]
    made = space.choices_of(space.build(other))
    assert sum(x == y for x, y in zip(made, other, strict=True)) >= 5


def test_a_single_architecture_has_itself():
    space = PartialSpace(NB201, [NB201.from_index(3)])
    assert space.mutate(NB201.from_index(3), np.random.default_rng(0)) == NB201.from_index(3)
    assert space.size == 1
