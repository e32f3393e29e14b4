"""Features of cells: worked out by hand, and the same for cells that are the same."""

import numpy as np
import pytest

from bpe_bench.errors import GenotypeError, UnknownNameError
from bpe_bench.spaces import ENCODINGS, Architecture, get_space
from bpe_bench.spaces.nas_bench_201 import _live_edges

NB201 = get_space("nas-bench-201")
DARTS = get_space("darts")


def described(space, architecture):
    """The structure of an architecture by the names of its columns."""
    row = space.features([architecture])[0]
    return dict(zip(space.feature_names(), row.tolist(), strict=True))


def nb201(text):
    return described(NB201, NB201.parse(text))


@pytest.mark.parametrize(
    ("space", "widths"),
    [("nas-bench-201", {"structure": 87, "operations": 30, "all": 117}),
     ("darts", {"structure": 44, "operations": 196, "all": 240})],
)  # fmt: skip
def test_names_match_columns(space, widths):
    rng = np.random.default_rng(0)
    space = get_space(space)
    cells = [space.sample(rng) for _ in range(30)]
    for encoding in ENCODINGS:
        x = space.features(cells, encoding)
        names = space.feature_names(encoding)
        assert x.shape == (30, len(names)) == (30, widths[encoding])
        assert len(set(names)) == len(names)
        assert np.isfinite(x).all()
        np.testing.assert_array_equal(x[3], space.features(cells[3:4], encoding)[0])
        assert space.features([], encoding).shape == (0, len(names))


def test_all_is_operations_and_structure():
    cell = [NB201.from_index(77)]
    both = [NB201.features(cell, e) for e in ("operations", "structure")]
    np.testing.assert_array_equal(NB201.features(cell, "all"), np.hstack(both))
    np.testing.assert_array_equal(both[0][0], NB201.encode(cell).ravel())


# --- NAS-Bench-201 ---------------------------------------------------------------------------


def test_a_cell_with_all_paths():
    """Paths: 0-3 conv3; 0-1-3 conv1, pool; 0-2-3 skip, conv3; 0-1-2-3 conv1, conv3, conv3."""
    found = nb201(
        "|nor_conv_1x1~0|+|skip_connect~0|nor_conv_3x3~1|+"
        "|nor_conv_3x3~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    )
    expected = {
        "skip_connect": 1, "nor_conv_1x1": 1, "nor_conv_3x3": 3, "avg_pool_3x3": 1, "paths": 4,
        "longest convolutions": 3, "shortest convolutions": 1, "total convolutions": 6,
        "longest 3x3": 2, "shortest 3x3": 0, "total 3x3": 4, "longest 1x1": 1, "total 1x1": 2,
        "longest poolings": 1, "shortest poolings": 0, "total poolings": 1,
        "skip paths": 0, "paths without pooling": 3, "paths of pooling": 0, "different paths": 3,
        "path 0-1-3 nor_conv_1x1": 1, "path 0-1-3 avg_pool_3x3": 1, "path 0-2-3 skip_connect": 1,
        "path 0-1-2-3 nor_conv_3x3": 2, "path 0-3 nor_conv_3x3": 1,
        "paths [3]": 2, "paths [1 p]": 1, "paths [1 3 3]": 1, "paths [skips]": 0,
        "live 1<-0 nor_conv_1x1": 1, "live 3<-0 nor_conv_3x3": 1, "live 3<-0 none": 0,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_a_cell_without_a_path():
    """The output is nothing: no edge is alive."""
    found = nb201("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|none~1|none~2|")
    assert found["paths"] == 0
    assert found["nor_conv_3x3"] == 0
    assert found["longest convolutions"] == found["shortest poolings"] == -1
    assert found["path 0-3 skip_connect"] == -1
    assert sum(found[name] for name in found if name.startswith("live") and "none" in name) == 6


def test_dead_edges_do_not_matter():
    """What leads to a node that nothing leaves, or leaves one that nothing reaches."""
    kept = "|nor_conv_3x3~0|+|{}~0|{}~1|+|none~0|nor_conv_1x1~1|none~2|"
    rows = [
        nb201(kept.format(a, b)) for a in ("none", "nor_conv_3x3") for b in ("avg_pool_3x3", "none")
    ]
    assert all(row == rows[0] for row in rows)
    kept = "|none~0|+|nor_conv_3x3~0|{}~1|+|none~0|{}~1|nor_conv_1x1~2|"
    rows = [
        nb201(kept.format(a, b)) for a in ("none", "nor_conv_3x3") for b in ("avg_pool_3x3", "none")
    ]
    assert all(row == rows[0] for row in rows)


def test_live_edges_are_those_on_a_path():
    """Against a search for every edge, on all cells of a sample."""
    edges = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    rng = np.random.default_rng(0)
    for genes in rng.integers(5, size=(300, 6)).tolist():
        open_ = {(s, n) for (n, s), gene in zip(edges, genes, strict=True) if gene != 0}
        reached = {0}
        for _ in range(3):
            reached |= {n for s, n in open_ if s in reached}
        leads = {3}
        for _ in range(3):
            leads |= {s for s, n in open_ if n in leads}
        expected = tuple((s, n) in open_ and s in reached and n in leads for n, s in edges)
        assert _live_edges(genes) == expected


def test_isomorphic_cells_are_described_alike():
    rng = np.random.default_rng(0)
    classes = {}
    for index in rng.choice(15625, 3000, replace=False).tolist():
        cell = NB201.from_index(index)
        classes.setdefault(NB201.canonical(cell), []).append(cell)
    several = [cells for cells in classes.values() if len(cells) > 1]
    assert len(several) > 100
    for cells in several[:200]:
        rows = NB201.features(cells)
        np.testing.assert_array_equal(rows, np.broadcast_to(rows[0], rows.shape))
    one_of_each = [cells[0] for cells in several[:200]]
    assert len(np.unique(NB201.features(one_of_each), axis=0)) == 200


# --- DARTS -----------------------------------------------------------------------------------


def test_a_darts_cell_worked_out_by_hand():
    """Depths in edges: 1, 2, 3, 4 (deepest) and 1, 1, 1, 1; paths 2, 3, 4, 5."""
    text = (
        "Genotype(normal=[[('sep_conv_3x3', 0), ('sep_conv_5x5', 1)], [('skip_connect', 0), "
        "('dil_conv_5x5', 2)], [('max_pool_3x3', 1), ('skip_connect', 3)], [('avg_pool_3x3', 0), "
        "('sep_conv_3x3', 4)]], normal_concat=range(2, 6), reduce=[[('skip_connect', 0), "
        "('skip_connect', 1)], [('skip_connect', 0), ('skip_connect', 1)], [('skip_connect', 0), "
        "('skip_connect', 1)], [('skip_connect', 0), ('skip_connect', 1)]], "
        "reduce_concat=range(2, 6))"
    )
    found = described(DARTS, DARTS.parse(text))
    normal = {k.removeprefix("normal: "): v for k, v in found.items() if k.startswith("normal")}
    expected = {
        "sep_conv_3x3": 2, "sep_conv_5x5": 1, "dil_conv_5x5": 1, "dil_conv_3x3": 0,
        "skip_connect": 2, "max_pool_3x3": 1, "avg_pool_3x3": 1,
        "convolutions": 4, "5x5": 2, "separable": 3, "weightless": 4,
        "deepest edges": 4, "sum of deepest edges": 10, "sum of shallowest edges": 4,
        # Convolutions on the way: 1, 2, 2, 3 at the most; 1, 0, 0, 0 at the least.
        "deepest convolutions": 3, "sum of deepest convolutions": 8,
        "sum of shallowest convolutions": 1,
        "paths": 2 + 3 + 4 + 5, "edges of input 0": 3, "edges of input 1": 2,
        "convolutions of inputs": 2, "skips of inputs": 1,
    }  # fmt: skip
    assert normal == expected
    assert found["reduce: skips of inputs"] == 8
    assert found["reduce: deepest edges"] == 1
    assert found["reduce: deepest convolutions"] == 0


def test_the_order_of_a_nodes_inputs_does_not_matter():
    cell = DARTS.sample(np.random.default_rng(0))
    text = DARTS.format(cell)
    start = text.index("[[") + 2
    first, second = text[start : text.index("]", start)].split("), ")
    turned = text.replace(f"{first}), {second}", f"{second}, {first})", 1)
    assert turned != text
    assert described(DARTS, DARTS.parse(turned)) == described(DARTS, cell)


# --- Refusals --------------------------------------------------------------------------------


def test_names_that_do_not_exist():
    with pytest.raises(UnknownNameError, match=r"unknown encoding 'one-hot'.*; there are: struct"):
        DARTS.feature_names("one-hot")


def test_architectures_of_another_space():
    for encoding in ENCODINGS:
        with pytest.raises(GenotypeError):
            NB201.features([Architecture("darts", (0,) * 32)], encoding)
