"""A process with a scheduler in it, told by JSON: where, with what clock, and when to stop or kill itself.

It writes a line when it is ready, and one with the broker's answer for each firing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from typing import Any

from heeler import Heeler
from heeler.clock import SystemClock


class WrongClock(SystemClock):
    """Wrong by `offset` seconds; with `jump` it goes wrong by so much in every other second besides."""

    def __init__(self, offset: float, jump: float) -> None:
        self._offset = offset
        self._jump = jump

    def time(self) -> float:  # type: ignore[override]
        now = time.time()
        return now + self._offset + (self._jump if int(now) % 2 else 0.0)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    told = json.loads(sys.argv[1])
    clock = WrongClock(told.get("offset", 0.0), told.get("jump", 0.0))
    lease = told.get("lease", 30.0)
    app = Heeler(told["url"], results=told.get("results"), namespace=told["namespace"], clock=clock, lease=lease)
    app.task(name="tick")(tick)
    broker: Any = app.connections.broker
    publish = broker.publish
    firings = 0

    async def watched(publication: Any) -> Any:
        nonlocal firings
        firings += 1
        if firings == told.get("stops_at"):
            say("stopping")
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread, so it goes not one step further
        answers = await publish(publication)
        say(" ".join(answer.answer.value for answer in answers))
        return answers

    broker.publish = watched
    if "dies_at" in told:
        reserve = broker.results.reserve
        reserved = 0

        async def fatal(publication: Any) -> Any:
            nonlocal reserved
            reserved += 1
            answers = await reserve(publication)
            if reserved == told["dies_at"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return answers

        broker.results.reserve = fatal
    scheduler = app.scheduler()
    scheduler.start()
    assert scheduler.wait_ready(30)
    say("ready")
    signal.signal(signal.SIGTERM, lambda number, frame: scheduler.stop())
    scheduler.wait()
    app.close()


def tick() -> None: ...


if __name__ == "__main__":
    main()
