"""What the verbs print with: JSON lines, tables, a progress bar that only shows when it is needed."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

#: Nothing is shown for what takes less than this, in seconds.
PATIENCE = 1.0


def print_json(thing: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard output."""
    typer.echo(json.dumps(thing, allow_nan=False, ensure_ascii=False))


def warn(message: str) -> None:
    """One line on standard error."""
    typer.echo(f"unblur: {' '.join(message.split())}", err=True)


class Bar:
    """One line of a progress display; `update` may be called from anywhere, shown or not."""

    def __init__(self, display: Progress, what: str) -> None:
        self._display = display
        self._task = display.add_task(what, total=None)

    def update(self, done: int, total: int) -> None:
        """Steps that are done, and steps in all."""
        self._display.update(self._task, completed=done, total=total)


@contextmanager
def progress(what: str) -> Iterator[Bar]:
    """A progress bar on standard error, from the first second on and only on a terminal; gone when done."""
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    timer = threading.Timer(PATIENCE, display.start)
    timer.daemon = True
    timer.start()
    try:
        yield Bar(display, what)
    finally:
        timer.cancel()
        timer.join()
        display.stop()
