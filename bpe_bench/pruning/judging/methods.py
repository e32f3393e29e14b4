"""Methods of finding a good setting, by name; this module has the simple ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from ...correlation.evidence import covering
from ...errors import OptionalDependencyError, SelectionError, unknown_name
from ...importance import ESTIMATORS
from .account import Account
from .mip import _MinimumImportancePruning
from .tpe import _Tpe


class Method(Protocol):
    """Decides which settings to evaluate, in which order."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def summary(self) -> str:
        """What it does, in a few words."""

    @property
    def draws(self) -> int:
        """Runs per repeat, whose mean counts: more than 1 where a run is cheap and random."""

    def run(self, account: Account) -> None:
        """Evaluate settings until all are evaluated, or `OutOfHours` ends it.

        It must not look at the pool's own correlations; all randomness comes from ``account.rng``.
        """


@dataclass(frozen=True)
class _RandomSampling:
    """Settings in random order."""

    name: str = "random"
    summary: str = "settings in random order"
    draws: int = 20

    def run(self, account: Account) -> None:
        """Evaluate every setting."""
        for place in account.rng.permutation(len(account.pool.rows)):
            account.evaluate(int(place))


@dataclass(frozen=True)
class _CheapestFirst:
    """Settings in the order of their cost."""

    name: str = "cheapest-first"
    summary: str = "all settings, cheapest first"
    draws: int = 1

    def run(self, account: Account) -> None:
        """Evaluate every setting."""
        for place in account.pool.by_cost:
            account.evaluate(place)


@dataclass(frozen=True)
class _CoveringDesign:
    """The design that pruning starts with (`covering`), and no pruning.

    Minimum importance pruning without importances: first the settings that show the most values
    per second, then the cheapest.
    """

    name: str = "covering"
    summary: str = "the covering design that pruning starts with, then cheapest first"
    draws: int = 1

    def run(self, account: Account) -> None:
        """Evaluate every setting."""
        rows = account.pool.unseen.rows
        places = {row.label: place for place, row in enumerate(rows)}
        for row in covering(rows, (), len(rows)):
            account.evaluate(places[row.label])


@dataclass(frozen=True)
class _SuccessiveHalving:
    """Many settings on few architectures; the better half is continued with twice as many.

    Jamieson & Talwalkar (AISTATS 2016), with architectures as the resource. The first
    round takes the cheapest first, later ones the best first. When the last round is done,
    settings that were dropped are trained on the whole half, the last dropped first.
    """

    fewest: int = 6
    """Smallest number of architectures in the first round."""
    name: str = "halving"
    summary: str = "successive halving over architectures"
    draws: int = 1

    def run(self, account: Account) -> None:
        """Evaluate every setting, the promising ones on more architectures first."""
        left = list(account.pool.by_cost)
        dropped: list[int] = []
        for architectures in self.rounds(account.pool.choosing):
            scores = {p: account.evaluate(p, architectures).correlation for p in left}
            left.sort(key=lambda p: -scores[p] if math.isfinite(scores[p]) else math.inf)
            keep = math.ceil(len(left) / 2)
            dropped = left[keep:] + dropped
            left = left[:keep]
        for place in dropped:
            account.evaluate(place)

    def rounds(self, half: int) -> list[int]:
        """Return the number of architectures of each round; the last has the whole half.

        Examples
        --------
        >>> _SuccessiveHalving().rounds(50)
        [7, 13, 25, 50]
        """
        sizes = [half]
        while math.ceil(sizes[0] / 2) >= self.fewest:
            sizes.insert(0, math.ceil(sizes[0] / 2))
        return sizes


_SIMPLE = ("random", "cheapest-first", "covering", "halving", "tpe")
"""The methods that minimum importance pruning is compared with."""
_MIP = tuple(f"mip-{name}" for name in ESTIMATORS)
"""Minimum importance pruning by each estimator of importance."""
METHODS: tuple[str, ...] = (*_MIP, *_SIMPLE)
"""All methods by name; ``mip`` stands for all of `_MIP`."""
_NEED_OPTUNA = ("mip-ped-anova", "tpe")


def make_methods(
    names: Sequence[str] = (), *, keep: int = 2, initial: int = 12, per_round: int = 4
) -> tuple[list[Method], list[str]]:
    """Return methods by name, and notes on those that are left out.

    Parameters
    ----------
    names
        Names in `METHODS`, or ``mip``; by default all that are installed.
    keep, initial, per_round
        Of minimum importance pruning (`bpe_bench.pruning.Rules`).

    Raises
    ------
    UnknownNameError
        For a name that does not exist.
    OptionalDependencyError
        For a named method that needs Optuna, if Optuna is not installed.
    SelectionError
        For an invalid rule of pruning, or a single method.
    """
    wanted = list(dict.fromkeys(n for name in names for n in (_MIP if name == "mip" else (name,))))
    for name in wanted:
        if name not in METHODS:
            raise unknown_name("method", name, ("mip", *METHODS))
    absent = [] if find_spec("optuna") else list(_NEED_OPTUNA)
    asked = [name for name in absent if name in names]
    if asked:
        raise OptionalDependencyError(
            f"{asked[0]} needs Optuna, which is not installed; pip install 'bpe-bench[optuna]', or "
            "leave it out of --methods"
        )
    chosen = [name for name in wanted or METHODS if name not in absent]
    if len(chosen) < 2:
        raise SelectionError(
            f"at least 2 methods are compared, found {', '.join(chosen) or 'none'}; there are: "
            f"{', '.join(METHODS)}"
        )
    left_out = [name for name in wanted or METHODS if name in absent]
    notes = [f"left out, as Optuna is not installed: {', '.join(left_out)}"] if left_out else []
    return [_make(name, keep, initial, per_round) for name in chosen], notes


def _make(name: str, keep: int, initial: int, per_round: int) -> Method:
    if name.startswith("mip-"):
        return _MinimumImportancePruning(name.removeprefix("mip-"), keep, initial, per_round)
    simple: dict[str, Method] = {
        "random": _RandomSampling(),
        "cheapest-first": _CheapestFirst(),
        "covering": _CoveringDesign(),
        "halving": _SuccessiveHalving(),
        "tpe": _Tpe(),
    }
    return simple[name]
