"""Nothing in a foreign pickle is ever run."""

import bz2
import io
import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
from bpe_bench_tables.build import _pickles
from bpe_bench_tables.build._pickles import load_records, unpack_bz2

from bpe_bench.errors import SourceFileError


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def load(data, name="x.pickle"):
    return load_records(io.BytesIO(data), name)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_records_hold_comes_back(protocol):
    content = OrderedDict(
        a=[1, 2.5, None, True, "text"],
        b={("cifar10", 777): np.float64(0.129306), "n": np.int32(-7), "h": np.float16(0.5)},
        c={1, 2, 3},
        d=np.bool_(True),
        e=np.dtype(">f4").type(1.5),
    )
    found = load(pickle.dumps(content, protocol))
    assert sorted(found.pop("c")) == [1, 2, 3]
    content.pop("c")
    assert found == content
    assert type(found) is dict
    assert type(found["b"]["cifar10", 777]) is float


def test_numbers_of_old_and_new_numpy():
    new = pickle.dumps(np.float64(0.25), 2)
    assert b"numpy._core.multiarray" in new
    assert load(new) == load(new.replace(b"numpy._core", b"numpy.core")) == 0.25


def test_big_endian_numbers():
    number = pickle.dumps(np.dtype(">f8"), 2)[2:-1]
    data = b"\x80\x02cnumpy.core.multiarray\nscalar\n" + number + b"U\x08" + struct.pack(">d", 0.1)
    assert load(data.replace(b"U\x08", b"C\x08") + b"\x86R.") == 0.1


def test_a_call_is_refused_and_not_made(tmp_path):
    trace = tmp_path / "trace"
    data = pickle.dumps([1, Calls(os.mkdir, str(trace))])
    with pytest.raises(SourceFileError) as error:
        load(data)
    assert not trace.exists()
    pickle.loads(data)
    assert trace.exists(), "read as usual, it makes the folder"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("protocol", range(6))
def test_the_function_is_named(protocol):
    data = pickle.dumps(Calls(os.system, "echo hello"), protocol)
    with pytest.raises(SourceFileError) as error:
        load(data, "000011.pickle.pbz2")
    assert str(error.value) == (
        "000011.pickle.pbz2 is not safe to open: its pickle asks for posix.system, which no table "
        "needs; nothing of it was run; fetch the file again from a place that you trust"
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93.", id="dotted"),
        pytest.param(b"(S'true'\nios\nsystem\n.", id="INST"),
        pytest.param(b"cbuiltins\ngetattr\n.", id="getattr"),
        pytest.param(b"cnumpy\ncore\n.", id="module"),
        pytest.param(b"c\x1b[2J\nx\ny.", id="control"),
    ],
)
def test_no_way_round(data):
    with pytest.raises(SourceFileError, match="not safe to open") as error:
        load(data)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", sorted(_pickles._STAND_INS))
def test_stand_ins_cannot_be_altered(name):
    """The BUILD instruction sets attributes on whatever it finds."""
    named = "c{}\n{}\n".format(*name).encode()
    for attribute in (b"__call__", b"__class__", b"__doc__", b"other"):
        state = b"U" + bytes([len(attribute)]) + attribute + b"K\x01"
        for built in (b"}" + state + b"sb.", b"N}" + state + b"s\x86b."):
            with pytest.raises(SourceFileError, match="damaged or not a pickle"):
                load(named + built)
    assert load(pickle.dumps(OrderedDict(a=np.float64(1)))) == {"a": 1.0}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"cnumpy\ndtype\nU\x01O\x85R.", id="objects"),
        pytest.param(pickle.dumps(np.zeros(2)), id="array"),
        pytest.param(b"cbuiltins\nset\nK\x05\x85R\x81.", id="new object"),
        pytest.param(b"c_codecs\nencode\n(U\x01aU\x04zlibtR.", id="codec"),
        pytest.param(
            b"c_codecs\nencode\n(X\x20\x00\x00\x00" + b"a" * 32 + b"U\x06latin1tR.", id="l"
        ),
        pytest.param(
            b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8\x85RC\x01a\x86R.", id="short"
        ),
        pytest.param(b"\x80\x05\x97.", id="buffer"),
        pytest.param(b"\x82\x01.", id="extension"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"PK\x03\x04", id="zip"),
        pytest.param(b"\x8e" + b"\xff" * 7 + b"\x0f.", id="huge"),
    ],
)
def test_what_is_no_sound_pickle(data):
    with pytest.raises(SourceFileError) as error:
        load(data)
    assert str(error.value).startswith("x.pickle is ")
    assert str(error.value).isprintable()


def test_outside_data_is_refused():
    with pytest.raises(SourceFileError, match="refers to data outside of itself, such as network"):
        load(b"\x80\x02K\x01Q.")


@pytest.mark.parametrize("cut", [0, 1, 10, 100, -1])
def test_truncated(cut):
    data = pickle.dumps({i: float(i) for i in range(100)}, 4)
    with pytest.raises(SourceFileError, match=r"x\.pickle is truncated: .* fetch it again"):
        load(data[:cut])


def test_one_pickle_after_the_other():
    stream = io.BufferedReader(io.BytesIO(pickle.dumps(1) + pickle.dumps([2])))
    assert [load_records(stream, "x"), load_records(stream, "x")] == [1, [2]]


class TestBz2:
    packed = bz2.compress(b"content" * 100)

    def test_comes_back(self):
        assert unpack_bz2(self.packed, "x", 700) == b"content" * 100

    @pytest.mark.parametrize("cut", [0, 3, 20, -1])
    def test_truncated(self, cut):
        with pytest.raises(SourceFileError, match="x is truncated: its bz2 data ends too early"):
            unpack_bz2(self.packed[:cut], "x", 1000)

    def test_damaged(self):
        with pytest.raises(SourceFileError, match=r"x is damaged or not bz2 \(Invalid data stream"):
            unpack_bz2(b"not bz2" * 10, "x", 1000)
        middle = len(self.packed) // 2
        flipped = self.packed[:middle] + b"\0\0\0" + self.packed[middle + 3 :]
        with pytest.raises(SourceFileError, match="x is damaged or not bz2"):
            unpack_bz2(flipped, "x", 1000)

    def test_a_bomb(self):
        bomb = bz2.compress(bytes(10**8))
        assert len(bomb) < 1000
        with pytest.raises(SourceFileError, match="unpacks to more than 1000000 bytes"):
            unpack_bz2(bomb, "x", 10**6)
