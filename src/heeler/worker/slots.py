"""How much work fits: slots for what runs, and a read-ahead that is kept small enough never to be missed elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from heeler.worker.run import Run

__all__ = ["Lane", "Slots"]

READ_AHEAD_SECONDS = 0.05
READ_AHEAD_BYTES = 16 << 20
PATIENCE = 0.25  # how long a fetched job may wait for a slot here before another worker may have it
MEASURED_OVER = 0.01


class Lane(deque[Run]):
    """Runs that wait for something other than a slot: their task's own limit, or to run alone.

    `delay` is how long they stay away when they are given back, so that the next fetch brings other work.
    """

    def __init__(self, delay: float) -> None:
        super().__init__()
        self.delay = delay


class Slots:
    """Counts what this worker holds. Each number is written by one thread only, so no lock is needed.

    The I/O thread fetches into `line` and gives back what waited too long; the task loop takes from it. Both pop,
    which is atomic: who popped a run owns it.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.line: deque[Run] = deque()
        self.lanes: list[Lane] = []
        self.read_ahead = 0
        self.running = 0  # by the task loop
        self.ended = 0  # by the I/O thread when it hears of it, so what is on its way to it is still in hand
        self._fetched = 0
        self._given_back = 0
        self._rate = 0.0  # jobs ended per second while there was something to do
        self._measured_at: float | None = None
        self._measured_ended = 0
        self._body_bytes = 0.0  # of a job, on average

    @property
    def in_hand(self) -> int:
        """Jobs that are fetched and have neither ended nor been given back."""
        return self._fetched - self.ended - self._given_back

    @property
    def parked(self) -> int:
        return sum(map(len, self.lanes))

    def room(self) -> int:
        """How many jobs to fetch now; 0 while it is not worth a round trip."""
        # What is parked for a limit of its own keeps no place from others, unless it is very much.
        taken = self.in_hand - min(self.parked, self.concurrency)
        room = self.concurrency + self.read_ahead - taken
        return room if room > self.read_ahead // 2 else 0

    def room_bytes(self) -> int:
        """How many bytes of bodies to fetch at most."""
        return max(1, READ_AHEAD_BYTES - int(len(self.line) * self._body_bytes))

    def took(self, runs: list[Run], asked: int, now: float, aside: int = 0) -> None:
        """A fetch for `asked` jobs brought these: count them, put them in line, and set the next read-ahead.

        `aside` more came that are in hand, and not in line yet: they come by `ready`, or not at all by `give_back`.
        """
        self._fetched += aside
        if not runs:
            if aside:
                self._measure(now)
                self._set_read_ahead(aside, asked)
            return
        self._fetched += len(runs)
        self._body_bytes = sum([len(run.delivery.envelope.body) for run in runs]) / len(runs)
        self._measure(now)
        self._set_read_ahead(len(runs) + aside, asked)
        self.line.extend(runs)

    def ready(self, runs: list[Run], now: float) -> None:
        """These were aside, and are in line now."""
        for run in runs:
            run.waits_since = now
        self.line.extend(runs)

    def _set_read_ahead(self, came: int, asked: int) -> None:
        # Only while the line ran short of what was asked is more worth asking for.
        wanted = max(self.concurrency, 2 * self.read_ahead) if came >= asked else self.read_ahead
        self.read_ahead = min(wanted, int(self._rate * READ_AHEAD_SECONDS))

    def rest(self) -> None:
        """There is nothing to do: the time until the next job says nothing about how fast jobs end."""
        self._measured_at = None

    def stale(self, now: float) -> Iterator[tuple[Run, float]]:
        """Take out what has waited too long, with the delay after which it may come back."""
        before = now - PATIENCE
        if _oldest(self.line) <= before:
            self.read_ahead = 0
            self._rate = 0.0
            yield from ((run, 0.0) for run in self._pop_all(self.line))
        for lane in self.lanes:
            if _oldest(lane) <= before:
                yield from ((run, lane.delay) for run in self._pop_all(lane))

    def take_unstarted(self) -> list[Run]:
        """Take out everything that has not begun."""
        self.read_ahead = 0
        return [run for waiting in (self.line, *self.lanes) for run in self._pop_all(waiting)]

    def give_back(self, count: int) -> None:
        """So many runs that this thread popped, or ended by force, are not in hand any more."""
        self._given_back += count

    def _pop_all(self, waiting: deque[Run]) -> Iterable[Run]:
        while True:
            try:
                run = waiting.popleft()
            except IndexError:
                return
            self._given_back += 1
            yield run

    def _measure(self, now: float) -> None:
        ended = self.ended
        if self._measured_at is None:
            self._measured_at, self._measured_ended = now, ended
            return
        passed = now - self._measured_at
        if passed >= MEASURED_OVER:
            rate = (ended - self._measured_ended) / passed
            self._rate = rate if self._rate == 0.0 else (self._rate + rate) / 2
            self._measured_at, self._measured_ended = now, ended


def _oldest(waiting: deque[Run]) -> float:
    """When the first in line was fetched. The other thread may pop it while we look."""
    try:
        first = waiting[0]
        return first.fetched_at if first.waits_since is None else first.waits_since
    except IndexError:
        return float("inf")
