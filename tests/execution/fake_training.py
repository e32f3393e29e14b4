"""A task that trains nothing: a chain of hashes, each epoch made from the checkpoint before.

Workers import it by name. What it does is written to a log, a line per event, so
that a test can tell what was computed from what was recorded.
"""

import hashlib
import os
import signal
import time
from pathlib import Path

from bpe_bench.tables.curves import Split
from bpe_bench.training.trial import EpochRecord, SplitResult

MADE_ON = {"device": "abacus", "python": "3"}


def train(trial, checkpoint, options, report):
    """Train as the real one does; ``options`` say what goes wrong, by seed."""
    done, value = 0, trial.id
    if checkpoint is not None:
        done, value = int(checkpoint.split(b":")[0]), checkpoint.split(b":")[1].decode()
    note(options, "begin", trial, done)
    if "workers" in options:
        Path(options["workers"], str(os.getpid())).touch()
    for epoch in range(done + 1, trial.budget.epochs + 1):
        note(options, "start", trial, epoch)
        pause(trial, options)
        go_wrong(trial, epoch, options)
        value = hashlib.sha256(f"{value} {trial.id} {epoch}".encode()).hexdigest()
        loss = (
            float("nan") if trial.seed in options.get("diverge", ()) else int(value[:6], 16) / 1e6
        )
        results = {
            Split.TRAIN: SplitResult(int(value[:8], 16) % 5001, 5000, loss),
            Split.VALIDATION: SplitResult(int(value[8:16], 16) % 1001, 1000, loss),
        }
        record = EpochRecord(epoch, results, 0.25 + int(value[16:20], 16) / 2**16, epoch * 100)
        checkpoint = f"{epoch}:{value}:".encode() + bytes(options.get("size", 0))
        going_on = report(record, checkpoint, MADE_ON)
        note(options, "kept", trial, epoch)
        if not record.finite:
            return "diverged"
        if not going_on and epoch < trial.budget.epochs:
            return "planned"
    return "done"


def slowly(trial, checkpoint, options, report):
    """Train as above, a tenth of a second for an epoch."""
    return train(trial, checkpoint, {**options, "pause": 0.1}, report)


def not_eight_layers(trial, checkpoint, options, report):
    """Train as above; networks of eight layers cannot be trained."""
    wrong = [trial.seed] if trial.budget.layers == 8 else []
    return train(trial, checkpoint, {**options, "fail": wrong}, report)


def pause(trial, options):
    """Sleep until the time is over or the file ``hurry`` is there; trials on hold wait for it."""
    hurry = Path(options["hurry"]) if "hurry" in options else None
    until = time.monotonic() + options.get("pause", 0.0)
    while trial.seed in options.get("hold", ()) or time.monotonic() < until:
        if hurry is not None and hurry.exists():
            return
        time.sleep(0.005 if hurry is not None else max(0.0, until - time.monotonic()))


def go_wrong(trial, epoch, options):
    """Fail or die, as the options have it."""
    if trial.seed in options.get("fail", ()):
        raise ValueError("this network\n  cannot be trained")
    if trial.seed in options.get("exit", ()):
        raise SystemExit
    if trial.seed in options.get("die", ()) and epoch == 2:
        os.write(2, b"a line before\nout of luck\n")
        os.kill(os.getpid(), signal.SIGKILL)


def note(options, event, trial, epoch):
    """Add a line to the log, whole even if others write at the same time."""
    if "log" in options:
        file = os.open(options["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, f"{event} {trial.id} {epoch}\n".encode())
        finally:
            os.close(file)


def threads(trial, checkpoint, options, report):
    """Fail with what the worker was told about threads."""
    raise RuntimeError(f"{options['threads']} {os.environ['OMP_NUM_THREADS']}")


def __getattr__(name):
    if name == "deadly":
        os._exit(9)
    raise AttributeError(f"no {name} here")
