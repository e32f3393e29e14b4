"""What a campaign brought: how many trainings, how long they took, and the best network."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..budget import NAMED_BUDGETS, Budget
from ..errors import duration, interval
from ..spaces import Architecture, get_space
from ..tables.curves import Split
from ..training.trial import Trial
from .campaign import Status
from .journal import Journal

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class BestNetwork:
    """The network with the highest final accuracy under the dearest budget of a campaign."""

    architecture: str
    budget: str
    name: str
    """Published name of the budget, or where it differs from the campaign's others."""
    split: Split
    """Validation, or test where all training images trained."""
    accuracy: float
    """After the last epoch, the mean over seeds."""
    low: float
    high: float
    """Wilson's 95 % interval over the images of the split."""
    images: int
    candidates: int
    """Networks that were trained to the end under the budget."""
    rival: float | None
    """Accuracy of the next best; None if there is none."""
    clear: bool
    """Whether the next best's interval lies below this one's."""

    @property
    def answer(self) -> str:
        """Say which network is best, and whether the next is clearly worse."""
        figure = f"{self.accuracy:.1%} {interval(100 * self.low, 100 * self.high, '{:.1f}')}"
        which = f"The best of {self.candidates}" if self.candidates > 1 else "The only network"
        said = (
            f"{which} under {self.name} has {figure} {self.split} accuracy on {self.images:,} "
            "images"
        )
        if self.rival is None:
            return f"{said}."
        clear = "clearly worse" if self.clear else "not clearly worse"
        return f"{said}; the next has {self.rival:.1%}, which is {clear}."


@dataclass(frozen=True)
class CampaignReport:
    """What a campaign brought."""

    status: Status
    """Of its store, which may hold other trials, too."""
    trainings: int
    done: int
    """Trainings of this campaign that ended well, now or before."""
    done_before: int
    """Trainings that were in the store before."""
    failed: int
    """Trainings that failed or diverged."""
    seconds: float
    """How long this run took, on the clock."""
    best: BestNetwork | None
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen for the user, by name."""

    @property
    def answer(self) -> str:
        """Say what was trained, how long it took, and which network is best or what to do."""
        data = f"{self.choices.get('space', 'networks')} on {self.choices.get('dataset', 'images')}"
        took = f"in {duration(self.seconds)}"
        if self.done_before:
            took = f"{self.done_before} of them before; this run took {duration(self.seconds)}"
        said = [f"{self.done} of {self.trainings} trainings of {data} are done, {took}."]
        if self.done_before == self.trainings:
            said = [
                f"All {self.trainings} trainings of {data} were in the store, so nothing was "
                "trained."
            ]
        if self.failed:
            said.append(
                f"{self.failed} failed or diverged; start them over with: bpe-bench train retry "
                f"--store {shlex.quote(self.status.store)}"
            )
        if self.best is not None:
            said.append(self.best.answer)
        return " ".join(said)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "answer": self.answer,
            **self.status.to_json(),
            "trainings": self.trainings,
            "done_before": self.done_before,
            "seconds": self.seconds,
            "best": None if self.best is None else asdict(self.best),
            "choices": dict(self.choices),
        }


def done_in(store: str | Path, trials: Sequence[Trial]) -> int:
    """Return how many of some trials a store has done; 0 if it does not exist."""
    if not Path(store).exists():
        return 0
    with Journal(store, read_only=True) as journal:
        found = [journal.find(trial) for trial in trials]
    return sum(entry is not None and entry.state == "done" for entry in found)


def report_campaign(
    trials: Sequence[Trial],
    status: Status,
    *,
    done_before: int,
    seconds: float,
    choices: Mapping[str, Any],
) -> CampaignReport:
    """Return what a campaign brought.

    Parameters
    ----------
    trials
        Its trials.
    status
        Of its store, after it ended.
    done_before
        Trials that were done before it began (`done_in`).
    seconds
        How long it ran.
    choices
        What was chosen for the user, by name.

    Raises
    ------
    JournalError
        If the store cannot be read.
    """
    with Journal(status.store, read_only=True) as journal:
        entries = [entry for trial in trials if (entry := journal.find(trial)) is not None]
    cost: dict[Budget, list[float]] = defaultdict(list)
    counts: dict[tuple[Budget, Architecture], list[tuple[float, Split, int]]] = defaultdict(list)
    for entry in entries:
        if entry.state == "done":
            last = entry.records[-1].results
            split = Split.VALIDATION if Split.VALIDATION in last else Split.TEST
            trial, result = entry.trial, last[split]
            cost[trial.budget].append(sum(record.seconds for record in entry.records))
            figure = (result.correct / result.size, split, result.size)
            counts[trial.budget, trial.architecture].append(figure)
    best = None
    if cost:
        dearest = max(cost, key=lambda budget: sum(cost[budget]) / len(cost[budget]))
        best = _best(
            dearest,
            _name(dearest, list(cost)),
            {a: found for (b, a), found in counts.items() if b == dearest},
        )
    return CampaignReport(
        status=status,
        trainings=len(trials),
        done=sum(entry.state == "done" for entry in entries),
        done_before=done_before,
        failed=sum(entry.state in ("failed", "diverged") for entry in entries),
        seconds=seconds,
        best=best,
        choices=choices,
    )


def _name(budget: Budget, others: Sequence[Budget]) -> str:
    """Return a budget's published name, or the values in which it differs from others."""
    for published, known in NAMED_BUDGETS.items():
        if budget == known:
            return published
    values = {
        name: value
        for name, value in budget.to_dict().items()
        if len({other.to_dict()[name] for other in others}) > 1
    }
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "their budget"


def _best(
    budget: Budget,
    name: str,
    results: Mapping[Architecture, Sequence[tuple[float, Split, int]]],
) -> BestNetwork:

    means = {a: sum(share for share, *_ in found) / len(found) for a, found in results.items()}
    first, *others = sorted(means, key=lambda architecture: -means[architecture])
    _, split, images = results[first][0]
    low, high = _wilson(means[first], images)
    rival = means[others[0]] if others else None
    return BestNetwork(
        architecture=get_space(first.space).format(first),
        budget=str(budget),
        name=name,
        split=split,
        accuracy=means[first],
        low=low,
        high=high,
        images=images,
        candidates=len(means),
        rival=rival,
        clear=rival is None or _wilson(rival, images)[1] < low,
    )


def _wilson(share: float, images: int) -> tuple[float, float]:
    """Return Wilson's interval of a share of images."""
    from scipy import stats

    found = stats.binomtest(round(share * images), images)
    low, high = found.proportion_ci(_CONFIDENCE, method="wilson")
    return float(low), float(high)
