"""Traces of searches: what is written is read back, and nothing else is taken for one."""

import json
import math

import numpy as np
import pytest

from bpe_bench.errors import SourceFileError
from bpe_bench.estimators import Outcome
from bpe_bench.search import (
    RegularizedEvolution,
    Reinforce,
    read_traces,
    repeat_search,
    run_search,
    write_traces,
)
from bpe_bench.search.trace import SearchTrace
from bpe_bench.spaces import SPACES


def text(trace):
    """Return all of a trace as text, in which NaN equals NaN."""
    return repr(trace)


@pytest.fixture
def traces(toys, make_trace):
    """Traces of both spaces, with failures, without anything found, with nothing evaluated."""
    rng = np.random.default_rng(0)
    odd = toys.Toy(lambda a: math.nan if a.genes[0] == 2 else toys.value(a))
    full = toys.Toy(lambda a: a.genes.count(3) / 100, space="darts")
    return [
        *repeat_search(RegularizedEvolution(3), odd, repeats=2, evaluations=12),
        run_search(Reinforce(score="full"), full, evaluations=3, rng=rng),
        run_search(RegularizedEvolution(), toys.Toy(), seconds=1.0, rng=rng),
        make_trace((0, math.nan, 1.5, "failed"), (1, math.nan, math.nan, "diverged")),
        make_trace((0, 0.5, math.nan), outcome=Outcome(0.25, math.nan)),
    ]


def test_traces_are_read_back_as_they_were_written(traces, tmp_path):
    path = tmp_path / "traces.jsonl"
    write_traces(path, traces)
    found = read_traces(str(path))
    assert [*map(text, found)] == [*map(text, traces)]
    assert any(step.state == "diverged" for step in found[0].steps)
    assert found[3].found is None
    assert math.isnan(found[5].outcome.test)


def test_a_line_is_strict_json(traces, tmp_path):
    path = tmp_path / "traces.jsonl"
    write_traces(path, traces)
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_an_architecture_is_written_once(make_trace, tmp_path):
    trace = make_trace((0, 0.1, 1.0), (1, 0.2, 2.0), (0, 0.1, 3.0), (0, 0.1, 4.0))
    values = trace.to_json()
    assert len(values["architectures"]) == 2
    assert [step[0] for step in values["steps"]] == [0, 1, 0, 0]
    assert text(SearchTrace.from_json(values)) == text(trace)


def test_writing_replaces_the_file(make_trace, tmp_path):
    path = tmp_path / "traces.jsonl"
    write_traces(path, [make_trace((0, 0.1, 1.0))] * 3)
    write_traces(path, [make_trace((1, 0.2, 1.0))])
    assert len(read_traces(path)) == 1
    write_traces(path, [])
    assert read_traces(path) == []
    assert [p.name for p in tmp_path.iterdir()] == ["traces.jsonl"]


@pytest.fixture
def spoil(make_trace, tmp_path):
    """Return a function that reads two traces, the second of them spoilt, and returns the error."""

    def read(change):
        path = tmp_path / "traces.jsonl"
        good = make_trace((0, 0.1, 1.0), (1, 0.2, 2.0))
        write_traces(path, [good, good])
        first, second = path.read_text().splitlines()
        values = json.loads(second)
        line = change(values)
        second = line if isinstance(line, str) else json.dumps(values)
        path.write_text(f"{first}\n{second}\n")
        with pytest.raises(SourceFileError) as error:
            read_traces(path)
        start = f"{path}, line 2, is not a trace of version 1: "
        assert str(error.value).startswith(start)
        return str(error.value).removeprefix(start)

    return read


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: "garbage", "Expecting value: line 1 column 1 (char 0)"),
        (lambda values: "", "Expecting value: line 1 column 1 (char 0)"),
        (lambda values: '{"format": 1', "Expecting ',' delimiter: line 1 column 13 (char 12)"),
        (lambda values: "{}", "it lacks 'format'"),
        (lambda values: values.pop("steps") and None, "it lacks 'steps'"),
        (lambda values: values.update(version=2), "format 'bpe-bench-search-trace', version 2"),
        (lambda values: values.update(format="x"), "format 'x', version 1"),
        (
            lambda values: values.update(space="dart"),
            f"unknown search space 'dart' (did you mean 'darts'?); there are: {', '.join(SPACES)}",
        ),
        (
            lambda values: values.update(found="|x~0|"),
            "malformed NAS-Bench-201 architecture at position 1: expected an operation (none, "
            "skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3), found 'x'",
        ),
        # A place behind the last one, and one that Python would count from the end.
        (lambda values: values["steps"][1].__setitem__(0, 2), "it lacks 2"),
        (lambda values: values["steps"][1].__setitem__(0, -1), "it lacks -1"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(spoil, change, message):
    assert spoil(change) == message


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "null",
        "5",
        '"bpe-bench-search-trace"',
        "NaN",
    ],
)
def test_other_json_is_refused_too(spoil, line):
    assert "\n" not in spoil(lambda values: line)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("architectures", [5]),
        ("architectures", None),
        ("steps", [[0, "much", 1.0]]),
        ("steps", [[0]]),
        ("steps", [5]),
        ("outcome", 5),
        ("outcome", {}),
        ("seconds", "long"),
        ("space", []),
        ("found", 7),
    ],
)
def test_values_of_another_kind_are_refused(spoil, name, value):
    assert "\n" not in spoil(lambda values: values.update({name: value}))


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "none"
    with pytest.raises(SourceFileError, match=r"^cannot read traces from .*none: .*No such file"):
        read_traces(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceFileError, match=r"^cannot read traces from .*none: 'utf-8' codec"):
        read_traces(path)


def test_a_folder_that_is_not_there(make_trace, tmp_path):
    path = tmp_path / "no" / "traces.jsonl"
    with pytest.raises(SourceFileError) as error:
        write_traces(path, [make_trace((0, 0.1, 1.0))])
    assert str(error.value) == f"cannot write traces to {path}: No such file or directory"


def test_a_target_that_cannot_be_written_leaves_nothing_behind(make_trace, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceFileError) as error:
        write_traces(tmp_path / "folder", [make_trace((0, 0.1, 1.0))])
    assert str(error.value) == f"cannot write traces to {tmp_path / 'folder'}: Is a directory"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_traces_that_break_off_leave_the_file_as_it_was(make_trace, tmp_path):
    path = tmp_path / "traces.jsonl"
    write_traces(path, [make_trace((0, 0.1, 1.0))])
    before = path.read_bytes()

    def broken():
        yield make_trace((1, 0.2, 1.0))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_traces(path, broken())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["traces.jsonl"]


def test_incumbents_are_the_best_so_far(make_trace):
    trace = make_trace(
        (0, math.nan, 1.0, "failed"), (1, 0.2, 2.0), (2, 0.2, 3.0), (3, 0.1, 4.0), (4, 0.3, 5.0)
    )
    assert [step.clock for step in trace.incumbents()] == [2.0, 5.0]
    assert make_trace().incumbents() == []
