"""Importance with what it is worth: intervals, what the seed does, what can be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..budget import Budget, BudgetSpace, check_hyper_parameter, encode
from ..errors import SelectionError, unknown_name
from ..randomness import integer_seed
from .base import Groups, ImportanceEstimator, check_evidence, check_finite
from .caveats import reasons
from .estimators import get_estimator
from .fanova import FunctionalAnova
from .models import FloatArray

if TYPE_CHECKING:
    import pandas as pd

Draw = Callable[[int, np.random.Generator], FloatArray]
"""Draws correlations as other architectures might have given them, (resamples, S)."""

Source = Literal["settings", "architectures"]
SOURCES: tuple[Source, ...] = ("settings", "architectures")


@runtime_checkable
class InteractionEstimator(Protocol):
    """An estimator that also knows what groups do only together."""

    def effects(
        self, x: FloatArray, y: FloatArray, groups: Groups, rng: np.random.Generator
    ) -> FunctionalAnova:
        """Return main effects and interactions as shares of the model's variance."""


@dataclass(frozen=True)
class GroupImportance:
    """How much one group of hyper-parameters matters, or two only together."""

    label: str
    """Its names; those of an interaction with ``x`` between the groups."""
    value: float
    """On the data as they are, mean over the model's seeds."""
    mean: float
    """Mean over the resamples."""
    low: float
    high: float
    """Percentile interval over the resamples."""
    seed_sd: float
    """Standard deviation over the model's seeds on the data as they are."""
    data_sd: float
    """Standard deviation over the resamples, the part of the model's seed taken out."""
    first: float
    """Share of the resamples in which nothing matters more; ties count in part."""
    last: float
    """Share of the resamples in which nothing matters less; ties count in part."""
    reason: str = ""
    """Why the figures cannot be taken as they stand; empty if nothing is known against them."""


@dataclass(frozen=True)
class Separation:
    """Two groups compared over the same resamples."""

    first: str
    second: str
    difference: float
    """Importance of the first less that of the second, mean over the resamples."""
    low: float
    high: float
    """Percentile interval of the difference."""
    above: float
    """Share of the resamples in which the first matters more; ties count half."""
    judged: bool = True
    """Whether nothing is known against the figures of either (see `GroupImportance.reason`)."""

    @property
    def separable(self) -> bool:
        """Whether both can be judged and the interval of the difference leaves out 0."""
        return self.judged and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class ImportanceReport:
    """What an estimator says of each group of hyper-parameters, and how sure that is."""

    estimator: str
    summary: str
    share_of: str
    """What the values are shares of."""
    settings: int
    resampled: tuple[str, ...]
    """What was drawn anew: settings, architectures, or both."""
    resamples: int
    seeds: int
    """Seeds of the model on the data as they are."""
    confidence: float
    rows: tuple[GroupImportance, ...]
    """In the order of the groups."""
    interactions: tuple[GroupImportance, ...]
    """Of every two groups, if asked for."""
    pairs: tuple[Separation, ...]
    """Of every two groups."""
    warnings: tuple[str, ...]
    draws: FloatArray = field(repr=False, compare=False)
    """Shape (resamples x seeds each, G): what the intervals are taken from."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        plain = ("estimator", "summary", "share_of", "settings", "resamples", "seeds", "confidence")
        return {
            **{name: getattr(self, name) for name in plain},
            "resampled": list(self.resampled),
            "rows": [vars(row).copy() for row in self.rows],
            "interactions": [vars(row).copy() for row in self.interactions],
            "pairs": [{**vars(pair), "separable": pair.separable} for pair in self.pairs],
            "warnings": list(self.warnings),
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one line per group and interaction."""
        import pandas as pd

        return pd.DataFrame([vars(row) for row in (*self.rows, *self.interactions)]).set_index(
            "label"
        )

    def pairs_frame(self) -> pd.DataFrame:
        """Return one line per two groups."""
        import pandas as pd

        columns = (
            "first", "second", "difference", "low", "high", "above", "judged", "separable",
        )  # fmt: skip
        rows = [{name: getattr(pair, name) for name in columns} for pair in self.pairs]
        return pd.DataFrame(rows, columns=columns).set_index(["first", "second"])


def importance_report(
    settings: FloatArray | Sequence[Budget],
    correlations: npt.ArrayLike,
    draws: FloatArray | Draw | None = None,
    *,
    rng: np.random.Generator,
    estimator: str | ImportanceEstimator = "forest",
    names: Sequence[str] = (),
    groups: Sequence[Sequence[str]] = (),
    interactions: bool = False,
    resample: Sequence[Source] = SOURCES,
    resamples: int = 50,
    repeats: int = 2,
    seeds: int = 20,
    confidence: float = 0.95,
    progress: Callable[[float], None] | None = None,
) -> ImportanceReport:
    """Judge the importance of hyper-parameters, and how far the judgement can be trusted.

    Every resample has settings drawn with replacement and correlations as other
    architectures might have given them, and is judged with ``repeats`` seeds of
    the model. Of the variance of an importance, the mean over resamples of that
    between seeds is the seed's; the rest of the variance of the resamples' means
    is the data's (one-way random effects: Searle, Casella & McCulloch, 1992).

    Parameters
    ----------
    settings
        S budgets, or an array of shape (S, d).
    correlations
        Shape (S,).
    draws
        Correlations (resamples, S), or what draws them (``Evidence.draw``). None if
        nothing is known of the architectures; then only settings are resampled.
    rng
        Drives the resampling and the models.
    estimator
        A key of `bpe_bench.importance.ESTIMATORS`, or an estimator.
    names
        Of the d columns; for budgets, of the hyper-parameters to judge, by default
        those that vary.
    groups
        Names that are judged as one; what is in none is judged alone.
    interactions
        Whether to report what every two groups do only together. All values are
        then shares of the model's variance, not of the sum of the main effects.
    resample
        What to draw anew.
    resamples, repeats
        Resamples, and the model's seeds in each.
    seeds
        The model's seeds on the data as they are.
    confidence
        Of the percentile intervals, in (0, 1).
    progress
        Called with the share that is done.

    Raises
    ------
    UnknownNameError
        For an estimator, a name or a source that does not exist.
    SelectionError
        For fewer than two settings that differ, correlations that are not finite, or
        counts that are too small.
    OptionalDependencyError
        If the estimator needs a library that is not installed.
    """
    x, names = _columns(settings, names)
    y = np.asarray(correlations, dtype=np.float64)
    columns = _groups(names, groups)
    judge = _Judge.of(estimator, columns, interactions)
    _check_counts(resamples=resamples, repeats=repeats, seeds=seeds)
    _check_evidence(x, y, columns, confidence)
    over = _sources(resample, draws)
    drawn = _draw(y, draws if "architectures" in over else None, resamples, rng)
    if not judge.estimator.seeded:
        seeds, repeats = 1, 1
    as_it_is, resampled = _sample(
        judge, x, y, drawn, rng, "settings" in over, (seeds, repeats), progress
    )
    labels = [" + ".join(names[column] for column in group) for group in columns]
    rows = _summaries(labels, as_it_is, resampled, confidence, reasons(x, y, columns, labels))
    joint: tuple[GroupImportance, ...] = ()
    count = len(labels)
    if interactions and count > 1:
        both = [f"{first} x {second}" for first, second in itertools.combinations(labels, 2)]
        joint = _summaries(both, as_it_is[:, count:], resampled[..., count:], confidence)
    shares = resampled[..., :count].reshape(-1, count)
    return ImportanceReport(
        estimator=judge.name,
        summary=judge.estimator.summary,
        share_of="the variance of the model" if interactions else "the sum over the groups",
        settings=len(x),
        resampled=over,
        resamples=len(drawn),
        seeds=seeds,
        confidence=confidence,
        rows=rows,
        interactions=joint,
        pairs=_separations(rows, shares, confidence),
        warnings=_warnings(rows, shares, draws is None),
        draws=shares,
    )


@dataclass(frozen=True)
class _Judge:
    """An estimator with the question that it is asked."""

    name: str
    estimator: ImportanceEstimator
    columns: Groups
    interactions: bool

    @classmethod
    def of(
        cls, estimator: str | ImportanceEstimator, columns: Groups, interactions: bool
    ) -> _Judge:
        if isinstance(estimator, str):
            name, found = estimator, get_estimator(estimator)
        else:
            name, found = estimator.summary, estimator
        if interactions and not isinstance(found, InteractionEstimator):
            raise SelectionError(
                f"{name} knows no interactions; leave them out, or use the estimator fanova"
            )
        return cls(name, found, columns, interactions)

    def answer(self, x: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the G importances and, if asked for, those of every two groups, (K,)."""
        if self.interactions and isinstance(self.estimator, InteractionEstimator):
            effects = self.estimator.effects(x, y, self.columns, rng)
            return np.concatenate(
                [effects.mains, effects.pairs[np.triu_indices(len(self.columns), 1)]]
            )
        return self.estimator.importances(x, y, self.columns, rng)


def _sample(
    judge: _Judge,
    x: FloatArray,
    y: FloatArray,
    drawn: FloatArray,
    rng: np.random.Generator,
    settings: bool,
    counts: tuple[int, int],
    progress: Callable[[float], None] | None,
) -> tuple[FloatArray, FloatArray]:
    """Return answers on the data as they are, (seeds, K), and resampled, (B, repeats, K)."""
    seeds, repeats = counts
    size = drawn.shape
    # Drawn before any model takes from the generator, so that all estimators see the same.
    chosen = rng.integers(len(x), size=size) if settings else np.tile(np.arange(len(x)), size[:1])
    chosen = chosen.reshape(size)
    total = seeds + len(drawn) * repeats
    done = itertools.count(1)

    def answer(xs: FloatArray, ys: FloatArray) -> FloatArray:
        found = judge.answer(xs, ys, np.random.default_rng(integer_seed(rng)))
        if progress is not None:
            progress(next(done) / total)
        return found

    as_it_is = [answer(x, y) for _ in range(seeds)]
    resampled = [
        [answer(x[places], correlations[places]) for _ in range(repeats)]
        for places, correlations in zip(chosen, drawn, strict=True)
    ]
    return np.array(as_it_is), np.array(resampled)


def _columns(
    settings: FloatArray | Sequence[Budget], names: Sequence[str]
) -> tuple[FloatArray, list[str]]:
    """Return settings as an array (S, d), and the name of each column."""
    if isinstance(settings, np.ndarray):
        if settings.ndim != 2:
            raise SelectionError(f"settings must have shape (S, d), found {settings.shape}")
        found = list(names) or [f"column {place}" for place in range(settings.shape[1])]
        if len(found) != settings.shape[1] or len(set(found)) < len(found):
            raise SelectionError(
                f"{settings.shape[1]} columns need as many different names, found "
                f"{', '.join(found)}"
            )
        return np.asarray(settings, dtype=np.float64), found
    found = list(names or BudgetSpace.of(settings).free)
    if not found:
        raise _all_the_same(len(settings))
    return encode(settings, [check_hyper_parameter(name) for name in found]), found


def _groups(names: Sequence[str], groups: Sequence[Sequence[str]]) -> list[list[int]]:
    """Return the columns of each group, and of the names that are in none, in their order."""
    joined = [name for group in groups for name in group]
    for name in joined:
        if name not in names:
            raise unknown_name("hyper-parameter", name, names)
    alone = [[place] for place, name in enumerate(names) if name not in joined]
    return sorted([[names.index(name) for name in group] for group in groups] + alone)


def _sources(resample: Sequence[Source], draws: FloatArray | Draw | None) -> tuple[Source, ...]:
    for name in resample:
        if name not in SOURCES:
            raise unknown_name("source of variation", name, SOURCES)
    over = tuple(
        name for name in SOURCES if name in resample and (name == "settings" or draws is not None)
    )
    if not over:
        raise SelectionError(
            "there is nothing to resample: architectures need draws, found none; give draws, or "
            "resample settings"
        )
    return over


def _draw(
    y: FloatArray, draws: FloatArray | Draw | None, resamples: int, rng: np.random.Generator
) -> FloatArray:
    """Return correlations for each resample, (B, S)."""
    if draws is None:
        return np.tile(y, (resamples, 1))
    drawn = np.asarray(draws(resamples, rng) if callable(draws) else draws, dtype=np.float64)
    if drawn.ndim != 2 or drawn.shape[1] != len(y) or len(drawn) < 2:
        raise SelectionError(
            f"draws of the correlations must have shape (resamples of at least 2, {len(y)}), found "
            f"{drawn.shape}"
        )
    check_finite("drawn correlations", drawn.T)
    return drawn


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 2:
            raise SelectionError(f"{name} must be at least 2, found {value}")


def _check_evidence(x: FloatArray, y: FloatArray, columns: Groups, confidence: float) -> None:
    check_evidence(x, y, columns)
    if len(np.unique(x, axis=0)) < 2:
        raise _all_the_same(len(x))
    if not 0 < confidence < 1:
        raise SelectionError(f"confidence must be above 0 and below 1, found {confidence:g}")


def _all_the_same(settings: int) -> SelectionError:
    found = "only 1" if settings == 1 else f"{settings} that are the same in everything judged"
    return SelectionError(
        f"importance needs at least 2 settings that differ, found {found}; widen the selection"
    )


def _summaries(
    labels: Sequence[str],
    as_it_is: FloatArray,
    resampled: FloatArray,
    confidence: float,
    against: Sequence[str] = (),
) -> tuple[GroupImportance, ...]:
    """Return a row per label from answers (seeds, K) and (B, repeats, K)."""
    repeats, count = resampled.shape[1:]
    pooled = resampled.reshape(-1, count)
    low, high = _interval(pooled, confidence)
    seed_sd = as_it_is.std(axis=0, ddof=1) if len(as_it_is) > 1 else np.zeros(count)
    between = resampled.mean(axis=1).var(axis=0, ddof=1)
    within = resampled.var(axis=1, ddof=1).mean(axis=0) if repeats > 1 else np.zeros(count)
    figures = {
        "value": as_it_is.mean(axis=0),
        "mean": pooled.mean(axis=0),
        "low": low,
        "high": high,
        "seed_sd": seed_sd,
        "data_sd": np.sqrt(np.maximum(between - within / repeats, 0.0)),
        "first": _share_of_most(pooled),
        "last": _share_of_most(-pooled),
    }
    return tuple(
        GroupImportance(
            label=label,
            **{name: float(values[place]) for name, values in figures.items()},
            reason=against[place] if against else "",
        )
        for place, label in enumerate(labels)
    )


def _separations(
    rows: Sequence[GroupImportance], shares: FloatArray, confidence: float
) -> tuple[Separation, ...]:
    """Compare every two of G rows by their shares (B, G)."""
    found = []
    for (i, one), (j, other) in itertools.combinations(enumerate(rows), 2):
        lead = shares[:, i] - shares[:, j]
        low, high = _interval(lead, confidence).tolist()
        above = float(np.mean((np.sign(lead) + 1) / 2))
        judged = not one.reason and not other.reason
        found.append(
            Separation(one.label, other.label, float(lead.mean()), low, high, above, judged)
        )
    return tuple(found)


def _interval(values: FloatArray, confidence: float) -> FloatArray:
    """Return the percentiles between which the middle of the rows lies, (2, ...)."""
    tail = (1 - confidence) / 2
    bounds: FloatArray = np.quantile(values, [tail, 1 - tail], axis=0)
    return bounds


def _share_of_most(values: FloatArray) -> FloatArray:
    """Return the share of rows (B, K) in which each column is the largest, ties in part, (K,)."""
    most = values == values.max(axis=1, keepdims=True)
    share: FloatArray = (most / most.sum(axis=1, keepdims=True)).mean(axis=0)
    return share


def _warnings(
    rows: Sequence[GroupImportance], shares: FloatArray, no_draws: bool
) -> tuple[str, ...]:
    notes = [f"{row.label}: {row.reason}" for row in rows if row.reason]
    empty = float(np.mean(~shares.any(axis=1)))
    if empty > 0:
        notes.append(f"in {empty:.0%} of the resamples nothing was found to matter")
    if no_draws:
        notes.append(
            "no draws of the architectures were given, so the intervals hold for these "
            "architectures only"
        )
    return tuple(notes)
