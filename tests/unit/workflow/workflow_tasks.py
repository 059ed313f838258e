"""The tasks that the workflows of these tests are made of, and what they note of their runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from heeler import FailedRun, Heeler

__all__ = ["Shop", "until"]


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so that nobody tells of."""
    late = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < late, "it did not come about"
        time.sleep(0.005)


class Shop:
    """`runs` are the names and arguments of all runs, in order; `broken` names the arguments that `work` fails with."""

    def __init__(self, app: Heeler) -> None:
        self.app = app
        self.runs: list[tuple[Any, ...]] = []
        self.broken: set[Any] = set()
        self.noted = threading.Event()
        self.gate = threading.Event()

        @app.task(name="shop.add")
        def add(x: int, y: int) -> int:
            self.runs.append(("add", x, y))
            return x + y

        @app.task(name="shop.double")
        async def double(x: int) -> int:
            self.runs.append(("double", x))
            return 2 * x

        @app.task(name="shop.total")
        def total(parts: list[int]) -> int:
            self.runs.append(("total", len(parts)))
            return sum(parts)

        @app.task(name="shop.work")
        def work(x: Any, *rest: Any) -> Any:
            self.runs.append(("work", x, *rest))
            if x in self.broken:
                raise ValueError(f"cannot work on {x}")
            return x

        @app.task(name="shop.show")
        def show(value: Any, **more: Any) -> list[str]:
            self.runs.append(("show", value))
            shown = value if isinstance(value, list) else [value]
            return [type(item).__name__ for item in (*shown, *more.values())]

        @app.task(name="shop.note")
        def note(value: Any) -> None:
            self.runs.append(("note", value))
            self.noted.set()

        @app.task(name="shop.refund")
        def refund(failed: FailedRun) -> str:
            self.runs.append(("refund", failed))
            self.noted.set()
            return failed.id

        @app.task(name="shop.wait")
        async def wait(x: int) -> int:
            self.runs.append(("wait", x))
            while not await asyncio.to_thread(self.gate.wait, 0.01):
                pass
            return x

        self.add, self.double, self.total, self.work = add, double, total, work
        self.show, self.note, self.refund, self.wait = show, note, refund, wait

    def ran(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of the runs of one task."""
        return [arguments for called, *arguments in self.runs if called == name]  # type: ignore[misc]
