"""A live bar for what takes long: on stderr, and only where somebody looks."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from heeler.cli.output import stderr
from heeler.io_thread import IoThread

__all__ = ["counting", "followed"]

T = TypeVar("T")

LOOK_EVERY = 0.1  # seconds between two looks at what is left


class _Rate(ProgressColumn):
    """How many per second since the start."""

    def render(self, task: Task) -> Text:
        done, elapsed = task.completed, task.finished_time or task.elapsed
        return Text(f"{done / elapsed:,.0f}/s" if done and elapsed else "", style="dim")


@contextlib.contextmanager
def counting(what: str, total: int | None, *, keep: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar up to `total`; the block calls what it gets with how many are done by now.

    `keep` leaves the full bar there, as a part of the output.
    """
    console = stderr()
    if keep and console.is_terminal:
        console.print()
    progress = Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        console=console,
        transient=not keep,
        disable=not console.is_terminal,
    )
    bar = progress.add_task(what, total=total)
    with progress:
        yield lambda done: progress.update(bar, completed=done)


def followed(io: IoThread, what: str, total: int | None, work: Coroutine[Any, Any, T], left: Callable[[], int]) -> T:
    """Run the work on the I/O thread to its end, with a bar for what `left` says is still to do."""
    future = io.submit(work)
    try:
        if stderr().is_terminal:
            with counting(what, total) as count:
                while not concurrent.futures.wait([future], LOOK_EVERY).done:
                    count(max(0, (total or 0) - left()))
        return future.result()
    finally:
        future.cancel()
