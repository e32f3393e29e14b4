"""Every example of the documentation is run, and what it says it prints is what it prints."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def command_output(command):
    words = shlex.split(command)
    assert words[0] == "bpe-bench"
    done = subprocess.run(
        [sys.executable, "-m", "bpe_bench_cli", *words[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_in_order(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    scope = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), scope)


CONSOLE = [(page, block) for page in PAGES for block in blocks(page, "console")]


@pytest.mark.parametrize(("page", "block"), CONSOLE, ids=[b.splitlines()[0] for _, b in CONSOLE])
def test_console_blocks_print_what_they_show(page, block):
    """A line of ``...`` stands for any lines."""
    first, _, shown = block.partition("\n")
    pattern = re.escape(shown).replace(re.escape("...\n"), "(?:.*\n)*")
    assert re.fullmatch(pattern, command_output(first.removeprefix("$ ")))


def test_the_readme_shows_what_the_main_job_prints():
    text = (ROOT / "README.md").read_text()
    job = re.search(r"<!-- main job -->\n```bash\n(.*?)\n```", text, re.DOTALL)[1]
    shown = re.search(r"<!-- mip output -->\n```text\n(.*?)```", text, re.DOTALL)[1]
    assert command_output(job[job.index("bpe-bench mip") :]) == shown
