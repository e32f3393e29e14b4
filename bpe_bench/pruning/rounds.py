"""The rounds of minimum importance pruning: judge, pin the least important, sample, repeat."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..budget import Budget, BudgetSpace, encode
from ..correlation.candidates import Candidate, Predicted, Ranked
from ..correlation.evidence import Evidence, covering
from ..correlation.prediction import predict
from ..errors import SelectionError
from ..hyper_parameters import Value
from ..importance import get_estimator, resampled_importances, separated, share_least
from ..inference import FloatArray, check_confidence
from .objective import Objective
from .report import Importance, Round

_ROOMY = 4096
"""An image size larger than any cutout, for comparing costs."""

_Group = tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """The parameters that the paper leaves open, and how sure a pruning must be."""

    importance: str = "forest"
    """A key of `bpe_bench.importance.ESTIMATORS`."""
    sequential: bool = True
    """Whether evidence is the settings sampled so far, a cheap covering design first, or the
    whole pool."""
    keep: int = 2
    """Stop when so many groups of hyper-parameters are left."""
    initial: int = 12
    per_round: int = 4
    """Settings to start with and to add per round, if sequential."""
    resamples: int = 50
    """Draws of settings and architectures behind every interval."""
    confidence: float = 0.95
    """Nominal coverage of the intervals."""
    patience: int = 5
    """After so many rounds in a row that abstained, pruning ends."""
    force: bool = False
    """Prune the least important group even if the data do not separate it from the next."""

    @property
    def fewest_resamples(self) -> int:
        """With fewer resamples their tail cannot be estimated."""
        return math.ceil(round(2 / (1 - self.confidence), 6))

    def __post_init__(self) -> None:
        get_estimator(self.importance)
        check_confidence(self.confidence)
        for name in ("keep", "initial", "per_round", "resamples", "patience"):
            value, least = getattr(self, name), 2 if name in ("resamples", "initial") else 1
            if value < least:
                raise SelectionError(f"{name} must be at least {least}, found {value}")


@dataclass
class _Pruning:
    """The state of a pruning: evidence, pinned values, and rounds."""

    objective: Objective
    rules: Rules
    rng: np.random.Generator
    progress: Callable[[float], None] | None = None
    evidence: Evidence = field(default_factory=lambda: Evidence(()))
    """The evidence so far."""
    pinned: dict[str, Value] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    answered: int = 0
    """Settings of the evidence that a forest predicted."""
    stop_reason: str = ""
    _asked: set[Budget] = field(default_factory=set)
    _expected: int = 1
    """Rounds that the pruning will take if none abstains."""

    def run(self) -> _Pruning:
        """Run all rounds, and return itself."""
        pool = self.objective.pool.rows
        first = covering(pool, (), self.rules.initial) if self.rules.sequential else pool
        added = self._evaluate(first)
        self._expected = max(1, len(self.open_groups()) - self.rules.keep)
        while not self._ended():
            done = self._round([row.label for row in added])
            self.rounds.append(done)
            if self._out_of_patience():
                self.stop_reason = _nothing_to_prune(done, "more evidence does not help")
                break
            added = self._evaluate(self._sample(done)) if self.rules.sequential else []
            if not done.pruned and not added:
                self.stop_reason = self.objective.stopped or _nothing_to_prune(done)
        return self

    def open_groups(self) -> list[_Group]:
        """Return the groups that pruning could still reach: not pinned, and varied in the pool."""
        pool = self.objective.pool
        names = [n for n in pool.varied if n not in self.pinned]
        return [g for g in pool.groups(names) if all(map(pool.eligible, g))]

    def kept(self) -> tuple[str, ...]:
        """Return the hyper-parameters that were not pruned, the most important first."""
        left = [n for g in self.open_groups() for n in g]
        last = self.rounds[-1].importances if self.rounds else {}
        return tuple(sorted(left, key=lambda n: -last[n].mean if n in last else 0.0))

    def remaining(self) -> BudgetSpace:
        """Return the remaining space: pruned values pinned, unjudged ones at the most common."""
        pool = self.objective.pool
        space = BudgetSpace.of(pool.budgets)
        open_names = {name for group in self.open_groups() for name in group}
        for name in space.free:
            if name in self.pinned:
                space = space.pin(name, self.pinned[name])
            elif name not in open_names:
                space = space.pin(name, pool.usual_value(name))
        return space

    def _ended(self) -> bool:
        """Return whether pruning is over, with the reason in `stop_reason`."""
        left = len(self.open_groups())
        if not self.stop_reason and left <= self.rules.keep:
            self.stop_reason = (
                f"{left} groups of hyper-parameters are left, the number to keep"
                if left == self.rules.keep
                else f"{self.rules.keep} groups of hyper-parameters are kept, and only {left} can "
                "be judged"
            )
        if not self.stop_reason and not self.evidence.rows:
            self.stop_reason = self.objective.stopped or "no setting has a correlation"
        return bool(self.stop_reason)

    def _out_of_patience(self) -> bool:
        """Return whether all of the last `patience` rounds abstained."""
        last = self.rounds[-self.rules.patience :] if self.rules.sequential else []
        return len(last) == self.rules.patience and all(done.abstained for done in last)

    def _evaluate(self, rows: Sequence[Candidate]) -> list[Ranked]:
        """Add settings to the evidence: those of the pool evaluated, predictions as they are."""
        self._asked |= {row.budget for row in rows}
        known = {row.label for row in self.objective.pool.rows}
        found = self.objective.evaluate([row for row in rows if row.label in known])
        found += [r for r in rows if isinstance(r, Predicted) and r.label not in known]
        error = max(self.evidence.surrogate_error, self.objective.known.surrogate_error)
        self.evidence = Evidence((*self.evidence.rows, *found), error)
        return found

    def _round(self, added: Sequence[str]) -> Round:
        pool = self.objective.pool
        names = [n for n in self.evidence.varied if n not in self.pinned]
        groups = [tuple(n for n in g if n in names) for g in pool.groups(pool.varied)]
        groups = [g for g in groups if g]
        shares = self._resample(groups)
        places = [p for p, g in enumerate(groups) if all(map(self.evidence.eligible, g))]
        ranked = sorted(places, key=lambda place: float(shares[:, place].mean()))
        spare = len(self.open_groups()) - self.rules.keep
        tail = (1 - self.rules.confidence) / 2
        enough = self.rules.resamples >= self.rules.fewest_resamples
        count = separated(shares[:, ranked], tail, spare) if enough else 0
        # Without force the smallest set that the data separate from all that stays.
        chosen = ranked[: 1 if self.rules.force else count] if spare > 0 else []
        named = chosen or ranked[:1]
        following = ranked[len(named) : len(named) + 1]
        pruned = tuple(name for place in chosen for name in groups[place])
        pins = {k: v for place in chosen for k, v in self._cheapest(groups[place]).items()}
        self.pinned.update(pins)
        return Round(
            evaluated=len(self.evidence.rows),
            added=tuple(added),
            importances=self._importances(groups, shares, places, tail),
            pruned=pruned,
            pinned_to=pins,
            least=tuple(name for place in named for name in groups[place]),
            next_least=tuple(name for place in following for name in groups[place]),
            separable=0 < count <= len(named),
            stability=share_least(shares[:, ranked], len(named)),
        )

    def _importances(
        self, groups: list[_Group], shares: FloatArray, eligible: Sequence[int], tail: float
    ) -> dict[str, Importance]:
        low, high = np.quantile(shares, [tail, 1 - tail], axis=0)
        return {
            name: Importance(
                mean=float(shares[:, place].mean()),
                low=float(low[place]),
                high=float(high[place]),
                eligible=place in eligible,
                moves_with=tuple(other for other in group if other != name),
            )
            for place, group in enumerate(groups)
            for name in group
        }

    def _resample(self, groups: list[_Group]) -> FloatArray:
        """Return importances (B, G), each from a resample of settings and architectures."""
        names = [name for group in groups for name in group]
        x = encode(self.evidence.budgets, names)
        columns = [[names.index(name) for name in group] for group in groups]
        if not groups:
            return np.empty((self.rules.resamples, 0))
        drawn = self.objective.draw(self.evidence, self.rules.resamples, self.rng)
        estimator = get_estimator(self.rules.importance)
        return resampled_importances(estimator, x, drawn, columns, self.rng, self._report)

    def _cheapest(self, group: _Group) -> dict[str, Value]:
        """Return the cheapest values of a group that were seen, all else being equal.

        Among equally cheap values (a schedule costs nothing) the most common is kept.
        """
        used = Counter(_values(b, group) for b in self.objective.precedents)
        seen = Counter(_values(b, group) for b in self.evidence.budgets)
        usual = sorted(seen, key=lambda values: (-used[values], -seen[values]))
        base = self.objective.pool.budgets[0].replace(cutout=0, image_size=_ROOMY)
        variants = [base.replace(**dict(zip(group, values, strict=True))) for values in usual]
        amounts = [cost.amount for cost in self.objective.costs.costs(variants)]
        best = usual[int(np.argmin(np.round(amounts, 6)))]
        return dict(zip(group, best, strict=True))

    def _sample(self, done: Round) -> list[Candidate]:
        """Return the settings to evaluate next, from the pool; when it is used up, predicted ones.

        After a round that abstained only the pool counts, because predictions from the evidence
        add no information.
        """
        if self.objective.stopped:
            return []
        wanted = self.rules.per_round
        pool = [
            row
            for row in self.objective.pool.rows
            if row.budget not in self._asked and self._allows(row.budget)
        ]
        chosen: list[Candidate] = covering(pool, self.evidence.rows, wanted)
        if len(chosen) < wanted and self.objective.predicts_beyond and not done.abstained:
            known = self._asked | {row.budget for row in chosen}
            asked, error = predict(
                self.objective.known, self.objective.costs, self.remaining(), known, self.rng
            )
            answered = covering(asked, (*self.evidence.rows, *chosen), wanted - len(chosen))
            self.answered += len(answered)
            chosen += answered
            self.evidence = Evidence(self.evidence.rows, error)
        return chosen

    def _allows(self, budget: Budget) -> bool:
        return all(getattr(budget, name) == value for name, value in self.pinned.items())

    def _report(self, share: float) -> None:
        """Report the share of a round that is done, as a share of all rounds expected."""
        if self.progress is not None:
            self.progress(min(1.0, (len(self.rounds) + share) / (self._expected + 1)))


def _values(budget: Budget, group: _Group) -> tuple[Value, ...]:
    return tuple(getattr(budget, name) for name in group)


def _nothing_to_prune(done: Round, why: str = "there is no more evidence") -> str:
    if not done.abstained:
        return "no hyper-parameter that is left varied enough to be judged"
    least = "+".join(done.least)
    if not done.next_least:
        return f"only {least} varied enough to be judged; --force prunes it all the same"
    return (
        f"the data do not separate {least} from {'+'.join(done.next_least)}, the next least "
        f"important, and {why}; --force prunes it all the same"
    )
