"""Every method in every repeat, in one process or several, the same whatever their number."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ...inference import FloatArray
from ...processes import share_work
from .methods import Method
from .pool import Deal, Pool
from .trial import Trial, _OutOfHours


@dataclass(frozen=True)
class _Runs:
    """What each of M methods had found in R repeats after G spendings, in K runs each."""

    seen: tuple[FloatArray, ...]
    """By method, shape (R, K, G): the correlation that the incumbent was chosen by; NaN while
    there is none."""
    held_out: tuple[FloatArray, ...]
    """By method, shape (R, K, G): its correlation on the other half. 0 while there is no
    incumbent, as a choice at random ranks nothing."""
    best: FloatArray
    """Correlation of the pool's best setting on the scoring half, shape (R,)."""

    def regret(self, method: int) -> FloatArray:
        """Return how far what was found is below the pool's best on the scoring half, (R, K, G)."""
        return self.best[:, None, None] - self.held_out[method]


def _run_all(
    pool: Pool,
    methods: Sequence[Method],
    hours: FloatArray,
    *,
    repeats: int,
    seed: int,
    jobs: int = 1,
    on_progress: Callable[[float], None] | None = None,
) -> _Runs:
    """Run every method in every repeat.

    A repeat deals the architectures; every method then runs on the same halves, with draws of
    its own. The n-th repeat of a method is the same whatever else is run.

    Parameters
    ----------
    pool, methods
        What is chosen among, and by whom; both are sent to the processes.
    hours
        Device hours after which to look, shape (G,), ascending; the last is the allowance.
    repeats, seed, jobs
        How many repeats R, where their randomness comes from, and processes to share them.
    on_progress
        Called now and then with the share that is done.

    Raises
    ------
    ExecutionError
        If a process is killed.
    """
    task = _Task(pool, tuple(methods), hours, seed)
    found = share_work(task, range(repeats), jobs=jobs, on_progress=on_progress)
    count = len(methods)
    return _Runs(
        seen=tuple(np.array([one.seen[m] for one in found]) for m in range(count)),
        held_out=tuple(np.array([one.held_out[m] for one in found]) for m in range(count)),
        best=np.array([one.best for one in found]),
    )


@dataclass(frozen=True)
class _Repeat:
    """What all methods found in one repeat: by method, shape (K, G)."""

    seen: list[FloatArray]
    held_out: list[FloatArray]
    best: float


@dataclass(frozen=True)
class _Task:
    """What a process does with the number of a repeat."""

    pool: Pool
    methods: tuple[Method, ...]
    hours: FloatArray
    seed: int

    def __call__(self, repeat: int) -> _Repeat:
        deal = Deal(self.pool, self._rng("deal", repeat))
        found = [
            np.array([self._run(method, deal, rng) for rng in self._draws(method, repeat)])
            for method in self.methods
        ]
        best = float(deal.scores[self.pool.best])
        return _Repeat([one[:, 0] for one in found], [one[:, 1] for one in found], best)

    def _draws(self, method: Method, repeat: int) -> list[np.random.Generator]:
        return self._rng(method.name, repeat).spawn(method.draws)

    def _rng(self, what: str, repeat: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, zlib.crc32(what.encode()), repeat))

    def _run(self, method: Method, deal: Deal, rng: np.random.Generator) -> FloatArray:
        """Return what a method has seen, and what that brings, after every spending, (2, G)."""
        seconds = self.hours * 3600
        trial = Trial(deal, float(seconds[-1]), rng)
        with suppress(_OutOfHours):
            method.run(trial)
        incumbents, seen = trial.at(seconds)
        return np.array([seen, np.where(incumbents >= 0, deal.scores[incumbents], 0.0)])
