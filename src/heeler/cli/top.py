"""`heeler top`: queues, workers and running jobs, looked at again and again. It changes nothing."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import select
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from heeler.app import Heeler
from heeler.cli.durations import read_duration
from heeler.cli.find_app import find_app
from heeler.cli.options import AppOption, DebugOption
from heeler.cli.top_figures import QueueRates
from heeler.cli.top_screen import Picture, draw
from heeler.errors import BrokerUnavailable

__all__ = ["top"]

LISTENS_FOR = 0.1  # seconds between looks at the keyboard and the size of the terminal
PATIENCE = 0.5  # seconds that workers get to answer
QUIT_KEYS = b"qQ\x03\x04"  # with Ctrl-C and Ctrl-D, where the terminal does not make signals of them


def top(
    every: Annotated[str, typer.Option("--every", "-d", metavar="TIME", help="Look again after so long.")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.", show_default=False)] = False,
    app: AppOption = None,
    debug: DebugOption = False,
) -> None:
    """Show queues, workers and running jobs on the whole screen, and how fast jobs come and go.

    It only looks. q or Ctrl-C ends it; without a terminal one picture is printed.
    """
    seconds = read_duration(every, "--every")
    with find_app(app) as heeler:
        looks = _Looks(heeler)
        console = Console(highlight=False, markup=False, emoji=False)
        if once or not console.is_terminal:
            _print_once(looks, console)
            return
        with contextlib.suppress(KeyboardInterrupt), _keyboard() as keys:
            _watch(looks, console, keys, max(seconds, LISTENS_FOR))


class _Looks:
    """Looks that follow each other: each becomes a picture."""

    def __init__(self, heeler: Heeler) -> None:
        self._heeler = heeler
        self.clock = heeler.clock
        self._rates = QueueRates()
        self.picture = Picture(heeler.connections.shown_url, self._now(), fault="looking …")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time(), UTC).astimezone()

    def begin(self) -> concurrent.futures.Future[None]:
        """Look on the I/O thread; then `picture` is what was seen, or says why nothing was."""
        return self._heeler.connections.io.submit(self._look())

    async def _look(self) -> None:
        try:
            sizes = await self._heeler.queues.asizes()
            workers = await self._heeler.alive_workers(PATIENCE)
        except BrokerUnavailable as error:
            self.picture = replace(self.picture, at=self._now(), fault=str(error))
            return
        figures = self._rates.figures(self.clock.monotonic(), sizes, workers)
        self.picture = Picture(self._heeler.connections.shown_url, self._now(), figures, workers)


def _print_once(looks: _Looks, console: Console) -> None:
    """Two looks, because a rate is the difference between them."""
    looks.begin().result()
    select.select([], [], [], 1.0)
    looks.begin().result()
    console.print(draw(replace(looks.picture, keys=""), console.width, 10_000))


def _watch(looks: _Looks, console: Console, keys: int | None, every: float) -> None:
    clock = looks.clock
    with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
        looking = looks.begin()
        next_at = clock.monotonic() + every
        shown: object = None
        while True:
            if looking.done():
                looking.result()
                if clock.monotonic() >= next_at:
                    next_at = clock.monotonic() + every
                    looking = looks.begin()
            state = (looks.picture, console.size)
            if state != shown:
                shown = state
                live.update(draw(looks.picture, console.width, console.height), refresh=True)
            if _pressed(keys):
                return


def _pressed(keys: int | None) -> bool:
    """Listen for a moment; whether a key was pressed that ends it."""
    ready, _, _ = select.select([] if keys is None else [keys], [], [], LISTENS_FOR)
    if not ready or keys is None:
        return False
    pressed = os.read(keys, 64)
    return not pressed or any(key in QUIT_KEYS for key in pressed)


@contextlib.contextmanager
def _keyboard() -> Iterator[int | None]:
    """The keyboard, giving each key at once and showing none; None where there is none."""
    if not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    tty.setcbreak(keys)
    try:
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
