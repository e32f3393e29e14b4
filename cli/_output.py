"""Output: results to standard output, warnings and progress to standard error."""

from __future__ import annotations

import io
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bpe_bench.errors import duration as duration
from bpe_bench.errors import interval as interval
from bpe_bench.errors import number as number

from ._commands import refuse_overwriting

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from bpe_bench.budget import Budget

_MOST_WARNINGS = 3
"""So many warnings are read; JSON has all."""
_LOG_SECONDS = 30.0
"""Least time between two lines of progress in a log."""
_WIDTH = 100_000
"""Width of output to a file or a pipe, so that nothing is cut or wrapped."""


class Output:
    """One command's output, according to its common options."""

    def __init__(self, format_: str, output: Path | None, quiet: bool) -> None:
        self.format, self.output, self.quiet = format_, output, quiet
        if output is not None:
            check_file(output, "-o")

    def emit(
        self,
        json_value: Callable[[], Any],
        frame: Callable[[], pd.DataFrame],
        table: Callable[[], Sequence[RenderableType]],
    ) -> None:
        """Write the results in the chosen format."""
        if self.format == "json":
            text = json.dumps(json_value(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        elif self.format == "csv":
            text = _plain(frame()).to_csv()
        else:
            text = _render(table(), to_terminal=self.output is None)
        self.write(text)

    def write(self, text: str) -> None:
        """Write text to standard output, or completely to the file given."""
        if self.output is None:
            click.echo(text, nl=False)
            return
        from bpe_bench.files import write_whole

        try:
            write_whole(self.output, text)
        except OSError as error:
            raise _unwritable(self.output, error.strerror) from error

    def stream(self, pieces: Iterable[str]) -> None:
        """Write text in pieces, as it is too long to hold at once."""
        if self.output is None:
            for piece in pieces:
                click.echo(piece, nl=False)
            return
        from bpe_bench.files import replacing

        try:
            if self.output.exists() and not (self.output.is_file() or self.output.is_dir()):
                with self.output.open("w", encoding="utf-8") as file:  # a pipe or device
                    file.writelines(pieces)
                return
            with replacing(self.output) as temporary, temporary.open("w", encoding="utf-8") as file:
                file.writelines(pieces)
        except OSError as error:
            raise _unwritable(self.output, error.strerror) from error

    def warn(self, messages: Sequence[str], table: str | Path | None = None) -> None:
        """Write the first few warnings to standard error, a line each, and where the rest is.

        Parameters
        ----------
        messages
            The most important first.
        table
            The table whose caveats are among them.
        """
        if self.quiet:
            return
        for message in messages[:_MOST_WARNINGS]:
            click.echo(f"warning: {message}", err=True)
        if (rest := len(messages) - _MOST_WARNINGS) > 0:
            more = "1 more warning" if rest == 1 else f"{rest} more warnings"
            where = f" or bpe-bench tables info {quoted(table)}" if table else ""
            click.echo(f"{more}: --format json{where}", err=True)

    def note(self, message: str) -> None:
        """Say on standard error what was done."""
        if not self.quiet:
            click.echo(message, err=True)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[float], None]]:
        """Show the time left on standard error: as a bar, or in a log as a line now and then."""
        if self.quiet:
            yield lambda share: None
            return
        if not sys.stderr.isatty():
            yield _lines(what)
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=1.0)
            yield lambda share: bar.update(task, completed=share)


def _lines(what: str) -> Callable[[float], None]:
    """Return what logs the share done and the time left, at most every `_LOG_SECONDS`."""
    start = last = time.monotonic()

    def log(share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if share < 1 and now - last >= _LOG_SECONDS:
            last = now
            left = f", about {duration((now - start) * (1 - share) / share)} left" if share else ""
            click.echo(f"{what}: {share:.0%} done{left}", err=True)

    return log


def quoted(argument: str | Path) -> str:
    """Return an argument as a shell wants it, for a command to copy."""
    return shlex.quote(str(argument))


def check_file(path: Path, option: str) -> None:
    """Check that the file of an option can be written, before hours of work and not after."""
    from bpe_bench.files import check_writable

    refuse_overwriting(path, option)
    try:
        check_writable(path)
    except OSError as error:
        raise _unwritable(path, error.strerror, option) from error


def _unwritable(output: Path, reason: str | None, option: str = "-o") -> click.ClickException:
    return click.ClickException(f"cannot write {output}: {reason}; give another file with {option}")


def shape(budget: Budget) -> str:
    """Return epochs x layers x channels, pixels of a budget; only the epochs if that is all."""
    size = (budget.layers, budget.channels, budget.image_size)
    if not any(size):
        return f"{budget.epochs} epochs"
    layers, channels, pixels = ("?" if value is None else value for value in size)
    return f"{budget.epochs} x {layers} x {channels}, {pixels}"


def usual_trainings(budgets: Sequence[Budget]) -> tuple[list[str], str]:
    """Return a text for each budget, and what most budgets have and their texts leave out."""
    from bpe_bench.hyper_parameters import HYPER_PARAMETERS

    size = ("layers", "channels", "image_size")
    shaped = any(len({getattr(b, name) for b in budgets}) > 1 for name in size)
    names = [name for name in HYPER_PARAMETERS if not (shaped and name in ("epochs", *size))]
    usual = {}
    for name in names:
        for value, count in Counter(getattr(b, name) for b in budgets).most_common(1):
            if 2 * count > len(budgets):
                usual[name] = value
    texts = []
    for budget in budgets:
        values = {name: getattr(budget, name) for name in names}
        unusual = [n for n in names if n not in usual or values[n] != usual[n]]
        parts = [shape(budget)] if shaped else []
        texts.append(", ".join(parts + [_hyper_parameter(n, values[n]) for n in unusual]))
    known = [_hyper_parameter(n, value) for n, value in usual.items() if value is not None]
    unknown = [n.replace("_", " ") for n, value in usual.items() if value is None]
    said = [", ".join(known), f"unknown: {', '.join(unknown)}" if unknown else ""]
    return texts, "; ".join(filter(None, said))


def training_notes(texts: Sequence[str], usual: str) -> list[str]:
    """Return how to read the texts of `usual_trainings`, and what they leave out."""
    order = "epochs x layers x channels, pixels" if any(" x " in text for text in texts) else ""
    rest = usual and f"{'unless stated: ' if any(texts) else ''}{usual}"
    return [f"training: {'; '.join(filter(None, (order, rest)))}"] if order or rest else []


def _hyper_parameter(name: str, value: Any) -> str:
    """Return a value with a word that says what it is."""
    if value is None:
        return f"{name.replace('_', ' ')} unknown"
    patterns = {
        "batch_size": "batch {}",
        "learning_rate": "rate {:g}",
        "image_size": "{} pixels",
        "cutout": "cutout {}" if value else "no cutout",
        "data_fraction": "all images" if value == 1 else "{:.0%} of the images",
        "lr_schedule": "{}",
        "precision": "{}",
    }
    return patterns.get(name, f"{{}} {name}").format(value)


def whole(text: str) -> Text:
    """Return a line that is not wrapped, because it is there to be copied."""
    from rich.text import Text

    return Text(text, no_wrap=True)


def titled(title: str, text: str = "") -> Text:
    """Return a line that begins with a bold title."""
    from rich.text import Text

    return Text.assemble((title, "bold"), text)


def grid(
    rows: Sequence[Mapping[str, str | None]], *, left: Collection[str] = (), headers: bool = True
) -> Table:
    """Return a table of texts, without lines.

    Parameters
    ----------
    rows
        Cells by column, the same columns in all; None is shown as a dash.
    left
        Columns that start at the left and may be wrapped between words on a terminal, except
        the first, which has names to copy; the others are of numbers.
    headers
        Whether the columns' names stand above.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=headers)
    for place, name in enumerate(rows[0]):
        wrapped = place > 0 and name in left
        cells = [str(row[name] or "") for row in rows] + [name] * headers
        words = (part for cell in cells for part in (cell.split() if wrapped else [cell]))
        table.add_column(
            Text(name),
            justify="left" if name in left else "right",
            no_wrap=not wrapped,
            min_width=max(map(cell_len, words), default=1),
        )
    for row in rows:
        table.add_row(*(Text("–" if cell is None else cell) for cell in row.values()))
    return table


def plain_grid(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return rows of any values as a table."""
    shown = [{name.replace("_", " "): _cell(v) for name, v in row.items()} for row in rows]
    return grid(shown, left=list(shown[0]))


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows of values by name as a data frame, the first column its index.

    Lists become one text; the values of objects become columns.
    """
    import pandas as pd

    flat: list[dict[str, Any]] = []
    for row in rows:
        flat.append({})
        for name, value in row.items():
            items = value if isinstance(value, dict) else {name: value}
            for key, item in items.items():
                flat[-1][key] = item
    return pd.DataFrame(flat).set_index(next(iter(flat[0])))


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with lists and objects as text; objects as options take them, ``k=1,m=2``."""

    def cell(value: Any) -> Any:
        if isinstance(value, dict):
            return ",".join(f"{name}={item}" for name, item in value.items())
        if isinstance(value, list | tuple):
            texts = list(map(str, value))
            return ("; " if any(" " in text for text in texts) else " ").join(texts)
        return value

    mixed = [name for name in rows.columns if rows[name].dtype == object]
    return rows.assign(**{name: rows[name].map(cell) for name in mixed})


def _cell(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else value and str(value)


def _render(parts: Sequence[RenderableType], to_terminal: bool) -> str:
    from rich.console import Console
    from rich.measure import Measurement
    from rich.text import Text

    terminal = Console() if to_terminal else None
    # A dumb terminal counts as 80 columns wide whatever it is, so that cells would be cut.
    styled = terminal is not None and terminal.is_terminal and not terminal.is_dumb_terminal
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=styled,
        color_system="auto" if styled else None,
        width=_WIDTH,
        highlight=False,
    )
    width = terminal.width if styled and terminal else _WIDTH
    for part in parts:
        shown = Text(part) if isinstance(part, str) else part
        needed = Measurement.get(console, console.options, shown)
        wrapped = needed.minimum <= width and not getattr(shown, "no_wrap", False)
        console.print(shown, width=width if wrapped else needed.maximum)  # half wrapped is worse
    lines = (line.rstrip() for line in buffer.getvalue().splitlines())
    return "\n".join(lines) + "\n"
