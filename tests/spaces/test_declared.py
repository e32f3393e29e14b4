"""Spaces declared in a file: what a declaration may say, texts, numbers, and other processes."""

import itertools
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from bpe_bench.errors import GenotypeError, SelectionError, SourceFileError
from bpe_bench.spaces import SPACES, DeclaredSpace, get_space, register_space

WIDTH = {"kind": "ordered", "values": [16, 24, 32]}
OPERATION = {"kind": "categorical", "values": ["conv3x3", "skip"]}
DEPTH = {"kind": "integer", "low": 2, "high": 8, "step": 3}
RATE = {"kind": "real", "low": 0.001, "high": 0.1, "log": True}
HASH = {"kind": "categorical", "values": "observed"}


def declared(**parameters):
    return DeclaredSpace.of({"name": "nets", "parameters": parameters})


@pytest.fixture
def nets():
    return declared(width=WIDTH, op=OPERATION, depth=DEPTH)


def test_all_architectures_and_their_texts(nets):
    texts = [nets.format(architecture) for architecture in nets]
    assert texts == [
        f"width={w},op={o},depth={d}"
        for w, o, d in itertools.product([16, 24, 32], ["conv3x3", "skip"], [2, 5, 8])
    ]
    assert [nets.index_of(nets.parse(text)) for text in texts] == list(range(nets.size))


def test_names_come_in_any_order_and_numbers_in_any_spelling(nets):
    expected = nets.parse("width=24,op=skip,depth=5")
    assert nets.parse(" depth = 5.0, op=skip ,width=2.4e1") == expected


def test_texts_that_look_like_numbers_are_texts():
    space = declared(cell={"kind": "categorical", "values": ["01", "1", "12e4", "inf"]})
    assert [space.format(a) for a in space] == ["cell=01", "cell=1", "cell=12e4", "cell=inf"]
    assert [space.parse(f"cell={t}").genes for t in ("01", "1", "12e4")] == [(0,), (1,), (2,)]


def test_categories_that_are_numbers_come_in_any_spelling():
    space = declared(momentum={"kind": "categorical", "values": [0.5, 1.0]})
    assert [space.parse(f"momentum={t}").genes for t in ("1.0", "1", ".5")] == [(1,), (1,), (0,)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("width=24,op=skip", "position 16: expected depth=VALUE, found the end"),
        ("24", "position 0: expected NAME=VALUE with one of width, op, depth, found '24'"),
        ("width=16,size=3", "position 9: expected NAME=VALUE with one of width, op, depth, found "
                            "'size=3'"),
        ("width=16,width=24", "position 9: expected width once, found it again"),
        ("width=20", "position 0: expected width to be one of 16, 24, 32, found 'width=20'"),
        ("width=16,op=Skip", "position 9: expected op to be one of conv3x3, skip, found 'op=Skip'"),
    ],
)  # fmt: skip
def test_a_malformed_text_is_named_with_its_position(nets, text, said):
    with pytest.raises(GenotypeError) as caught:
        nets.parse(text)
    assert str(caught.value) == f"malformed nets architecture at {said}"


def test_numbers_for_regression(nets):
    names = ("width", "op conv3x3", "op skip", "depth")
    assert nets.feature_names() == nets.columns == names
    row = nets.features([nets.parse("width=24,op=skip,depth=8")])
    np.testing.assert_array_equal(row, [[1.0, 0.0, 1.0, 8.0]])  # a place, 0/1, a number


def test_real_numbers_and_observed_values():
    space = declared(rate=RATE, cell=HASH)
    architecture = space.parse("rate=1e-2,cell=üa7=f")
    assert space.format(architecture) == "rate=0.01,cell=üa7=f"
    assert space.parse(space.format(architecture)) == architecture
    others = [space.parse(f"rate=0.01,cell={name}") for name in "ab"]
    rows = space.encode([architecture, *others])
    np.testing.assert_array_equal(rows[:, 0], math.log(0.01))
    assert len(set(rows[:, 1])) == 3
    with pytest.raises(GenotypeError, match=r"expected rate to be a number from 0\.001 to 0\.1"):
        space.parse("rate=0.5,cell=a")
    with pytest.raises(SelectionError) as caught:
        space.sample(np.random.default_rng(0))
    assert str(caught.value) == (
        "the space nets does not list the values of rate, cell, so nothing can be drawn from it; "
        "search over a table, whose values are known"
    )


FAULTS = [
    ({}, "the declaration needs name and parameters"),
    ({"name": "a b", "parameters": {"w": WIDTH}},
     "name must be letters, digits, '.', '_' or '-', found 'a b'; for instance \"my-space\""),
    ({"name": "n", "parameters": {}},
     "it needs parameters, found none; add for instance [parameters.width] with kind and values"),
    ({"name": "n", "parameters": {"w": {}}},
     "parameter 'w' needs a kind: categorical, ordered, integer, real"),
    ({"name": "n", "parameters": {"w": {"kind": "int"}}},
     "unknown kind 'int' of parameter 'w'"),
    ({"name": "n", "parameters": {"w": {"kind": "ordered"}}}, "parameter 'w' needs values"),
    ({"name": "n", "parameters": {"w": WIDTH | {"low": 1}}},
     "unknown key 'low' of parameter 'w'"),
    ({"name": "n", "parameters": {"w": WIDTH | {"values": [1, 1.0]}}},
     "parameter 'w' needs as values a list of different texts without commas, or of numbers, "
     "found [1, 1.0]"),
    ({"name": "n", "parameters": {"w": {"kind": "ordered", "values": "observed"}}},
     "parameter 'w' needs as values a list of different texts without commas, or of numbers, "
     "found 'observed'"),
    ({"name": "n", "parameters": {"w": DEPTH | {"low": 8}}},
     "parameter 'w' needs whole numbers with low below high, found 8, 8"),
    ({"name": "n", "parameters": {"w": DEPTH | {"step": 0}}},
     "parameter 'w' needs a step of at least 1 with at most 100,000 values, found 0; declare it "
     "as real"),
    ({"name": "n", "parameters": {"w": RATE | {"low": 0}}},
     "parameter 'w': log must be true or false, and with it low above 0"),
]  # fmt: skip


@pytest.mark.parametrize(("declaration", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_a_faulty_declaration_is_refused_in_a_line(declaration, said):
    with pytest.raises((SelectionError, LookupError)) as caught:
        DeclaredSpace.of(declaration)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_declaration_is_read_from_a_file(tmp_path, nets):
    path = tmp_path / "nets.toml"
    path.write_text(
        'name = "nets"\n'
        '[parameters.width]\nkind = "ordered"\nvalues = [16, 24, 32]\n'
        '[parameters.op]\nkind = "categorical"\nvalues = ["conv3x3", "skip"]\n'
        '[parameters.depth]\nkind = "integer"\nlow = 2\nhigh = 8\nstep = 3\n'
    )
    assert DeclaredSpace.read(path) == nets
    for text, said in (
        ("name = nets", f"cannot read the space {path}: Invalid value (at line 1, column 8)"),
        ('name = "nets"', f"{path} declares no space: the declaration needs parameters"),
    ):
        path.write_text(text)
        with pytest.raises(SourceFileError) as caught:
            DeclaredSpace.read(path)
        assert str(caught.value) == said
    with pytest.raises(SourceFileError, match="No such file or directory"):
        DeclaredSpace.read(tmp_path / "no.toml")


def test_a_name_stands_for_one_declaration(nets):
    register_space(nets)
    register_space(declared(width=WIDTH, op=OPERATION, depth=DEPTH))
    assert get_space("nets") == nets
    with pytest.raises(SelectionError, match="the name nets is taken by another search space"):
        register_space(declared(width=WIDTH))
    with pytest.raises(SelectionError, match="the name darts is taken by another search space"):
        register_space(DeclaredSpace.of({"name": "darts", "parameters": {"w": WIDTH}}))


def test_another_process_knows_the_space_as_soon_as_it_arrives(nets):
    code = (
        "import pickle, sys\n"
        "from bpe_bench import get_space\n"
        "pickle.load(sys.stdin.buffer)\n"
        "print(get_space('nets').size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(nets), capture_output=True, check=True
    )
    assert done.stdout.strip() == b"18"
    assert "nets" not in SPACES
