"""A surrogate as the source of correlations: it predicts any setting of a space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..budget import Budget, BudgetSpace
from ..correlation.candidates import Candidate, Cost, Predicted, Ranked
from ..correlation.evidence import Design, Evidence
from ..correlation.prediction import CostModel
from ..errors import SelectionError
from ..hyper_parameters import Value
from ..inference import ROUNDING, FloatArray
from ..randomness import settled
from ..surrogate import FittedSurrogate
from .objective import _FEWEST_SETTINGS, ObjectiveKind, _check_varied, _describe, _usable_row

_MOST_PREDICTED = 4096
"""So many settings of a space are predicted; of a larger space, a random sample."""
_MOST_ASKED = 512
"""So many of these settings are used to judge importance."""


@dataclass(frozen=True)
class SurrogateObjective:
    """Settings that need not have been trained; a surrogate predicts them."""

    fitted: FittedSurrogate
    confidence: float
    extrapolate: bool
    tied: Mapping[tuple[str, ...], frozenset[tuple[Value, ...]]]
    """Hyper-parameters that move together, and the combinations of values seen."""
    pool: Evidence
    """The settings that importance is judged by."""
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
    ) -> SurrogateObjective:
        """Predict the settings of a space.

        Parameters
        ----------
        fitted
            Predicts correlations and costs of settings.
        rng
            Draws the settings of a space that is too large to list.
        vary
            Values of hyper-parameters to vary. The others have the values that the surrogate
            was fitted to, if two of them were seen twice; else their most common value.
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
        error = fitted.error  # refuses a surrogate that predicts no correlation
        seen = Design(tuple(Candidate(label=s.label, budget=s.budget) for s in fitted.settings))
        wanted = _space_of(seen, vary or {}).select(_MOST_PREDICTED, rng)
        tied = _tied(seen, vary or {})
        budgets = [b for b in wanted if _allowed(b, tied)]
        if len(budgets) < _FEWEST_SETTINGS:
            raise SelectionError(
                f"pruning needs at least {_FEWEST_SETTINGS} settings, found {len(budgets)} to "
                "predict; give more candidates with --vary"
            )
        chosen = sorted(rng.permutation(len(budgets))[:_MOST_ASKED])
        rows = _predict(fitted, [budgets[n] for n in chosen], confidence, extrapolate)
        pool = Evidence(tuple(rows), error)
        _check_varied(pool)
        return cls(
            fitted=fitted,
            confidence=confidence,
            extrapolate=extrapolate,
            tied=tied,
            pool=pool,
            costs=CostModel.fit(rows),
            notes=(*fitted.notes, *_caveats(fitted)),
        )

    @property
    def space(self) -> str:
        """Name of the search space."""
        return self.fitted.space

    @property
    def name(self) -> str:
        """Name of the surrogate's table."""
        return self.fitted.table

    @property
    def statistic(self) -> str:
        """The correlation that it predicts."""
        return self.fitted.statistic

    @property
    def choices(self) -> Mapping[str, Any]:
        """What the surrogate was fitted to, and the values that vary."""
        space = BudgetSpace.of(self.pool.budgets)
        return {
            "dataset": self.fitted.dataset,
            "split": self.fitted.split,
            "architectures": self.fitted.n_architectures,
            "model": self.fitted.model,
            "vary": {name: list(space.values[name]) for name in space.free},
        }

    @property
    def known(self) -> Evidence:
        """The pool: all of it was predicted."""
        return self.pool

    @property
    def precedents(self) -> Sequence[Budget]:
        """The settings that the surrogate was fitted to."""
        return [setting.budget for setting in self.fitted.settings]

    def evaluate(self, rows: Sequence[Candidate]) -> list[Ranked]:
        """Return candidates as they were predicted, all at once."""
        known = {row.label: row for row in self.pool.rows}
        return [known[row.label] for row in rows]

    def draw(self, evidence: Evidence, resamples: int, rng: np.random.Generator) -> FloatArray:
        """Draw correlations as surrogates of other settings might have predicted them.

        A surrogate makes similar errors on similar settings, so independent noise of each
        setting would average out. Its K members, each fitted without one fold, show how much
        the whole prediction varies: with weights z ~ N(0, 1) the draws m̄ + √((K−1)/K) Σ z (m −
        m̄) have the covariance of the delete-a-group jackknife (Kott, 2001). Each setting's own
        error is added, too.
        """
        members = self._members(evidence.budgets)
        k, apart = len(members), members - members.mean(axis=0)
        moved = math.sqrt((k - 1) / k) * rng.normal(size=(resamples, k)) @ apart
        alone = rng.normal(0.0, evidence.surrogate_error, (resamples, members.shape[1]))
        return settled(evidence.correlations + moved + alone, least=ROUNDING)

    def offers(self, space: BudgetSpace, rng: np.random.Generator) -> Sequence[Ranked]:
        """Predict the settings of the remaining space, or a random sample of them."""
        wanted = [b for b in space.select(_MOST_PREDICTED, rng) if _allowed(b, self.tied)]
        return _predict(self.fitted, wanted, self.confidence, self.extrapolate)

    def _members(self, budgets: Sequence[Budget]) -> FloatArray:
        """Return the predictions of K members for S settings, (K, S)."""
        model = self.fitted.models["correlation"]
        columns = model.columns.of_budgets(budgets)
        return np.array([m.predict(columns) for m in model.ensembles["budget"].members])

    def hours(self, rows: Sequence[Candidate]) -> float:
        """Return the device hours of the trainings that the surrogate was fitted to."""
        seconds = [s.seconds for s in self.fitted.settings if math.isfinite(s.seconds)]
        return sum(seconds) * self.fitted.n_architectures / 3600

    def halves(self, rng: np.random.Generator) -> None:
        """Return None: a prediction has no architectures to divide."""


def _space_of(seen: Design, vary: Mapping[str, Sequence[Value]]) -> BudgetSpace:
    """Return the values seen of each hyper-parameter, or the values to vary if they are given."""
    space = BudgetSpace.of(seen.budgets)
    for name in space.free:
        if not seen.eligible(name):
            space = space.pin(name, seen.usual_value(name))
    return BudgetSpace({**space.values, **{name: tuple(values) for name, values in vary.items()}})


def _tied(
    seen: Design, vary: Mapping[str, Sequence[Value]]
) -> dict[tuple[str, ...], frozenset[tuple[Value, ...]]]:
    """Return hyper-parameters that move together and have no values of their own to vary."""
    groups = [g for g in seen.groups(seen.varied) if len(g) > 1 and not set(g) & set(vary)]
    return {g: frozenset(tuple(getattr(b, n) for n in g) for b in seen.budgets) for g in groups}


def _allowed(budget: Budget, tied: Mapping[tuple[str, ...], frozenset[tuple[Value, ...]]]) -> bool:
    return all(tuple(getattr(budget, n) for n in group) in known for group, known in tied.items())


def _predict(
    fitted: FittedSurrogate, budgets: Sequence[Budget], confidence: float, extrapolate: bool
) -> list[Predicted]:
    found = fitted.correlation(budgets, confidence=confidence, extrapolate=extrapolate)
    costs = fitted.budget_cost(budgets, confidence=confidence, extrapolate=extrapolate)
    free = BudgetSpace.of(budgets).free
    rows = [
        Candidate(
            label=_describe(budget, free),
            budget=budget,
            cost=Cost(float(costs.value[place]), device=fitted.device),
        ).predicted(*(float(bound[place]) for bound in (found.value, found.low, found.high)))
        for place, budget in enumerate(budgets)
    ]
    return [row for row in rows if _usable_row(row)]  # what costs are known of


def _caveats(fitted: FittedSurrogate) -> list[str]:
    return [
        f"every correlation is predicted by a surrogate ({fitted.model}) of "
        f"{len(fitted.settings)} settings of {fitted.table or 'a table'}; on settings that it was "
        f"not fitted to it misses by {fitted.error:.3f} (root mean square); the intervals of "
        "importances do not include that other architectures would have given other "
        "correlations"
    ]
