"""Minimum importance pruning as one of the judged methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bpe_bench.pruning.rounds import _Pruning

from ...budget import Budget, BudgetSpace
from ...correlation.candidates import Candidate, Ranked
from ...correlation.evidence import Design, Evidence
from ...correlation.prediction import CostModel
from ...hyper_parameters import Value
from ...inference import FloatArray
from .. import ObjectiveKind, Rules
from .account import Account

_RESAMPLES = 4
"""Draws behind each importance; only their mean is used, no interval."""


@dataclass(frozen=True)
class _MinimumImportancePruning:
    """Prune the least important group at its cheapest value, sample the remaining space, repeat.

    It uses sequential evidence and prunes even where the data do not separate, because a method
    that abstains would not use its hours. When ``keep`` groups are left, the rest of the
    remaining space is evaluated, cheapest first. Then the last pruning is undone, then the one
    before, until the whole pool was evaluated.

    Raises
    ------
    UnknownNameError
        For an unknown importance estimator.
    SelectionError
        For an invalid rule.
    """

    importance: str = "forest"
    """A key of `bpe_bench.importance.ESTIMATORS`."""
    keep: int = 2
    """Groups at which pruning stops."""
    initial: int = 12
    per_round: int = 4
    """Settings to start with and to add per round."""
    resamples: int = _RESAMPLES
    draws: int = 1

    def __post_init__(self) -> None:
        self._rules()  # refuses what cannot be

    @property
    def name(self) -> str:
        """Its name."""
        return f"mip-{self.importance}"

    @property
    def summary(self) -> str:
        """What it does, in a few words."""
        return f"minimum importance pruning by {self.importance}"

    def run(self, account: Account) -> None:
        """Evaluate every setting, those of the pruned space first."""
        pruning = _Pruning(_Asked(account), self._rules(), account.rng)
        with suppress(_UsedUp):
            pruning.run()
        pins = [dict(done.pinned_to) for done in pruning.rounds if done.pruned]
        while True:
            pinned = {name: value for pin in pins for name, value in pin.items()}
            for place in account.pool.by_cost:
                if _allows(account.pool.rows[place], pinned):
                    account.evaluate(place)
            if not pins:
                return
            pins.pop()

    def _rules(self) -> Rules:
        return Rules(
            importance=self.importance,
            keep=self.keep,
            initial=self.initial,
            per_round=self.per_round,
            resamples=self.resamples,
            force=True,
        )


class _UsedUp(Exception):
    """Raised when the remaining space has no setting left, so further pruning has no effect."""


@dataclass
class _Asked:
    """The objective of a pruning that evaluates settings through an account."""

    account: Account
    gives_up: bool = True
    """Whether the pruning ends when the remaining space is used up."""
    notes: tuple[str, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)
    kind: ObjectiveKind = "replay"
    predicts_beyond: bool = False
    stopped: str = ""
    known: Evidence = field(default_factory=lambda: Evidence(()))

    @property
    def space(self) -> str:
        return self.account.pool.space

    @property
    def name(self) -> str:
        return self.account.pool.name

    @property
    def statistic(self) -> str:
        return self.account.pool.statistic

    @property
    def pool(self) -> Design:
        return self.account.pool.unseen

    @property
    def precedents(self) -> Sequence[Budget]:
        return self.pool.budgets

    @property
    def costs(self) -> CostModel:
        return self.account.pool.costs

    def evaluate(self, rows: Sequence[Candidate]) -> list[Ranked]:
        if not rows and self.gives_up:
            raise _UsedUp
        places = {row.label: place for place, row in enumerate(self.account.pool.rows)}
        estimates = [self.account.evaluate(places[row.label]) for row in rows]
        found: list[Ranked] = [
            row.measured(e)
            for row, e in zip(rows, estimates, strict=True)
            if math.isfinite(e.correlation)
        ]
        self.known = Evidence((*self.known.rows, *found))
        return found

    def draw(self, evidence: Evidence, resamples: int, rng: np.random.Generator) -> FloatArray:
        return evidence.draw(resamples, rng)

    def offers(self, space: BudgetSpace, rng: np.random.Generator) -> Sequence[Ranked]:
        return self.known.rows

    def hours(self, rows: Sequence[Candidate]) -> float:
        return sum(row.cost_seconds for row in rows) * self.account.pool.choosing / 3600

    def halves(self, rng: np.random.Generator) -> None:
        return None


def _allows(row: Candidate, pinned: dict[str, Value]) -> bool:
    return all(getattr(row.budget, name) == value for name, value in pinned.items())
