"""A task that trains nothing; what goes wrong is written in a folder that it finds as its images.

`ProxyEstimator` hands its ``images`` to the task, which is the only way in from a test.
"""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

from bpe_bench.execution.journal import Journal
from bpe_bench.spaces import get_space
from bpe_bench.tables.curves import Split
from bpe_bench.training.trial import EpochRecord, SplitResult

MADE_ON = {"device": "abacus"}


def train(trial, checkpoint, options, report):
    """Report epochs made from a chain of hashes, each from the checkpoint before."""
    folder = Path(options["source"])
    done, value = (0, trial.id) if checkpoint is None else json.loads(checkpoint)
    for epoch in range(done + 1, trial.budget.epochs + 1):
        note(folder, trial, epoch)
        trouble = troubles(folder).get(text(trial.architecture), "")
        misbehave(trouble, trial, epoch)
        value = hashlib.sha256(f"{value} {epoch}".encode()).hexdigest()
        loss = float("nan") if trouble == "diverge" else 0.5
        results = {
            Split.VALIDATION: SplitResult(int(value[:8], 16) % 1_001, 1_000, loss),
            Split.TEST: SplitResult(int(value[8:16], 16) % 2_001, 2_000, loss),
        }
        record = EpochRecord(epoch, results, seconds_of(trial.architecture), 1)
        report(record, json.dumps([epoch, value]).encode(), MADE_ON)
        if not record.finite:
            return "diverged"
    return "done"


def seconds_of(architecture):
    """Return what an epoch takes: a power of two, so that sums are exact."""
    return 2.0 ** (architecture.genes[0] % 3 - 1)


def misbehave(trouble, trial, epoch):
    """Fail, be interrupted or lose the trial, in the second epoch."""
    if epoch != 2 or not trouble:
        return
    if trouble == "fail":
        raise ValueError("this network\n  cannot be trained")
    if trouble == "interrupt":
        raise KeyboardInterrupt
    if trouble.startswith("lose "):
        store = trouble.removeprefix("lose ")
        with Journal(store) as journal:  # somebody takes this process for dead, and goes on
            journal.claim("thief", stale_after=-1, trial_id=trial.id)
            for number in range(2, trial.budget.epochs + 1):
                journal.record(trial.id, "thief", stolen(number), b"")
            journal.finish(trial.id, "thief", "done")


def stolen(epoch):
    """Return the record of an epoch that somebody else has trained."""
    result = SplitResult(1_000, 1_000, 0.5)
    return EpochRecord(epoch, {Split.VALIDATION: result, Split.TEST: result}, 8.0, 1)


def text(architecture):
    return get_space(architecture.space).format(architecture)


def troubles(folder):
    """Return what goes wrong, by architecture."""
    path = folder / "troubles.json"
    return json.loads(path.read_text()) if path.exists() else {}


def note(folder, trial, epoch):
    """Add a line to the log, whole even if others write at the same time."""
    if not folder.is_dir():
        return
    file = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{epoch} {text(trial.architecture)}\n".encode())
    finally:
        os.close(file)


def trained(folder):
    """Return how often each epoch of each architecture was begun."""
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(tuple(line.split(maxsplit=1)) for line in lines)
