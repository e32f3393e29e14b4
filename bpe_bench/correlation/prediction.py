"""Predicted correlation and cost of settings that nobody trained."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..budget import Budget, BudgetSpace, encode, encode_scaled
from ..errors import SelectionError
from ..hyper_parameters import HYPER_PARAMETERS
from ..importance import fit_forest
from ..inference import FloatArray
from ..randomness import SOLVED_DIGITS, settled
from .candidates import Candidate, Cost, Predicted
from .evidence import Evidence

_SINGULAR = 1e-9
"""Directions of the design below this share of the largest count as absent."""
_MOST_PREDICTED = 4096
"""So many settings of a space are predicted; of a larger space, a random sample."""


@dataclass(frozen=True)
class CostModel:
    """Log-linear regression of costs on the hyper-parameters and the device.

    log cost = b₀ + Σ b_j log(value_j) + indicators: cost grows by a power of epochs, layers,
    channels, ..., all else being equal. Plain means would not show that, because settings
    differ in several hyper-parameters at once.
    """

    coefficients: FloatArray
    names: tuple[str, ...]
    """Hyper-parameters in the regression: those that change the amount of arithmetic and are
    known for all settings. Apparent costs of the others are noise."""
    like: Cost
    """Unit and device of the predictions: those that most settings have."""
    error: float
    """Root mean square of the leave-one-out residuals of log cost."""

    @classmethod
    def fit(cls, rows: Sequence[Candidate]) -> CostModel:
        """Fit the settings of known cost.

        Raises
        ------
        SelectionError
            If no setting has a cost.
        """
        known = [row for row in rows if math.isfinite(row.cost.amount)]
        if not known:
            raise SelectionError(
                "pruning pins hyper-parameters at their cheapest value, but the table records no "
                "cost; add seconds to its settings"
            )
        usual = Counter(row.device for row in known).most_common(1)[0][0]
        other = np.array([[float(row.device != usual)] for row in known])
        unknown = BudgetSpace.of([row.budget for row in known]).unknown
        names = tuple(n for n, f in HYPER_PARAMETERS.items() if f.costs and n not in unknown)
        design = np.hstack([_cost_terms([row.budget for row in known], names), other])
        target = settled(np.log([row.cost.amount for row in known]))
        # Well above rounding, so that what counts as singular is the same on every machine.
        inverse = np.linalg.pinv(design, rcond=_SINGULAR)
        solved = inverse @ target
        leverage = np.clip((design * inverse.T).sum(axis=1), 0.0, 0.99)
        residuals = (target - design @ solved) / (1 - leverage)
        error = float(np.sqrt(np.mean(residuals**2)))
        coefficients = settled(solved, SOLVED_DIGITS, least=_SINGULAR)
        error = settled(error, SOLVED_DIGITS, least=_SINGULAR)
        like = Cost(unit=known[0].cost.unit, device=usual)
        return cls(coefficients[:-1], names, like, error)

    @property
    def device(self) -> str:
        """The device that predicted seconds are for."""
        return self.like.device

    def costs(self, budgets: Sequence[Budget]) -> list[Cost]:
        """Return what B budgets are predicted to cost per network."""
        # Row by row, not by BLAS: equal settings must cost the same wherever they stand.
        logs = (_cost_terms(budgets, self.names) * self.coefficients).sum(axis=1)
        return [replace(self.like, amount=float(amount)) for amount in settled(np.exp(logs))]


def _cost_terms(budgets: Sequence[Budget], names: Sequence[str]) -> FloatArray:
    """Return the columns of the regression, (B, 1 + names)."""
    return np.column_stack([np.ones(len(budgets)), encode_scaled(budgets, names)])


def predict(
    evidence: Evidence,
    costs: CostModel,
    space: BudgetSpace,
    known: set[Budget],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 50,
) -> tuple[list[Predicted], float]:
    """Predict the correlation of the settings of a space that were not evaluated.

    Forests fitted to resampled settings; each setting's out-of-bag prediction
    gives a residual, and their quantile the interval (jackknife+ after
    bootstrap: Kim, Xu, Barber, NeurIPS 2020, in its symmetric form).

    Returns
    -------
    rows
        With costs from the cost model.
    error
        Standard deviation of the out-of-bag residuals.
    """
    wanted = [b for b in space if b not in known and evidence.allows(b)]
    if not wanted:
        return [], 0.0
    if len(wanted) > _MOST_PREDICTED:
        chosen = rng.choice(len(wanted), _MOST_PREDICTED, replace=False)
        wanted = [wanted[place] for place in sorted(chosen)]
    names = evidence.varied
    x, asked = encode(evidence.budgets, names), encode(wanted, names)
    y = evidence.correlations
    answers = np.zeros(len(wanted))
    out, times = np.zeros(len(x)), np.zeros(len(x))
    for _ in range(resamples):
        chosen = rng.integers(len(x), size=len(x))
        model = fit_forest(x[chosen], y[chosen], rng, trees=5)
        answers += model.predict(asked) / resamples
        unseen = ~np.isin(np.arange(len(x)), chosen)
        out[unseen] += model.predict(x[unseen])
        times[unseen] += 1
    judged = times > 0
    residuals = np.abs(out[judged] / times[judged] - y[judged])
    level = min(1.0, math.ceil((residuals.size + 1) * confidence) / residuals.size)
    half = float(np.quantile(residuals, level))
    rows = [
        Candidate(label=_describe(budget, space), budget=budget, cost=cost).predicted(
            value, max(-1.0, value - half), min(1.0, value + half)
        )
        for budget, value, cost in zip(wanted, answers.tolist(), costs.costs(wanted), strict=True)
    ]
    return rows, float(np.sqrt(np.mean(residuals**2)))


def _describe(budget: Budget, space: BudgetSpace) -> str:
    return ",".join(f"{name}={getattr(budget, name)}" for name in space.free) or "pinned"
