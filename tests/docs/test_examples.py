"""Every example of the documentation is run, and what it says it prints is what it prints."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import h5py
import pytest
from bpe_bench_cli.main import bpe_bench, run

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def having(language):
    """Return the pages that have blocks of a language."""
    return [pytest.param(page, id=page.name) for page in PAGES if blocks(page, language)]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """Run examples in a folder that has nothing but the tables and docs of the checkout."""
    for name in ("tables", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", having("python"))
def test_python_blocks_run_in_order(page):
    scope = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), scope)


def test_the_hash_on_the_page_of_the_table_format_holds_for_declared_spaces():
    scope = {}
    for block in blocks(ROOT / "docs" / "table-format.md", "python"):
        exec(compile(block, "table-format.md", "exec"), scope)
    mobile = ["docs/examples/mobile.csv", "--space", "docs/examples/mobile.toml"]
    assert run(["tables", "import", "long-csv", *mobile, "-o", "mobile.h5"]) == 0
    with h5py.File("mobile.h5") as file:
        assert "declaration" in file.attrs
        assert scope["content_hash"](file) == file.attrs["content_sha256"]


@pytest.mark.parametrize("page", having("console"))
def test_console_blocks_print_what_they_show(page, capsys):
    """A line of ``...`` stands for any lines."""
    for block in blocks(page, "console"):
        first, _, shown = block.partition("\n")
        prompt, program, *words = shlex.split(first)
        assert prompt == "$"
        if program == "python":
            command = [sys.executable, *words]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        else:
            assert program == "bpe-bench"
            assert run(words) == 0
            printed = capsys.readouterr().out
        pattern = re.escape(shown).replace(re.escape("...\n"), "(?:.*\n)*")
        assert re.fullmatch(pattern, printed), f"{first}\nprints\n{printed}"


@pytest.mark.parametrize("page", having("bash"))
def test_commands_that_are_not_run_have_options_that_exist(page):
    for block in blocks(page, "bash"):
        for line in re.findall(r"bpe-bench .*", block.replace("\\\n", " ")):
            command, words = bpe_bench, shlex.split(line.rpartition("bpe-bench ")[2], comments=True)
            while isinstance(command, click.Group) and words and words[0] in command.commands:
                command = command.commands[words.pop(0)]
            assert words or not isinstance(command, click.Group) or command.invoke_without_command
            command.make_context(command.name, words)


@pytest.mark.parametrize("kernel", ["", "Prescott"], ids=["own", "Prescott"])
def test_the_readme_shows_what_the_main_job_prints(kernel):
    """Under the kernels of linear algebra that suit this processor, and under the oldest ones."""
    environment = {"OPENBLAS_CORETYPE": kernel} if kernel else {}
    text = (ROOT / "README.md").read_text()
    job = re.search(r"<!-- main job -->\n```bash\n(.*?)\n```", text, re.DOTALL)[1]
    shown = re.search(r"<!-- mip output -->\n```text\n(.*?)```", text, re.DOTALL)[1]
    program, *words = shlex.split(job[job.index("bpe-bench mip") :])
    assert program == "bpe-bench"
    done = subprocess.run(
        [sys.executable, "-m", "bpe_bench_cli", *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    assert done.stdout == shown
