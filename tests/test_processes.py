"""Work in other processes: the same results, errors instead of waiting, nothing left behind."""

import importlib
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from bpe_bench.errors import ExecutionError, SelectionError
from bpe_bench.processes import share_work

# A script without a main guard, with a searcher of its own.
SCRIPT = """
from bpe_bench.estimators import Prediction, SurrogateEstimator
from bpe_bench.search import RandomSearch, repeat_search
import numpy as np

class Skips:
    space = "nas-bench-201"
    def predict(self, architectures):
        share = np.array([a.genes.count(1) / 6 for a in architectures])
        return Prediction(share, np.full(len(architectures), 60.0))

class Mine(RandomSearch):
    name = "mine"

options = {"repeats": 6, "evaluations": 9}
one, two = (repeat_search(Mine(), SurrogateEstimator(Skips()), jobs=n, **options) for n in (1, 2))
print(one == two, len(two), two[0].searcher)
"""

SLEEPS = """
import os, time
from bpe_bench.processes import share_work

def sleep(seconds):
    print(os.getpid(), flush=True)
    time.sleep(seconds)

try:
    share_work(sleep, [600] * 4, jobs=2)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_results_are_in_order_and_progress_rises_to_one(jobs):
    shares = []
    task = lambda number: (number**2, os.getpid())  # noqa: E731 - one that has no name to import
    found = share_work(task, range(7), jobs=jobs, on_progress=shares.append)
    assert [square for square, _ in found] == [0, 1, 4, 9, 16, 25, 36]
    assert shares == pytest.approx([n / 7 for n in range(1, 8)])
    assert (os.getpid() in {process for _, process in found}) == (jobs == 1)


def test_what_goes_wrong_is_raised_here():
    def fail(number):
        raise SelectionError(f"not {number}")

    for jobs in (1, 2):
        with pytest.raises(SelectionError, match=r"^not 0$"):
            share_work(fail, range(4), jobs=jobs)
    with pytest.raises(SelectionError, match=r"^jobs must be at least 1, found 0$"):
        share_work(fail, range(4), jobs=0)


def test_a_killed_process_is_said():
    with pytest.raises(ExecutionError) as caught:
        share_work(lambda number: os._exit(1), range(4), jobs=2)
    assert str(caught.value) == (
        "a process was killed, perhaps for memory, or could not start; run again with fewer jobs"
    )


def test_what_cannot_be_sent_is_said():
    generator = (number for number in range(3))
    with pytest.raises(ExecutionError) as caught:
        share_work(lambda number: next(generator), range(4), jobs=2)
    assert str(caught.value) == (
        "the work cannot be sent to other processes (TypeError: cannot pickle 'generator' object); "
        "run with one job"
    )


def test_processes_import_from_where_this_one_does_now(tmp_path, monkeypatch):
    share_work(abs, [1, 2], jobs=2)  # from here on the processes are there
    (tmp_path / "module_of_later.py").write_text("def twice(number):\n    return 2 * number\n")
    monkeypatch.syspath_prepend(tmp_path)
    twice = importlib.import_module("module_of_later").twice
    assert share_work(twice, [1, 2, 3], jobs=2) == [2, 4, 6]


def test_a_task_is_packed_once():
    packed = []

    class Task:
        def __reduce__(self):
            packed.append(True)
            return partial, (abs,)

    assert share_work(Task(), range(-100, 0), jobs=2) == list(range(100, 0, -1))
    assert packed == [True]


@pytest.mark.parametrize("way", ["script", "standard input"])
def test_a_script_without_a_main_guard(way, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py" if way == "script" else "-"]
    ended = subprocess.run(
        command, cwd=tmp_path, input=SCRIPT, capture_output=True, text=True, timeout=600
    )
    assert (ended.stdout, ended.stderr) == ("True 6 mine\n", "")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_their_parent(sent, tmp_path, processes_now):
    (tmp_path / "script.py").write_text(SLEEPS)
    parent = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, process_group=0,
    )  # fmt: skip
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    if sent == signal.SIGINT:
        os.killpg(parent.pid, sent)  # as a terminal does
    else:
        parent.send_signal(sent)
    said, _ = parent.communicate(timeout=300)
    assert said == ("interrupted\n" if sent == signal.SIGINT else "")
    until = time.monotonic() + 300
    # A Z has ended, only that nobody asked how.
    while left := [p for p, (_, s) in processes_now().items() if p in workers and s[0] != "Z"]:
        assert time.monotonic() < until, left
        time.sleep(0.05)
