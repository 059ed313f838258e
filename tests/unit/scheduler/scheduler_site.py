"""Schedulers that share a store in memory, on the test's own loop, under a clock that the test drives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from heeler import Heeler
from heeler.clock import new_id
from heeler.errors import BrokerUnavailable
from heeler.model import Envelope
from heeler.scheduler import SchedulerLoop
from heeler.testing import ManualClock

__all__ = ["Doomed", "Process", "Site", "SkewedClock"]

TURNS = 10_000  # of the loop, within which everything that can happen without time has happened


class SkewedClock:
    """A machine whose clock is wrong. What it sleeps, it sleeps rightly: that is not reckoned by the clock."""

    def __init__(self, clock: ManualClock, offset: float = 0.0) -> None:
        self._clock = clock
        self.offset = offset

    def time(self) -> float:
        return self._clock.time() + self.offset

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def random(self) -> float:
        return self._clock.random()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class Doomed:
    """Lets a process die at one of its steps, before or after it is done: nothing that it does from then on arrives."""

    def __init__(self, steps: int, after: bool) -> None:
        self._left = steps
        self._after = after
        self.is_dead = False

    def step(self, verb: Callable[..., Any]) -> Callable[..., Any]:
        async def doomed(*args: Any, **kwargs: Any) -> Any:
            if self.is_dead:
                raise BrokerUnavailable("this process is dead")
            self._left -= 1
            if self._left == 0:
                self.is_dead = True
                if self._after:
                    await verb(*args, **kwargs)
                raise BrokerUnavailable("this process is dead")
            return await verb(*args, **kwargs)

        return doomed


class Process:
    """A process with an app, and perhaps a scheduler in it."""

    def __init__(self, site: Site, offset: float = 0.0, **options: Any) -> None:
        self.site = site
        self.clock = SkewedClock(site.clock, offset)
        given = options if "broker" in options else {"url": site.url, **options}
        self.app = Heeler(namespace=site.namespace, clock=self.clock, **given)
        self.app.task(name="work")(_work)
        self.loop: SchedulerLoop | None = None
        self.life: asyncio.Task[None] | None = None
        self.is_of_this_loop = False  # its broker was opened on the test's loop, and not on its I/O thread

    def start(self) -> None:
        make = self.app._scheduler_maker("scheduler")
        assert make is not None
        self.loop = make()
        self.is_of_this_loop = not self.app.connections.is_open
        self.life = asyncio.create_task(self.loop.run())

    def wrap(self, owner: Any, verb: str, wrapper: Callable[[Any], Any]) -> None:
        """Put something around a verb of this process's broker."""
        setattr(owner, verb, wrapper(getattr(owner, verb)))

    async def kill(self) -> None:
        if self.life is not None:
            self.life.cancel()
            await asyncio.gather(self.life, return_exceptions=True)
            self.life = None
        upkeep = getattr(self.app.connections.broker, "_upkeep", None)
        if upkeep is not None:
            await upkeep.close()

    async def close(self) -> None:
        await self.kill()
        if self.is_of_this_loop:
            await self.app.connections._close()
        await self.app.aclose()


class Site:
    """`url` names a broker in memory that all processes of the test share; its clock is `clock`."""

    sleepers = 1  # of each process with a scheduler

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.namespace = f"test-{new_id()}"
        self.url = f"memory://{new_id()}"
        self.processes: list[Process] = []
        self.first = self.process()  # so that the broker's clock is the right one
        self.schedules = self.first.app.schedules

    @property
    def work(self) -> Any:
        return self.first.app.tasks["work"]

    def process(self, offset: float = 0.0, **options: Any) -> Process:
        made = Process(self, offset, **options)
        self.processes.append(made)
        return made

    async def started(self, count: int = 1, offset: float = 0.0) -> list[Process]:
        """So many processes with a scheduler, all asleep."""
        made = [self.process(offset) for _ in range(count)]
        for one in made:
            one.start()
        await self.settled()
        return made

    async def settled(self) -> None:
        """Return when nothing happens any more until the clock goes on."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
            living = sum(one.life is not None and not one.life.done() for one in self.processes)
            if len(self.clock._sleepers) >= living * self.sleepers:
                break
        for _ in range(50):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settled()

    def published(self) -> list[Envelope]:
        """All jobs, in the order in which they would start."""
        jobs = self.first.app.queues.list_jobs("waiting", limit=100_000)
        return [record.envelope for record in jobs]

    def ids(self) -> list[str]:
        return [envelope.id for envelope in self.published()]

    def times(self) -> list[float]:
        """For which times, in seconds since the beginning, jobs were started."""
        begin = ManualClock().time()
        return [
            datetime.fromisoformat(envelope.headers["heeler-scheduled-for"]).timestamp() - begin
            for envelope in self.published()
        ]

    async def close(self) -> None:
        for one in self.processes:
            await one.close()


def _work(number: int = 0) -> int:
    return number
