"""The DARTS space: its genotype codec, its size and its neighbours."""

import builtins
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe_bench.errors import GenotypeError, UnknownNameError
from bpe_bench.spaces import Architecture, get_space
from bpe_bench.spaces.darts import NODES, OPERATIONS, cells_of, edge_index, from_cells

SPACE = get_space("darts")

# The cell that DARTS' authors found and released, in their flat form.
FLAT = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
NESTED = (
    "Genotype(normal=[[('sep_conv_3x3', 0), ('sep_conv_3x3', 1)], [('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1)], [('sep_conv_3x3', 1), ('skip_connect', 0)], [('skip_connect', 0), "
    "('dil_conv_3x3', 2)]], normal_concat=range(2, 6), reduce=[[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1)], [('skip_connect', 2), ('max_pool_3x3', 1)], [('max_pool_3x3', 0), "
    "('skip_connect', 2)], [('skip_connect', 2), ('max_pool_3x3', 1)]], "
    "reduce_concat=range(2, 6))"
)


@st.composite
def nodes(draw, index):
    """Any number of different inputs, in any order, each with any operation."""
    order = draw(st.permutations(range(index + 2)))
    inputs = order[: draw(st.integers(1, index + 2))]
    return tuple((draw(st.integers(0, len(OPERATIONS) - 1)), source) for source in inputs)


cells = st.tuples(*(nodes(index) for index in range(NODES)))


@given(normal=cells, reduce=cells)
def test_any_cells_survive_genes_and_text(normal, reduce):
    architecture = from_cells(normal, reduce)
    assert cells_of(architecture) == (normal, reduce)
    text = SPACE.format(architecture)
    assert SPACE.parse(text) == architecture
    assert SPACE.format(SPACE.parse(text)) == text


@given(normal=cells, reduce=cells)
def test_the_order_of_inputs_is_kept_in_text_and_sorted_away_in_canonical(normal, reduce):
    turned = from_cells(*(tuple(node[::-1] for node in cell) for cell in (normal, reduce)))
    architecture = from_cells(normal, reduce)
    assert SPACE.canonical(turned) == SPACE.canonical(architecture)
    for cell, own in zip(cells_of(SPACE.canonical(turned)), (normal, reduce), strict=True):
        assert [sorted(node) for node in cell] == [sorted(node) for node in own]
        assert all([s for _, s in node] == sorted(s for _, s in node) for node in cell)


@given(normal=cells, reduce=cells)
def test_the_encoding_has_a_one_per_edge_and_operation(normal, reduce):
    (row,) = SPACE.encode([from_cells(normal, reduce)])
    expected = {
        (which, edge, op)
        for which, cell in enumerate((normal, reduce))
        for index, node in enumerate(cell)
        for op, source in node
        for edge in [sum(range(2, index + 2)) + source]
    }
    assert set(zip(*np.nonzero(row.reshape(2, 14, 7)), strict=True)) == expected
    assert set(row) == {0.0, 1.0}


def test_edges_are_numbered_node_by_node():
    order = [edge_index(node, source) for node in range(NODES) for source in range(node + 2)]
    assert order == list(range(14))


def test_the_flat_form_is_read_and_written_in_the_nested_form():
    assert SPACE.format(SPACE.parse(FLAT)) == NESTED
    assert SPACE.parse(FLAT) == SPACE.parse(NESTED)


def test_space_between_tokens_means_nothing():
    loose = NESTED.replace("(", " ( ").replace(",", "\n,\t")
    assert SPACE.parse(f"  {loose}\n") == SPACE.parse(NESTED)


@pytest.mark.parametrize("name", ["GENOTYPE=", "DARTS_V2 = ", "\nx ="])
def test_the_name_that_code_gives_a_genotype_is_skipped(name):
    assert SPACE.parse(name + NESTED) == SPACE.parse(NESTED)
    with pytest.raises(GenotypeError, match=f"position {len(name) + 8}: "):
        SPACE.parse(f"{name}Genotype[")


def test_the_published_genotypes_survive_byte_for_byte(published_truth):
    texts = [row[1] for row in published_truth]
    assert len(texts) == 100
    assert [SPACE.format(SPACE.parse(text)) for text in texts] == texts


INPUT_OF_2 = "an input of node 2, 0 to 1, each once"
KNOWN = "an operation (max_pool_3x3, avg_pool_3x3, skip_connect, sep_conv_3x3, sep_conv_5x5, "
KNOWN += "dil_conv_3x3, dil_conv_5x5)"


@pytest.mark.parametrize(
    ("text", "position", "expected", "found"),
    [
        ("", 0, "'Genotype'", "the end of the text"),
        ("Genotyp(", 0, "'Genotype'", "'Genotyp'"),
        ("Genotype[", 8, "'('", "'['"),
        (NESTED[:-1], len(NESTED) - 1, "')'", "the end of the text"),
        (NESTED + " x", len(NESTED) + 1, "the end of the text", "'x'"),
        (NESTED.replace("normal=", "abnormal=", 1), 9, "'normal'", "'abnormal'"),
        (NESTED.replace("sep_conv_3x3", "none", 1), 20, KNOWN, "'none'"),
        (NESTED.replace("'sep_conv_3x3'", "sep_conv_3x3", 1), 19, KNOWN, "'sep_conv_3x3'"),
        # Node 2 has the inputs 0 and 1 only.
        (NESTED.replace("', 1)", "', 2)", 1), NESTED.index("1)]"), INPUT_OF_2, "'2'"),
        # The same input twice.
        (NESTED.replace("', 1)", "', 0)", 1), NESTED.index("1)]"), INPUT_OF_2, "'0'"),
        (NESTED.replace(", 0)", ", -1)", 1), NESTED.index("0)"), INPUT_OF_2, "'-'"),
        # A fifth node.
        (NESTED.replace("2)]]", "2)], [('x', 0)]]", 1), NESTED.index("2)]]") + 3, "']'", "','"),
    ],
)
def test_malformed_text_is_refused_with_its_position(text, position, expected, found):
    with pytest.raises(GenotypeError) as caught:
        SPACE.parse(text)
    assert str(caught.value) == (
        f"malformed DARTS genotype at position {position}: expected {expected}, found {found}"
    )


def test_other_output_nodes_are_refused():
    text = NESTED.replace("range(2, 6)", "range(3, 6)", 1)
    with pytest.raises(GenotypeError) as caught:
        SPACE.parse(text)
    assert str(caught.value) == (
        f"malformed DARTS genotype at position {text.index('range')}: expected range(2, 6), "
        "found nodes [3, 4, 5]"
    )


@pytest.mark.parametrize(
    "text",
    [
        NESTED.replace("range(2, 6)", "'range'(2, 6)", 1),  # a text is not a word
        NESTED.replace("range(2, 6)", "range(2, 99999999999)", 1),
        NESTED.replace(", 0)", ", " + "0" * 5000 + ")", 1),  # longer than Python's int() takes
        NESTED.replace(", 0)", ", ٠)", 1),  # an Arabic zero
        "(" * 100_000,
    ],
)
def test_hostile_text_is_refused_quickly_and_in_one_line(text):
    with pytest.raises(GenotypeError, match=r"at position \d+: expected") as caught:
        SPACE.parse(text)
    assert len(str(caught.value)) < 300


def test_text_is_never_evaluated(tmp_path, monkeypatch):
    trap = tmp_path / "trap"
    text = f"Genotype(normal=open({str(trap)!r}, 'w'), normal_concat=range(2, 6))"
    with pytest.raises(GenotypeError, match=r"position 16: expected '\[', found 'open'"):
        SPACE.parse(text)
    assert not trap.exists()

    def refuse(*_):
        raise AssertionError("text was evaluated")

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "eval", refuse)
        patch.setattr(builtins, "exec", refuse)
        SPACE.parse(NESTED)


GOOD = SPACE.parse(NESTED).genes


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ((), "DARTS genes end before both cells are complete"),
        (GOOD[:1], "DARTS genes end before both cells are complete"),
        (GOOD[:-1], "DARTS genes end before both cells are complete"),
        ((*GOOD, 0), "DARTS genes go on after both cells are complete"),
        ((0, *GOOD[1:]), r"DARTS genes of node 2 are not a node: \(\)"),
        ((2, 7, *GOOD[2:]), r"DARTS genes of node 2 are not a node: \(\(7, 0\), \(3, 1\)\)"),
        ((2, 3, 2, *GOOD[3:]), r"DARTS genes of node 2 are not a node: \(\(3, 2\), \(3, 1\)\)"),
    ],
)
def test_genes_that_are_no_cells_are_refused(genes, message):
    with pytest.raises(GenotypeError, match=f"^{message}$"):
        cells_of(Architecture("darts", genes))


def test_the_size_is_that_of_a_brute_count():
    def node_options(inputs):
        edges = itertools.product(range(7), range(inputs))
        return sum(a[1] != b[1] for a, b in itertools.combinations(edges, 2))

    assert SPACE.size == math.prod(node_options(inputs) for inputs in (2, 3, 4, 5)) ** 2


def test_a_cell_pair_has_96_changes_of_an_operation_and_24_of_an_input():
    architecture = SPACE.sample(np.random.default_rng(0))
    own, *others = SPACE.encode([architecture, *SPACE.neighbours(architecture)]).reshape(-1, 28, 7)
    same_edges = [np.array_equal(own.any(axis=1), other.any(axis=1)) for other in others]
    assert (sum(same_edges), len(same_edges) - sum(same_edges)) == (96, 24)


def test_samples_are_uniform_over_edges_and_operations():
    rng = np.random.default_rng(0)
    count = SPACE.encode([SPACE.sample(rng) for _ in range(4000)]).reshape(4000, 2, 14, 7).sum(0)
    # Node i draws 2 of its i + 2 inputs, and one of 7 operations.
    chance = np.repeat([2 / 2, 2 / 3, 2 / 4, 2 / 5], [2, 3, 4, 5])[:, None] / 7
    deviation = (count - 4000 * chance) / np.sqrt(4000 * chance * (1 - chance))
    assert np.abs(deviation).max() < 5


def test_an_unknown_space_is_named_with_those_that_exist():
    with pytest.raises(UnknownNameError, match=r"^unknown search space 'dart' \(did you mean"):
        get_space("dart")
