"""What a table holds, and what can be asked of it, in sentences and as JSON values."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ..errors import ConstantInputWarning, listed, number
from ..files import to_json_value
from ..inference import noise_ceiling
from .curves import MEAN_OF_SEEDS, Split
from .table import Setting, Table


def description(table: Table, name: str) -> dict[str, Any]:
    """Return what a table holds, where it comes from and what it can be asked, as JSON values.

    Parameters
    ----------
    table
        The table.
    name
        What to call it.

    Returns
    -------
    dict
        ``answer``, one paragraph; ``table``, the name; the fields of `Table.describe`, where a
        setting also has ``published``, the name of its budget in a publication, and ``recorded``,
        a text; ``noise_ceiling``, by reference the Spearman correlation between its seeds; and
        ``budgets``, how many can be ranked at once.
    """
    described = table.describe()
    published = table.published_names()
    for setting in described["settings"]:
        label = setting["label"]
        setting |= {"published": published.get(label, ""), "recorded": _recorded(table, label)}
    ceilings = {label: _ceiling(table, label) for label in table.references}
    budgets = _rankable(table)
    return {
        "answer": _answer(table, name, budgets, ceilings),
        "table": name,
        **described,
        "noise_ceiling": to_json_value(ceilings),
        "budgets": budgets,
    }


def _answer(table: Table, name: str, budgets: int, ceilings: dict[str, float]) -> str:
    named = ["unknown images" if name == "unknown" else name for name in _datasets(table)]
    datasets = listed(named)
    number_of = f"{len(table.architectures):,} {table.space} architectures"
    holds = f"{name}: {number_of} in {_plural(len(table.settings), 'setting')} on {datasets}."
    sentences = [holds, _ranked(table, budgets), _noise(ceilings), _cost(table)]
    return " ".join(filter(None, sentences))


def _ranked(table: Table, budgets: int) -> str:
    if not table.references:
        longest = max(table.settings, key=lambda setting: setting.budget.epochs)
        return (
            "It cannot be ranked, because it names no full training; import it again and name the "
            f"setting, for instance --reference {longest.label}."
        )
    full = _full(table)
    if not budgets:
        return f"It cannot be ranked, because full training, {full!r}, is all that it holds."
    others = [name for name in _datasets(table)[1:] if len(table.references) > 1]
    more = f" ({table.dataset}; --dataset takes {listed(others)}, too)" if others else ""
    return f"{_plural(budgets, 'budget')} can be ranked against full training, {full!r}{more}."


def _full(table: Table) -> str:
    """Return the reference of the table's data set, or its only one."""
    labels = {table.setting(label).dataset: label for label in table.references}
    return labels.get(table.dataset, table.references[0])


def _datasets(table: Table) -> list[str]:
    """Return the data sets, the table's own first."""
    return [table.dataset, *sorted({s.dataset for s in table.settings} - {table.dataset})]


def _noise(ceilings: dict[str, float]) -> str:
    known = {label: number(ceiling) for label, ceiling in ceilings.items() if ceiling == ceiling}
    if not ceilings:
        return ""
    if not known:
        return "The noise ceiling is unknown, because full training has one seed."
    if len(ceilings) == 1:
        return f"The noise ceiling is {listed(list(known.values()))} (Spearman between its seeds)."
    each = listed([f"{ceiling} for {label}" for label, ceiling in known.items()])
    return f"The noise ceiling (Spearman between seeds) is {each}."


def _cost(table: Table) -> str:
    unknown = [s.label for s in table.settings if math.isnan(s.seconds)]
    if len(unknown) == len(table.settings):
        return "The cost of training is unknown."
    devices = table.devices()
    where = f" on {listed(devices)}" if devices else " on an unknown device"
    but = ""
    if unknown:
        named = listed(unknown) if len(unknown) < 4 else f"{len(unknown)} settings"
        but = f", unknown for {named}"
    return f"Cost is the time to train a network{where}{but}."


def _ceiling(table: Table, label: str) -> float:
    split = _split(table, table.setting(label))
    if split is None:
        return math.nan
    seeds = table.curves[label, split].accuracy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return noise_ceiling(seeds)


def _rankable(table: Table) -> int:
    """Return how many epochs were recorded on the table's data set where they can be ranked."""
    if not table.references:
        return 0
    full = table.setting(_full(table))
    epochs = 0
    for setting in table.settings:
        if setting.dataset == table.dataset:
            # On the split of full training, if that is of the same data set; else on its own.
            split = _split(table, full if full.dataset == table.dataset else setting)
            curves = table.curves.get((setting.label, split)) if split else None
            epochs += 0 if curves is None else int(curves.epochs.size)
    return max(epochs - (full.dataset == table.dataset), 0)


def _split(table: Table, setting: Setting) -> Split | None:
    """Return where a setting's accuracy is ranked, None if it was measured nowhere there."""
    known = table.splits(setting.label)
    return next((s for s in (Split.VALIDATION, Split.TEST) if s in known), None)


def _recorded(table: Table, label: str) -> str:
    """Return on which splits a setting was measured, how often and at how many epochs."""
    said: dict[str, list[str]] = {}
    for split in Split:
        if (label, split) in table.curves:
            curves = table.curves[label, split]
            own = len(curves.own_seeds)
            seeds = _plural(own, "seed") if own else "mean of seeds"
            if own and MEAN_OF_SEEDS in curves.seeds:
                seeds += " and their mean"
            epochs = int(curves.epochs.size)
            last = curves.epochs[0] == table.setting(label).budget.epochs
            one = "the last epoch" if last else f"epoch {curves.epochs[0]}"
            when = one if epochs == 1 else _plural(epochs, "epoch")
            said.setdefault(f"{when}, {seeds}", []).append(str(split))
    return "; ".join(f"{listed(splits)} accuracy: {what}" for what, splits in said.items())


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
