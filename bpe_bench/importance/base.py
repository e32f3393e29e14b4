"""The protocol of importance estimators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..errors import SelectionError
from ..randomness import SOLVED_DIGITS, settled
from .models import FloatArray

_Groups = Sequence[Sequence[int]]
"""Columns that move together and are judged as one."""


class ImportanceEstimator(Protocol):
    """Says how much each group of hyper-parameters matters for the correlation."""

    @property
    def summary(self) -> str:
        """What it is, in a few words."""

    def importances(
        self, x: FloatArray, y: FloatArray, groups: _Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the importance of each group, shape (G,), not negative, with sum 1.

        Parameters
        ----------
        x, y
            Settings (S, d) and their correlations (S,), finite; S of at least 2.
        groups
            G disjoint lists of columns.

        Returns
        -------
        array of shape (G,)
            All zero if the model found nothing that matters: no setting or no
            correlation differs from the others.

        Raises
        ------
        SelectionError
            If ``x`` and ``y`` or the groups are not of that form.
        """


def _check_evidence(x: FloatArray, y: FloatArray, groups: _Groups) -> None:
    """Refuse settings and groups that have no importance.

    Raises
    ------
    SelectionError
        For fewer than two settings, values that are not finite, and groups that are
        empty, overlap, or name columns that do not exist.
    """
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise SelectionError(
            f"importance needs settings (S, d) and their correlations (S,), found shapes {x.shape} "
            f"and {y.shape}"
        )
    if len(x) < 2:
        raise SelectionError(
            f"importance needs at least 2 settings, found {len(x)}; widen the selection"
        )
    _check_finite("correlations", y)
    _check_finite("values of hyper-parameters", x)
    named = [column for group in groups for column in group]
    if not groups or not all(map(len, groups)) or len(set(named)) < len(named):
        raise SelectionError(
            f"groups of columns must be disjoint and not empty, found {list(map(list, groups))}"
        )
    if min(named) < 0 or max(named) >= x.shape[1]:
        raise SelectionError(
            f"groups name columns {min(named)} to {max(named)}, but the settings have columns 0 to "
            f"{x.shape[1] - 1}"
        )


def _check_finite(what: str, values: FloatArray) -> None:
    """Raise `SelectionError` if a setting has a value that is NaN or infinite."""
    bad = ~np.isfinite(values)
    if bad.any():
        settings = int(bad.reshape(len(values), -1).any(axis=1).sum())
        raise SelectionError(
            f"{what} must be finite, found {'NaN' if np.isnan(values).any() else 'infinity'} in "
            f"{settings} of {len(values)} settings; leave them out"
        )


def _places(x: FloatArray, group: Sequence[int]) -> npt.NDArray[np.intp]:
    """Return the rank of each setting's values of a group among those seen, shape (S,)."""
    _, found = np.unique(x[:, list(group)], axis=0, return_inverse=True)
    return found.reshape(-1)


def _shares(values: FloatArray, floor: float) -> FloatArray:
    """Return values (G,) divided by their sum; values up to ``floor`` are rounding and become 0."""
    values = settled(np.where(values > floor, values, 0.0), SOLVED_DIGITS)
    total = values.sum()
    return values / total if total > 0 else values


def _square_floor(y: FloatArray) -> float:
    """Return up to which size values in squared correlations count as rounding."""
    return 1e-12 * float(np.mean(y**2))
