"""Every command: options given twice, options without use, and whose value an error is about."""

import click
import pytest
from bpe_bench_cli._commands import Command, Group
from bpe_bench_cli.main import bpe_bench as root


def walk(command):
    """All commands under a command."""
    yield command
    for name in command.list_commands(None) if isinstance(command, click.Group) else ():
        yield from walk(command.get_command(None, name))


def test_all_commands_are_of_the_kind_that_refuses():
    for command in walk(root):
        assert isinstance(command, Group if isinstance(command, click.Group) else Command)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "correlate darts-bpe --top-k 3 --statistic kendall --top-k=5",
            "--top-k is given 2 times, with '3', '5'; it takes one value, leave the others out "
            "(see bpe-bench correlate --help)",
        ),
        ("tables list -o a --output b", "--output is given 2 times, with 'a', 'b'; it takes one"),
        ("mip --space darts --space darts", "--space is given 2 times, with 'darts', 'darts'; "),
        ("train status --store a --store b --store c", "--store is given 3 times, with 'a', 'b'"),
        (
            "search --searcher random --space darts --with-replacement --without-replacement",
            "--with-replacement and --without-replacement exclude each other; leave one out",
        ),
    ],
)
def test_an_option_given_twice_is_refused_with_both_values(words, said, fails):
    assert fails(*words.split()).startswith(said)


def test_flags_and_options_of_several_values_may_be_repeated(bpe_bench):
    words = "correlate darts-bpe --where layers=20 --where channels=36 --quiet --quiet"
    status, out, err = bpe_bench(*words.split())
    assert (status, err) == (0, "")
    assert out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train --store a.sqlite status", "--store stands before status, where it has no use; "),
        ("mip --space darts evaluate", "--space stands before evaluate, where it has no use; "),
    ],
)
def test_options_before_a_command_of_a_group_are_refused(words, said, fails):
    assert fails(*words.split()).startswith(said)


@pytest.mark.parametrize(
    "words",
    [
        "tables list",
        "tables info darts-bpe",
        "tables verify darts-bpe",
        "tables export darts-bpe",
        "tables import long-csv a.csv -o a.h5",
        "tables merge a.h5 b.h5 -o c.h5",
        "tables fetch darts-bpe",
        "regress darts-bpe",
        "train status",
        "train retry",
    ],
)
def test_a_seed_where_nothing_is_drawn_is_refused(words, fails):
    path = " ".join(words.split()[: 1 if words.startswith("regress") else 2])
    assert fails(*words.split(), "--seed", "3") == (
        f"bpe-bench {path} draws nothing at random, found --seed 3; leave it out (see bpe-bench "
        f"{path} --help)"
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("correlate nosuch", "TABLE"),
        ("correlate darts-bpe --confidence 95", "--confidence"),
        # The same text in two options: the message's words decide.
        ("mip evaluate --repeats 1 --keep 1", "--repeats"),
        ("train --budget BPE-1,epochs=0", "--budget"),
        (
            "search --space darts --table darts-proxy --searcher evolution --score full",
            "--score",
        ),
        ("tables verify nosuch", "TABLE"),
    ],
)
def test_an_error_of_the_library_names_the_option(words, name, bpe_bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = bpe_bench(*words.split())
    assert status == 2
    assert err.endswith(f" (in {name})\n")


def test_an_error_that_names_the_option_itself_is_left_as_it_is(bpe_bench):
    *_, err = bpe_bench("correlate", "darts-bpe", "--top-k", "500")
    assert "--top-k" in err
    assert "(in " not in err


def test_a_group_lists_its_commands_with_whole_sentences(bpe_bench):
    out = bpe_bench("tables", "--help")[1]
    assert "..." not in out.partition("Commands:")[2]
    assert "nothing in it is ever executed." in " ".join(out.split())
