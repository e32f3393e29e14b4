"""The command line as a whole: help that works, exit statuses, and what is loaded."""

import subprocess
import sys
from importlib.metadata import version

import click
import pytest
from bpe_bench_cli import correlate as correlate_module
from bpe_bench_cli._output import Output
from bpe_bench_cli.main import bpe_bench, run


def walk(command, path):
    """Every command under a command, by its words."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from walk(command.get_command(click.Context(command), name), (*path, name))


COMMANDS = dict(walk(bpe_bench, ()))


MAKE_FILES = (("tables", "import"), ("tables", "merge"), ("surrogate", "fit"))
"""Commands whose -o is a table or a surrogate; what they say of it goes to standard output."""


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_an_example_that_runs(path, capsys, monkeypatch, example_folder):
    assert run([*path, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    example = lines[lines.index("  Example:") + 1].split()
    assert example[: len(path) + 1] == ["bpe-bench", *path]
    monkeypatch.chdir(example_folder)
    before = {*example_folder.iterdir()}
    if "published" in example and not (example_folder / "published").exists():
        pytest.skip("the published files are not beside this checkout")
    assert run(example[1:]) == 0
    # SQLite keeps files beside a store that is open for reading.
    written = {p for p in example_folder.iterdir() if "sqlite-" not in p.name} - before
    said = capsys.readouterr().out
    assert (written and said) if path in MAKE_FILES else bool(written) != bool(said)


@pytest.mark.parametrize("path", [p for p, c in COMMANDS.items() if not isinstance(c, click.Group)])
def test_every_command_has_the_common_options(path):
    options = {o for parameter in COMMANDS[path].params for o in parameter.opts}
    assert {"--format", "-o", "--output", "--seed", "--quiet"} <= options


def test_every_option_says_what_it_does():
    for path, command in COMMANDS.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or parameter.metavar, (path, parameter.name)


def test_help_loads_nothing_heavy():
    """A person who asks for help must not wait for libraries that help does not need."""
    heavy = [
        "torch",
        "sklearn",
        "xgboost",
        "h5py",
        "matplotlib",
        "pandas",
        "numpy",
        "scipy",
        "rich",
    ]
    code = (
        "import sys; from bpe_bench_cli.main import run; status = run(['--help'])\n"
        f"print(status, sorted(set(sys.modules) & set({heavy!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "correlate" in done.stdout


def test_python_m_does_what_the_command_does():
    done = subprocess.run(
        [sys.executable, "-m", "bpe_bench_cli", "correlate", "--bogus"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("bpe-bench: error: No such option")
    assert done.stderr.count("\n") == 1


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"bpe-bench {version('bpe-bench')}\n"


@pytest.mark.parametrize("arguments", [[], ["tables"]])
def test_nothing_to_do_shows_help_and_is_bad_usage(arguments, capsys):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: bpe-bench" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["corelate"], "unknown command"),
        (["--colour"], "No such option"),
        (["tables", "lst"], "unknown command"),
    ],
)
def test_unknown_commands_and_options_are_one_line(arguments, text, capsys):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"bpe-bench: error: {text}")
    assert arguments[-1] in err
    assert err.count("\n") == 1


def test_control_c_stops_with_status_1(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(correlate_module.correlate, "callback", interrupt)
    assert run(["correlate"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip() == "bpe-bench: stopped"


def test_an_error_that_nobody_foresaw_is_not_hidden(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(correlate_module.correlate, "callback", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(["correlate"])


def test_a_reader_that_went_away_is_no_traceback():
    command = f"{sys.executable} -m bpe_bench_cli tables export darts-bpe | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_three_warnings_are_shown_and_the_place_of_the_others_is_said(capsys):
    out = Output("table", None, quiet=False)
    out.warn(["a", "b", "c"], "my table.h5")
    assert capsys.readouterr().err == "warning: a\nwarning: b\nwarning: c\n"
    out.warn(["a", "b", "c", "d", "e"], "my table.h5")
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "2 more warnings: --format json or bpe-bench tables info 'my table.h5'"


def test_progress_in_a_log_is_a_line_now_and_then_with_the_time_left(capsys, monkeypatch):
    now = iter([0.0, 20.0, 31.0, 45.0, 62.0, 99.0])
    monkeypatch.setattr("bpe_bench_cli._output.time.monotonic", lambda: next(now))
    with Output("table", None, quiet=False).progress("training 4 networks") as progress:
        for share in (0.1, 0.25, 0.4, 0.5, 1.0):
            progress(share)
    assert capsys.readouterr().err.splitlines() == [
        "training 4 networks: 25% done, about 1.55 min left",
        "training 4 networks: 50% done, about 1.03 min left",
    ]
