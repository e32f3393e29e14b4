"""What every search space promises; a new space is tested by being registered."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe_bench.errors import GenotypeError, SelectionError
from bpe_bench.spaces import ENCODINGS, SPACES, Architecture, register_space

SEEDS = st.integers(0, 2**32 - 1)

pytestmark = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


def draw(space, seed):
    return space.sample(np.random.default_rng(seed))


def test_it_is_registered_under_its_own_name(space):
    assert SPACES[space.name] is space
    assert draw(space, 0).space == space.name


@given(seed=SEEDS)
def test_the_same_seed_gives_the_same_draws(space, seed):
    assert draw(space, seed) == draw(space, seed)
    parent = draw(space, seed)
    children = [space.mutate(parent, np.random.default_rng(seed)) for _ in range(2)]
    assert children[0] == children[1]


def test_different_seeds_give_different_draws(space):
    drawn = {draw(space, seed) for seed in range(50)}
    assert len(drawn) > 45  # a small space may repeat itself now and then
    children = {space.mutate(draw(space, 0), np.random.default_rng(seed)) for seed in range(50)}
    assert len(children) > 10


def test_drawing_leaves_the_global_generator_alone(space):
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    space.mutate(draw(space, 1), np.random.default_rng(2))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@given(seed=SEEDS)
def test_mutation_gives_one_of_the_neighbours(space, seed):
    rng = np.random.default_rng(seed)
    parent = space.sample(rng)
    assert space.mutate(parent, rng) in space.neighbours(parent)


def test_mutation_reaches_every_neighbour(space):
    rng = np.random.default_rng(0)
    parent = space.sample(rng)
    neighbours = space.neighbours(parent)
    # A uniform draw misses one of m neighbours in 20 m draws with chance below m e^-20.
    reached = {space.mutate(parent, rng) for _ in range(20 * len(neighbours))}
    assert reached == set(neighbours)


@given(seed=SEEDS)
def test_neighbours_are_unique_and_other(space, seed):
    architecture = draw(space, seed)
    neighbours = space.neighbours(architecture)
    assert architecture not in neighbours
    # Two spellings of one network, trained as one, have one encoding.
    assert len(np.unique(space.encode(neighbours), axis=0)) == len(neighbours)


@given(seed=SEEDS)
def test_being_neighbours_is_mutual(space, seed):
    # By the encoding, which does not care for the order of what has none.
    rng = np.random.default_rng(seed)
    architecture = space.sample(rng)
    child = space.mutate(architecture, rng)
    own, *others = space.encode([architecture, *space.neighbours(child)])
    assert any(np.array_equal(own, other) for other in others)


@given(seed=SEEDS)
def test_neighbours_differ_in_one_choice(space, seed):
    # A choice is one 1 of the encoding moved, or one column changed.
    architecture = draw(space, seed)
    own, *others = space.encode([architecture, *space.neighbours(architecture)])
    assert {int(np.sum(own != other)) for other in others} <= {1, 2}


@given(seed=SEEDS)
def test_the_canonical_spelling_is_its_own(space, seed):
    once = space.canonical(draw(space, seed))
    assert space.canonical(once) == once


@given(seed=SEEDS)
def test_text_is_read_back_unchanged(space, seed):
    architecture = draw(space, seed)
    text = space.format(architecture)
    assert space.parse(text) == architecture
    assert space.format(space.parse(text)) == text


def test_the_encoding_has_a_row_per_architecture_and_tells_them_apart(space):
    architectures = [draw(space, seed) for seed in range(20)]
    encoded = space.encode(architectures)
    assert encoded.shape[0] == 20
    assert encoded.dtype == np.float64
    # Different networks differ; so may spellings of one network that were trained apart.
    different = len(np.unique(encoded, axis=0))
    assert len({space.canonical(a) for a in architectures}) <= different <= len(set(architectures))
    assert space.encode([]).shape == (0, encoded.shape[1])


@pytest.mark.parametrize("text", ["", "nonsense", "()", "\0", "eval('1')"])
def test_malformed_text_is_refused(space, text):
    with pytest.raises(GenotypeError, match=r"position \d+"):
        space.parse(text)


@given(text=st.text(max_size=80))
def test_any_text_is_read_or_refused_but_never_crashes(space, text):
    with contextlib.suppress(GenotypeError):
        space.parse(text)


@pytest.mark.parametrize("cut", [0, 1, -1])
def test_genes_of_the_wrong_number_are_refused(space, cut):
    genes = draw(space, 0).genes
    wrong = Architecture(space.name, genes[:cut] if cut else (*genes, 0))
    with pytest.raises(GenotypeError):
        space.format(wrong)


def test_choices_make_architectures(space):
    """What the first choice makes is an architecture, and what is used are places of choices."""
    choices = [0] * len(space.sizes)
    assert space.parse(space.format(space.build(choices))) == space.build(choices)
    used = space.used(choices)
    assert len(set(used)) == len(used)
    assert set(used) <= set(range(len(choices)))
    if space.size == math.prod(space.sizes):
        assert list(space.choices_of(space.build(choices))) == choices


def test_a_small_space_lists_all_of_itself_and_a_large_one_says_that_it_does_not(space):
    if not space.listed:
        with pytest.raises(
            SelectionError, match=rf"the space {space.name} has .* too many for indices"
        ):
            space.from_index(0)
        return
    for index in np.random.default_rng(0).integers(space.size, size=50).tolist():
        assert space.index_of(space.from_index(index)) == index
    assert len(set(space)) == space.size
    with pytest.raises(GenotypeError, match=rf"index must be 0 to {space.size - 1}, found"):
        space.from_index(space.size)


def test_every_column_of_numbers_has_a_name_of_its_own(space):
    architectures = [draw(space, seed) for seed in range(5)]
    for encoding in ENCODINGS:
        names = space.feature_names(encoding)
        assert len(set(names)) == len(names)
        found = space.features(architectures, encoding)
        assert found.shape == (5, len(names))
        assert np.isfinite(found).all()
    assert space.encode(architectures).shape == (5, len(space.columns))


def test_another_space_cannot_take_its_name(space):
    register_space(space)

    class Other(type(space)):
        pass

    with pytest.raises(SelectionError, match=f"the name {space.name} is taken by another"):
        register_space(Other())
    assert SPACES[space.name] is space
