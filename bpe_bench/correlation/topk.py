"""How well a ranking finds the best architectures, and how well chance alone would."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import RankingError
from ..inference import FloatArray
from ..ranking import best_rank_at_k, precision_at_k, regret_at_k
from ..tables.catalog import TableLike, given_table
from ..tables.table import Split
from .report import CorrelationReport
from .selection import accuracy_of

_MOST, _SHARE = 10, 3
"""By default the best third counts, at most so many."""


@dataclass(frozen=True)
class TopK:
    """The k that rank best, and beside each figure its mean over all random orders."""

    k: int
    precision_at_k: float
    """Share of them that are among the k of full training, too."""
    precision_at_k_chance: float
    regret_at_k: float
    """By how much the best of them is below the best of all under full training, as a fraction."""
    regret_at_k_chance: float
    best_rank_at_k: float
    """The rank of the best of them under full training, divided by the architectures."""
    best_rank_at_k_chance: float

    @classmethod
    def of(cls, accuracy: FloatArray, truth: FloatArray, k: int) -> TopK:
        """Return the figures of a ranking.

        Parameters
        ----------
        accuracy, truth
            Of the ranking and of full training, shape (n,). Of equal accuracies each is
            among the best with equal probability, and the expectation is given.
        k
            How many of the best count.

        Raises
        ------
        RankingError
            If k is not between 1 and n.

        Examples
        --------
        >>> TopK.of(np.array([4.0, 3, 2, 1]), np.array([0.4, 0.1, 0.3, 0.2]), 2).precision_at_k
        0.5
        """
        # In a ranking that says nothing all are equal, which is a random choice of k.
        nothing = np.zeros(len(truth))
        metrics = (precision_at_k, regret_at_k, best_rank_at_k)
        return cls(k, *(metric(x, truth, k) for metric in metrics for x in (accuracy, nothing)))


def default_k(architectures: int) -> int:
    """Return the default k: a third of the architectures, 1 to 10.

    Examples
    --------
    >>> [default_k(n) for n in (3, 6, 15_625)]
    [1, 2, 10]
    """
    return max(1, min(_MOST, architectures // _SHARE))


def with_top_k(
    table: TableLike, report: CorrelationReport, k: int | None = None
) -> CorrelationReport:
    """Return the report with how well each row finds the best architectures.

    Parameters
    ----------
    table
        The table that the report is of.
    report
        What `bpe_bench.correlation.correlate` returned.
    k
        How many of the best count; by default `default_k` of the row with most architectures.

    Raises
    ------
    RankingError
        If k is below 1, or no row has so many architectures.
    """
    table, _ = given_table(table)
    truth = table.accuracy(report.reference, Split(report.reference_split))
    known = np.isfinite(truth)
    most = max(row.n_architectures for row in report.rows)
    k = default_k(most) if k is None else k
    if not 1 <= k <= most:
        raise RankingError(
            f"k must be between 1 and the number of architectures, {most}; found {k}; give "
            "another (--top-k)"
        )
    few = [row.label for row in report.rows if row.n_architectures < k]
    rows = []
    for row in report.rows:
        if row.n_architectures >= k:
            accuracy = accuracy_of(table, row)
            both = known & np.isfinite(accuracy)
            row = replace(row, top=TopK.of(accuracy[both], truth[both], k))
        rows.append(row)
    notes = [f"{', '.join(few)}: fewer than {k} architectures, so no best {k}"] if few else []
    return replace(report, rows=tuple(rows), top_k=k, warnings=(*report.warnings, *notes))
