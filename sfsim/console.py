"""What the command shows: the progress of a run, tables, one line for an error."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from sfsim.errors import SfsimError
from sfsim.interruption import Interrupted, handled
from sfsim.names import shown

if TYPE_CHECKING:
    from sfsim.preview import Preview
    from sfsim.report.tables import Table
    from sfsim.results import Progress, Result

_LONGEST_CELL = 120  # characters; a path may be that long
_WIDE = 1000  # columns of a terminal that is none: in a file or a pipe a row is a line


def _out() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def line(text: str, style: str = "") -> None:
    """Print one line that is never wrapped, so that it can be searched for."""
    _out().print(shown(text), style=style, soft_wrap=True, markup=False)


def error(text: str) -> None:
    """Print one line on stderr, whatever line breaks `text` has."""
    print("error:", shown(" ".join(text.splitlines())), file=sys.stderr)


def stop(text: str) -> None:
    """Print one line on stderr about an end that is no error."""
    print(shown(text), file=sys.stderr)


def note(text: str) -> None:
    """Print one line on stderr about an answer that stands on stdout."""
    print("note:", shown(text), file=sys.stderr)


def table(content: "Table") -> None:
    """Print a table of the report."""
    drawn = RichTable(
        title=_cell(content.title), title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for i, name in enumerate(content.head):
        right = i in content.numbers
        drawn.add_column(_cell(name), justify="right" if right else "left", no_wrap=right, header_style="dim")
    for row in content.rows:
        drawn.add_row(*map(_cell, row))
    out = _out()
    out.print(drawn)
    out.print()


def _cell(text: str) -> Text:
    """Return a text that is no markup, whatever stands in it."""
    return Text(shown(text, _LONGEST_CELL))


def facts(record: Any) -> None:
    """Print the fields of a dataclass, one line each; what is empty is left out."""
    for field in fields(record):
        value = getattr(record, field.name)
        if value not in (None, "", ()) or field.name == "shape":
            line(f"{field.name.replace('_', ' ')}: {_words(value)}")


def _words(value: object) -> str:
    if isinstance(value, tuple):
        sides = all(isinstance(item, int) for item in value)
        return ("x" if sides else ", ").join(map(str, value)) or "scalar"
    if is_dataclass(value):
        return ", ".join(f"{field.name} {_words(getattr(value, field.name))}" for field in fields(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def rows(title: str, content: Sequence[Mapping[str, object]]) -> None:
    """Print rows that share their keys as a table."""
    from sfsim.report.tables import Table

    if content:
        lines = [tuple(str(value) for value in row.values()) for row in content]
        columns = list(zip(*lines, strict=True))
        numbers = {i for i, cells in enumerate(columns) if all(_is_number(cell) for cell in cells)}
        table(Table(title, tuple(content[0]), lines, frozenset(numbers)))


_MOST_CLIENTS = 40  # that are listed


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").isdigit()


def preview(world: "Preview") -> None:
    """Print what a scenario describes."""
    rows("Clients", world.clients[:_MOST_CLIENTS])
    if (more := len(world.clients) - _MOST_CLIENTS) > 0:
        line(f"... and {more:,} clients more")
    rows("Servers", world.servers)
    rows("Model", world.parts)
    rows("Channels", world.channels)
    rows("Messages of a global round", world.kinds)
    for words in filter(None, (world.round_words, world.wall_words)):
        line(words)
    up, down = world.raw_bytes_up, world.raw_bytes_down
    line(f"raw bytes per global round, float32 and without labels: {up:,} up, {down:,} down")


def summary(result: "Result") -> None:
    """Print what a run came to: target, bytes, seconds, and what never happened."""
    from sfsim.report.checks import checks
    from sfsim.report.tables import bytes_table, delay_table, outcome

    table(bytes_table(result))
    table(delay_table(result))
    for check in checks(result):
        line(str(check), "" if check.right else "bold red")
    for note in result.notes:
        line(f"note: {note}", "yellow")
    line(f"{result.name}: {outcome(result)}", "bold")
    line(f"run: {result.directory}")


def script(main: Callable[[], None]) -> None:
    """Run the main function of a script; what a user can cause becomes one line and exit code 2."""
    try:
        with handled():
            main()
    except SfsimError as wrong:
        error(str(wrong))
        sys.exit(2)
    except Interrupted as stopped:
        stop(str(stopped))
        sys.exit(stopped.exit_code)


@contextmanager
def progress(name: str, rounds: int, quiet: bool) -> Iterator[Callable[["Progress"], None]]:
    """Show how a run goes on: a bar on a terminal, a line per round on stderr otherwise.

    Parameters
    ----------
    name : str
        The scenario's name.
    rounds : int
        Global rounds to do.
    quiet : bool
        Show nothing at all.

    Yields
    ------
    callable
        Takes the newest `sfsim.results.Progress`.
    """
    if quiet:
        yield lambda now: None
    elif sys.stdout.isatty() and sys.stderr.isatty():
        with _bar(name, rounds) as show:
            yield show
    else:
        started_s = time.monotonic()

        def show(now: "Progress") -> None:
            if now.round == 0:  # not before: an error in the preparations stands alone
                note = f"; {now.note}" if now.note else ""
                print(f"{shown(name)}: {rounds} rounds{note}", file=sys.stderr, flush=True)
                return
            wall_s = time.monotonic() - started_s
            text = f"round {now.round}/{now.rounds}: simulated {now.time_s:.6g} s, wall {wall_s:.1f} s"
            print(text + _measured(now), file=sys.stderr, flush=True)

        yield show


@contextmanager
def _bar(name: str, rounds: int) -> Iterator[Callable[["Progress"], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[simulated]}"),
        TextColumn("wall"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(shown(name, 40), total=rounds, simulated="preparing")

        def show(now: "Progress") -> None:
            if now.note:
                bar.console.print(f"{shown(name)}: {now.note}", markup=False, highlight=False, soft_wrap=True)
            simulated = f"simulated {now.time_s:.4g} s{_measured(now)}"
            bar.update(task, completed=now.round, simulated=simulated)

        yield show


def _measured(now: "Progress") -> str:
    return f", {now.metric} {now.value:.4g}" if now.metric else ""
