"""What ``bpe-bench tables`` prints of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._output import duration, grid, number, quoted, training_notes, usual_trainings, whole

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.budget import Budget

_HEAD = (
    "references", "splits", "source", "licence", "citation", "created", "builder", "content_sha256",
)  # fmt: skip


def described(description: Mapping[str, Any], budgets: Sequence[Budget]) -> list[RenderableType]:
    """Return a table's description: the answer, what to know, the settings, where they are from."""
    table = quoted(description["table"])
    parts: list[RenderableType] = [description["answer"], ""]
    if description["caveats"]:
        caveats = [{"": "caveat", "value": caveat} for caveat in description["caveats"]]
        parts += [grid(caveats, left=["", "value"], headers=False), ""]
    parts += [*_settings(description["settings"], budgets), ""]
    head = [{"": key.replace("_", " "), "value": _text(description[key])} for key in _HEAD]
    parts += [grid(head, left=["", "value"], headers=False), ""]
    if description["budgets"]:
        parts.append(whole(f"to rank its budgets:     bpe-bench correlate {table}"))
    return [*parts, whole(f"to see an architecture:  bpe-bench tables query {table} 0")]


def _text(value: Any) -> str:
    return (", ".join(value) if isinstance(value, list) else str(value)) or "–"


def _settings(rows: Sequence[Mapping[str, Any]], budgets: Sequence[Budget]) -> list[RenderableType]:
    """Return a line for each setting, and what is the same in most or in all."""
    training, usual = usual_trainings(budgets)
    differ = [name for name in _MAY_DIFFER if len({row[name] for row in rows}) > 1]
    cells: list[dict[str, str | None]] = [
        {
            "setting": f"{row['label']} ({row['published']})" if row["published"] else row["label"],
            "cost": duration(row["seconds"]) if row["seconds"] else number(None),
            "training": text,
            **{name.replace("dataset", "data set"): row[name] or "–" for name in differ},
        }
        for row, text in zip(rows, training, strict=True)
    ]
    parts: list[RenderableType] = [grid(cells, left=[name for name in cells[0] if name != "cost"])]
    parts += training_notes(training, usual)
    if "recorded" not in differ:
        parts.append(f"recorded: {rows[0]['recorded']}")
    return parts


_MAY_DIFFER = ("dataset", "device", "recorded")
