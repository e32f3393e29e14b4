"""All methods in all repeats; the results do not depend on the number of processes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ...inference import FloatArray
from ...processes import share_work
from .account import Account, _OutOfHours
from .methods import Method
from .pool import Deal, Pool


@dataclass(frozen=True)
class _Runs:
    """Settings found by M methods in R repeats with K runs each, after G amounts of hours."""

    seen: tuple[FloatArray, ...]
    """By method, shape (R, K, G): the correlation that the incumbent was chosen by; NaN before
    there is an incumbent."""
    held_out: tuple[FloatArray, ...]
    """By method, shape (R, K, G): its correlation on the other half. 0 before there is an
    incumbent, because a random choice has no correlation."""
    best: FloatArray
    """Correlation of the pool's best setting on the scoring half, shape (R,)."""

    def regret(self, method: int) -> FloatArray:
        """Return the regret: how far the setting found is below the pool's best, (R, K, G)."""
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

    A repeat divides the architectures; all methods run on the same halves, with their own
    random draws. The n-th repeat of a method does not depend on what else is run.

    Parameters
    ----------
    pool, methods
        The settings and the methods; both are sent to the processes.
    hours
        Device hours at which to record, shape (G,), ascending; the last is the allowance.
    repeats, seed, jobs
        Number of repeats R, their seed, and the number of processes.
    on_progress
        Called from time to time with the share of the work that is done.

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
    """Settings found in one repeat: by method, shape (K, G)."""

    seen: list[FloatArray]
    held_out: list[FloatArray]
    best: float


@dataclass(frozen=True)
class _Task:
    """The work of a process for the number of a repeat."""

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
        """Return choosing and held-out correlation after each amount of hours, (2, G)."""
        seconds = self.hours * 3600
        account = Account(deal, float(seconds[-1]), rng)
        with suppress(_OutOfHours):
            method.run(account)
        incumbents, seen = account.at(seconds)
        return np.array([seen, np.where(incumbents >= 0, deal.scores[incumbents], 0.0)])
