"""What a table says of one architecture under one setting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SelectionError, duration
from ..files import to_json_value
from .curves import MEAN_OF_SEEDS, Split, _Seed

if TYPE_CHECKING:
    from .table import Table


@dataclass(frozen=True, slots=True)
class Result:
    """Accuracy and cost of one architecture under one setting of a table."""

    accuracy: float
    """A fraction in [0, 1]; NaN if this training is missing."""
    seconds: float
    """Device seconds up to the epoch: of this architecture where the table knows them, else the
    mean over architectures; NaN if unknown."""
    setting: str
    """Label of the setting."""
    split: Split
    epoch: int
    seed: _Seed
    """A recorded seed, or ``"mean"``."""
    trainings: int
    """Trainings behind the accuracy; 0 if it is missing, or its source gives only a mean."""
    device: str
    """Device of the seconds; empty if unknown."""
    name: str = ""
    """Published name of the setting's budget (BPE-1), if it has one."""

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        found = f"{self.split} accuracy {100 * self.accuracy:.2f} %"
        if math.isnan(self.accuracy):
            found = f"no {self.split} accuracy"
        seeds = f"seed {self.seed}"
        if self.seed == "mean":
            seeds = {0: "mean over seeds", 1: "one seed"}.get(
                self.trainings, f"mean of {self.trainings} seeds"
            )
        cost = "cost unknown"
        if not math.isnan(self.seconds):
            cost = " on ".join(filter(None, (duration(self.seconds), self.device)))
        setting = f"{self.setting} ({self.name})" if self.name else self.setting
        return f"{found} after epoch {self.epoch} of {setting}, {seeds}; {cost}"


def rows_of(
    table: Table, place: int, budget: str | None, split: Split | str | None, seed: _Seed
) -> list[dict[str, Any]]:
    """Return what `Table.results_of` does."""
    wanted = None if split is None else Split.of(split)
    every = [(setting, None) for setting in table.settings]
    chosen = every if budget is None else [table.setting_at(budget)]
    rows: list[dict[str, Any]] = []
    for setting, epoch in chosen:
        for measured in table.splits(setting.label):
            curves = table.curves[setting.label, measured]
            if wanted not in (None, measured) or seed not in ("mean", *curves.seeds.tolist()):
                continue
            values = curves.seed_accuracy(seed, epoch=epoch)
            found = table.query(place, setting.label, split=measured, seed=seed, epoch=epoch)
            row = to_json_value(found)
            known = not math.isnan(values[place])
            row["rank"] = 1 + int(np.sum(values > values[place])) if known else None
            rows.append(row | {"ranked": int(np.isfinite(values).sum())})
    if not rows:
        raise _nothing(table, [s.label for s, _ in chosen], budget, split, seed)
    return rows


def _nothing(
    table: Table, labels: list[str], budget: str | None, split: str | None, seed: _Seed
) -> SelectionError:
    """Return the error for a split or seed that none of the settings has."""
    own = {split: curves for (label, split), curves in table.curves.items() if label in labels}
    recorded = {n for curves in own.values() for n in curves.seeds.tolist()} - {MEAN_OF_SEEDS}
    seeds = ", ".join(["mean", *map(str, sorted(recorded))])
    asked = [f"split {split}"] * (split is not None) + [f"seed {seed}"] * (seed != "mean")
    return SelectionError(
        f"no result of {' and '.join(asked) or 'any split'} under {budget or 'any setting'}; there "
        f"are splits {', '.join(sorted(own))} and seeds {seeds}; ask for one of them"
    )
