"""Progress bars on stderr for everything that can take over two seconds; silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[..., None]


def is_watched() -> bool:
    """Whether somebody sees what is drawn on stderr."""
    return sys.stderr.isatty()


@contextmanager
def progress(description: str, total: float | None, *, unit: str = "rows", verbose: bool = True) -> Iterator[Advance]:
    """A function `advance(n, note)` that moves a bar with rate and time left; `note` is shown at its end.

    Nothing is drawn when `verbose` is false or stderr is no terminal.
    """
    if not verbose or not is_watched():
        yield lambda n=0, note="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), rate]
    columns.append(TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bar:
        task = bar.add_task(description, total=total, rate="", note="")

        def advance(n: float = 0, note: str = "") -> None:
            bar.advance(task, n)
            speed = bar.tasks[task].speed
            rate = f"{speed:,.0f} {unit}/s" if speed else ""
            bar.update(task, rate=rate, note=note)

        yield advance
