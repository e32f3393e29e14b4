"""What processes do that share a journal; in a module of its own, so that they can import it."""

import random
import time

from bpe_bench.budget import BPE_1
from bpe_bench.execution.journal import Journal
from bpe_bench.spaces import get_space
from bpe_bench.tables.curves import Split
from bpe_bench.training.trial import EpochRecord, SplitResult, Trial


def work(path, worker, number, start):
    """Take trials until none is left; give back some, and return what was done.

    Nobody goes on before each has taken a trial, so that all work side by side.
    """
    done, turn, rng = [], 0, random.Random(number)
    start.wait(300)
    with Journal(path) as opened:
        while claim := opened.claim(worker, stale_after=1e9):
            turn += 1
            if turn == 1:
                start.wait(300)
            time.sleep(rng.uniform(0, 0.004))
            if turn % 7 == number:
                opened.release(claim.trial.id, worker)
                continue
            result = {Split.TEST: SplitResult(turn, 10**6, 0.5)}
            for epoch in range(len(claim.records) + 1, claim.trial.budget.epochs + 1):
                opened.record(claim.trial.id, worker, EpochRecord(epoch, result, 1.0, 1), b"x" * 99)
            opened.finish(claim.trial.id, worker, "done")
            done.append(claim.trial.id)
    return done


def make_one(path, seed, start):
    """Open a journal that may not be there yet, at the same time as others."""
    start.wait(300)
    trial = Trial(get_space("nas-bench-201").from_index(seed), BPE_1, "digits", seed=seed)
    with Journal(path) as opened:
        return opened.add([trial])
