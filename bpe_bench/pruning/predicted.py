"""A surrogate as the source of correlations: any setting of a space, predicted, with its error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..budget import Budget, BudgetSpace, Value
from ..correlation import BudgetRow
from ..errors import SelectionError
from ..evidence import Evidence
from ..prediction import CostModel
from ..surrogate import FittedSurrogate
from .objective import FEWEST_SETTINGS, ObjectiveKind, check_varied, describe

_MOST_PREDICTED = 4096
"""Settings of a space that are looked at; of a larger space, a random sample."""
_MOST_ASKED = 512
"""Of these, settings that importance is judged by."""


@dataclass(frozen=True)
class Predicted:
    """Settings that need not have been trained: a surrogate says what they would give."""

    fitted: FittedSurrogate
    confidence: float
    pool: Evidence
    """The settings that importance is judged by."""
    known: Evidence
    """All settings that were predicted."""
    costs: CostModel
    notes: tuple[str, ...] = ()
    kind: ObjectiveKind = "surrogate"
    predicts_beyond: bool = False
    stopped: str = ""

    @classmethod
    def of(
        cls,
        fitted: FittedSurrogate,
        *,
        rng: np.random.Generator,
        vary: Mapping[str, Sequence[Value]] | None = None,
        confidence: float = 0.95,
        extrapolate: bool = False,
    ) -> Predicted:
        """Predict the settings of a space.

        Parameters
        ----------
        fitted
            Predicts correlations and costs of settings.
        rng
            Draws the settings of a space that is too large to list.
        vary
            Candidates of hyper-parameters. The others have the values that the surrogate
            was fitted on, where two of them were seen twice; else their usual value.
        confidence
            Nominal coverage of the intervals.
        extrapolate
            Allow candidates outside of what the surrogate was fitted on.

        Raises
        ------
        SelectionError
            If it predicts no correlation or no cost, a candidate is outside of what it was
            fitted on, or fewer than 4 settings are left.
        """
        seen = Evidence(tuple(BudgetRow.untrained(s.label, s.budget) for s in fitted.settings))
        wanted = space_of(seen, vary or {}).select(_MOST_PREDICTED, rng)
        budgets = [b for b in wanted if vary or seen.allows(b)]
        if len(budgets) < FEWEST_SETTINGS:
            raise SelectionError(
                f"pruning needs at least {FEWEST_SETTINGS} settings, found {len(budgets)} to "
                "predict; give more candidates with --vary"
            )
        rows = _predict(fitted, budgets, confidence, extrapolate)
        chosen = rng.permutation(len(rows))[:_MOST_ASKED]
        pool = Evidence(tuple(rows[place] for place in sorted(chosen)), fitted.error)
        check_varied(pool)
        return cls(
            fitted=fitted,
            confidence=confidence,
            pool=pool,
            known=Evidence(tuple(rows), fitted.error),
            costs=CostModel.fit(rows),
            notes=(*fitted.notes, *_caveats(fitted)),
        )

    @property
    def space(self) -> str:
        """Name of the search space."""
        return self.fitted.space

    @property
    def name(self) -> str:
        """What the surrogate's table was called."""
        return self.fitted.table

    @property
    def statistic(self) -> str:
        """Which correlation it predicts."""
        return self.fitted.statistic

    def evaluate(self, rows: Sequence[BudgetRow]) -> list[BudgetRow]:
        """Return settings as they are: all were predicted at once."""
        return list(rows)

    def hours(self, rows: Sequence[BudgetRow]) -> float:
        """Return the device hours of the trainings that the surrogate was fitted to."""
        seconds = [s.seconds for s in self.fitted.settings if math.isfinite(s.seconds)]
        return sum(seconds) * self.fitted.n_architectures / 3600

    def halves(self, rng: np.random.Generator) -> None:
        """Return None: a prediction has no architectures to halve."""


def space_of(seen: Evidence, vary: Mapping[str, Sequence[Value]]) -> BudgetSpace:
    """Return the values that were seen, candidates in their place where there are any."""
    space = BudgetSpace.of(seen.budgets)
    for name in space.free:
        if not seen.eligible(name):
            space = space.pin(name, seen.usual_value(name))
    return BudgetSpace({**space.values, **{name: tuple(values) for name, values in vary.items()}})


def _predict(
    fitted: FittedSurrogate, budgets: Sequence[Budget], confidence: float, extrapolate: bool
) -> list[BudgetRow]:
    found = fitted.correlation(budgets, confidence=confidence, extrapolate=extrapolate)
    costs = fitted.budget_cost(budgets, confidence=confidence, extrapolate=extrapolate)
    free = BudgetSpace.of(budgets).free
    return [
        BudgetRow.untrained(
            describe(budget, free),
            budget,
            correlation=float(found.value[place]),
            low=float(found.low[place]),
            high=float(found.high[place]),
            cost_seconds=float(costs.value[place]),
            device=fitted.device,
        )
        for place, budget in enumerate(budgets)
    ]


def _caveats(fitted: FittedSurrogate) -> list[str]:
    return [
        f"every correlation is predicted by a surrogate ({fitted.model}) of "
        f"{len(fitted.settings)} settings of {fitted.table or 'a table'}; on settings that it was "
        f"not fitted to it misses by {fitted.error:.3f} (root mean square)"
    ]
