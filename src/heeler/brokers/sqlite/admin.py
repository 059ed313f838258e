"""Administration of queues and dead letters in a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from heeler.brokers.sqlite import dead_letters
from heeler.brokers.sqlite.dead_letters import Parked
from heeler.brokers.sqlite.endings import end_unrun, withdraw
from heeler.brokers.sqlite.leases import bring_back
from heeler.brokers.sqlite.publishing import arrive
from heeler.brokers.sqlite.records import known_jobs
from heeler.brokers.sqlite.session import Session
from heeler.brokers.sqlite.sleepers import choose_some
from heeler.brokers.sqlite.step import Step
from heeler.brokers.sqlite.stored import decode_envelope
from heeler.contracts import JobState, QueueAdmin, QueueSize
from heeler.model import Arrival, DeadLetter, ResultRecord

__all__ = ["SqliteQueueAdmin"]

_BATCH = 500  # jobs in one transaction
_WOKEN_BY_RESUME = 100
_LISTS = {"waiting": "waiting_ids", "scheduled": "scheduled_ids", "running": "running_ids"}


class SqliteQueueAdmin(QueueAdmin):
    """Counts scan an index; what changes many rows does so in batches, between which others have their turn."""

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session

    async def sizes(self, queues: Sequence[str] | None = None) -> list[QueueSize]:
        with self._session().brisk.reading() as step:
            known = {name: (number, bool(paused)) for number, name, paused in step.run("all_queues")}
            leased = {queue: (running, lapsed) for queue, running, lapsed in step.run("count_leased", (step.now,))}
            dead = dict(step.run("count_dead", (step.now - step.limits.dead_letter_ttl,)).fetchall())
            sizes: list[QueueSize] = []
            for name in known if queues is None else queues:
                if name not in known:
                    sizes.append(QueueSize(queue=name))
                    continue
                number, paused = known[name]
                running, lapsed = leased.get(number, (0, 0))
                due, scheduled = step.row("count_scheduled", (number, step.now))
                (waiting,) = step.row("count_waiting", (number,))
                sizes.append(
                    QueueSize(
                        queue=name,
                        waiting=waiting + due + lapsed,
                        scheduled=scheduled,
                        running=running,
                        dead=dead.get(number, 0),
                        paused=paused,
                        oldest=_oldest(step, number),
                    )
                )
            return sizes

    async def list_jobs(
        self, state: JobState, queue: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[ResultRecord]:
        with self._session().step() as step:
            known = {name: number for number, name, _ in step.run("all_queues")}
            chosen = list(known.values()) if queue is None else [known[name] for name in (queue,) if name in known]
            bring_back(step, chosen)
            begin = None if after is None else _position(step, state, after)
            ids: list[str] = []
            for number in chosen:
                key = (-1000.0, -1.0)
                if begin is not None:
                    if number != begin[0]:
                        continue
                    key = begin[1:]
                    begin = None
                ids += [id for (id,) in step.run(_LISTS[state], (number, *key, limit - len(ids)))]
                if len(ids) >= limit:
                    break
            known = known_jobs(step, ids)
            records = [known[id].current_record(step.now) for id in ids if id in known]
            return [record for record in records if record is not None]

    async def peek(self, queue: str, limit: int = 1) -> list[ResultRecord]:
        return await self.list_jobs("waiting", queue, limit)

    async def purge(self, queue: str, *, scheduled: bool = False) -> int:
        with self._session().step() as step:
            number = step.queue(queue)
            until = step.draw_place()  # what is published from here on stays
        count = await self._purge(number, "first_waiting", until, queue)
        if scheduled:
            count += await self._purge(number, "first_scheduled", until, queue)
        return count

    async def _purge(self, number: int, statement: str, until: int, name: str) -> int:
        count = 0
        while True:
            with self._session().step(durable=True) as step:
                bring_back(step, (number,))
                rows = step.run(statement, (number, until, _BATCH)).fetchall()
                arrivals: list[Arrival] = []
                for seq, content in rows:
                    withdraw(step, seq)
                    arrivals += end_unrun(
                        step, seq, decode_envelope(content), f"dropped by a purge of the queue {name}"
                    )
                arrive(step, arrivals)
            count += len(rows)
            if len(rows) < _BATCH:
                return count
            await asyncio.sleep(0)

    async def pause(self, queue: str) -> None:
        with self._session().step(durable=True) as step:
            step.run("set_paused", (True, step.queue(queue)))

    async def resume(self, queue: str) -> None:
        with self._session().step(durable=True) as step:
            number = step.queue(queue)
            step.run("set_paused", (False, number))
            bring_back(step, (number,))
            choose_some(step, number, _WOKEN_BY_RESUME)

    async def dead_letters(
        self, queue: str | None = None, task: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[DeadLetter]:
        with self._session().brisk.reading() as step:
            return dead_letters.newest(step, queue, task, limit, after)

    async def dead_letter(self, id: str) -> DeadLetter | None:
        with self._session().brisk.reading() as step:
            found = dead_letters.with_ids(step, [id], None, None)
            return found[0].letter() if found else None

    async def redrive(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        return await self._each_dead(dead_letters.redrive, ids, queue, task)

    async def purge_dead(
        self, ids: Sequence[str] | None = None, *, queue: str | None = None, task: str | None = None
    ) -> int:
        return await self._each_dead(_drop_dead, ids, queue, task)

    async def _each_dead(
        self,
        change: Callable[[Step, Parked], bool],
        ids: Sequence[str] | None,
        queue: str | None,
        task: str | None,
    ) -> int:
        """For how many of the dead letters that are there now `change` said yes."""
        count = above = done = 0
        with self._session().brisk.reading() as step:
            (last,) = step.row("last_dead")  # one that is redriven and dies again meanwhile comes behind it
        while True:
            with self._session().step(durable=True) as step:
                if ids is None:
                    parked = dead_letters.oldest(step, queue, task, _BATCH, above, last)
                    is_last = len(parked) < _BATCH
                else:
                    parked = dead_letters.with_ids(step, ids[done : done + _BATCH], queue, task)
                    done += _BATCH
                    is_last = done >= len(ids)
                count += sum(change(step, letter) for letter in parked)
            if is_last:
                return count
            above = parked[-1].number if parked else above
            await asyncio.sleep(0)


def _drop_dead(step: Step, parked: Parked) -> bool:
    step.run("drop_dead", (parked.number,))
    return True


def _position(step: Step, state: JobState, id: str) -> tuple[int, float, float] | None:
    """The queue and the key after which a page begins; None if the job has left this state: it went by the front."""
    row = step.row("position", (id,))
    if row is None:
        return None
    queue, rank, at, place, is_waiting, is_scheduled, is_running = row
    if state == "scheduled":
        return (queue, at, place) if is_scheduled else None
    return (queue, rank, place) if (is_waiting if state == "waiting" else is_running) else None


def _oldest(step: Step, queue: int) -> float | None:
    since = [at for (at,) in step.run("oldest_by_rank", (queue,))]
    return max(0.0, step.now - min(since)) if since else None
