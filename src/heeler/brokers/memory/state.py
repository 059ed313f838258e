"""What brokers of one name share in this process: all jobs and what belongs to them, under one lock.

Each step of the broker is a function over this state, called with the lock held: `publish.py`, `lease.py`,
`settle.py`, `administer.py`. A step takes the time once, changes the tables, and ends with `finish`, which wakes
and tells whom it concerns.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

from heeler.brokers.memory.carried_jobs import CarriedJobs
from heeler.brokers.memory.cells import Cells
from heeler.brokers.memory.dead_letters import DeadLetters
from heeler.brokers.memory.job import Job, Phase, current_record
from heeler.brokers.memory.latches import LatchTable
from heeler.brokers.memory.news import Mailbox, News
from heeler.brokers.memory.queue import MemoryQueue
from heeler.brokers.memory.records import Answers, EndedJobs
from heeler.brokers.memory.register import Register
from heeler.brokers.memory.schedule_table import ScheduleTable
from heeler.brokers.memory.wakeups import Alarm, Idle
from heeler.clock import Clock
from heeler.forks import call_in_child
from heeler.model import (
    Arrival,
    ArrivalKind,
    Command,
    EventBatch,
    Notice,
    TaskStatus,
    WorkerPresence,
    arrivals_of,
    cancelled_record,
)

__all__ = ["MemoryState", "shared_state"]

DEAD_LETTER_LIMIT = 10_000
DEAD_LETTER_TTL = 30 * 86400.0
_DUE_AT_ONCE = 10_000  # scheduled jobs of a queue that one step lets come due, so that a million do not stop the rest


class MemoryState:
    """The tables, and the few moves between them that several steps share."""

    def __init__(self, clock: Clock, max_payload: int) -> None:
        self.lock = threading.Lock()
        self.clock = clock
        self.max_payload = max_payload
        self.jobs: dict[str, Job] = {}  # all that have not ended
        self.leased: dict[str, Job] = {}
        self.queues: dict[str, MemoryQueue] = {}
        self.register = Register()  # of both
        self.ended = EndedJobs(self.register)
        self.carried = CarriedJobs()  # whose messages travel elsewhere
        self.dead = DeadLetters(DEAD_LETTER_LIMIT, DEAD_LETTER_TTL)
        self.latches = LatchTable(lambda notice, reply_to: self.news.tell_of(notice, reply_to))
        self.cells = Cells()
        self.schedules = ScheduleTable()
        self.publish_answers = Answers()
        self.settle_answers = Answers()
        self.carried_answers = {"reserve": Answers(), "apply": Answers()}
        self.news = News()
        self.idle = Idle()
        self.alarms: list[Alarm] = []
        self.workers: dict[str, WorkerPresence] = {}
        self.command_inboxes: dict[str, Mailbox[Command]] = {}
        self.followers: list[Mailbox[EventBatch]] = []
        self.first_lease_end = float("inf")  # no lease runs out before
        self._sequence = 0
        self._with_work: dict[MemoryQueue, int] = {}  # queues that got jobs in this step, where somebody is idle
        call_in_child(self.part_from_parent)

    def queue(self, name: str) -> MemoryQueue:
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = MemoryQueue(name)
        return queue

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def enqueue(self, job: Job) -> None:
        """Put a job that is in no line into its queue: behind all, or at its due time."""
        queue = self.queue(job.envelope.queue)
        if job.due_at is None:
            job.phase = Phase.WAITING
            queue.append(job)
            if self.idle:
                self._work_for(queue)
        else:
            self.schedule(queue, job, job.due_at)

    def schedule(self, queue: MemoryQueue, job: Job, due_at: float) -> None:
        job.phase = Phase.SCHEDULED
        job.due_at = job.since = due_at
        queue.timetable.add(job, due_at)
        self.ring_at(due_at)

    def put_back(self, job: Job) -> None:
        """A job that is in no line waits again at its old place."""
        queue = self.queue(job.envelope.queue)
        job.phase = Phase.WAITING
        job.due_at = None
        queue.put_back(job)
        if self.idle:
            self._work_for(queue)

    def ring_at(self, at: float) -> None:
        for alarm in self.alarms:
            alarm.set(at)

    def bring_back(self, queues: Sequence[MemoryQueue], now: float, at_most: int = _DUE_AT_ONCE) -> None:
        """Let scheduled jobs come due and leases run out."""
        for queue in queues:
            timetable = queue.timetable
            due_at = timetable.next_at()
            if due_at is not None and due_at <= now:
                for _, job in zip(range(at_most), timetable.pop_due(now), strict=False):
                    self.put_back(job)
        if self.first_lease_end <= now:
            first = float("inf")
            for job in tuple(self.leased.values()):
                if job.lease_until <= now:
                    del self.leased[job.envelope.id]
                    self.put_back(job)
                elif job.lease_until < first:
                    first = job.lease_until
            self.first_lease_end = first

    def bring_all_back(self, now: float) -> None:
        """`bring_back` for those who count and list: every job is where the clock says."""
        self.bring_back(tuple(self.queues.values()), now, at_most=len(self.jobs) + 1)

    def ring(self) -> float | None:
        """What the alarm does: bring back what is due, wake who waits for it, and say when to ring next."""
        with self.lock:
            now = self.clock.time()
            queues = tuple(self.queues.values())
            self.bring_back(queues, now)
            self.finish()
            times = [at for queue in queues if (at := queue.timetable.next_at()) is not None]
            following = min((*times, self.first_lease_end))
            return following if following < float("inf") else None

    def withdraw(self, job: Job) -> None:
        """Take a job out of the line, timetable or lease where it is."""
        if job.phase is Phase.LEASED:
            del self.leased[job.envelope.id]
        else:
            scheduled, job.phase = job.phase is Phase.SCHEDULED, Phase.OVER
            queue = self.queues[job.envelope.queue]
            queue.discard(job, scheduled=scheduled)

    def end_unrun(self, job: Job, reason: str, now: float) -> tuple[Arrival, ...]:
        """End a job as CANCELLED that no worker has; the caller has taken it out of its line.

        The answer is what its latches are to be told.
        """
        envelope = job.envelope
        record = cancelled_record(current_record(job, now), reason, now)
        job.phase = Phase.OVER
        del self.jobs[envelope.id]
        self.ended.keep(job.number, envelope, record, now)
        if self.news.heard(envelope):
            self.news.tell(envelope, Notice(id=envelope.id, status=TaskStatus.CANCELLED, record=record))
        return arrivals_of(envelope, ArrivalKind.SKIPPED)

    def finish(self) -> None:
        """End a step: wake who waits for work, tell who waits for news."""
        if self._with_work:
            for queue, jobs in self._with_work.items():
                self.idle.wake(queue, jobs)
            self._with_work.clear()
        self.news.flush()

    def forget_old(self, now: float, most: int) -> None:
        """Free what is over; each step that adds frees a little more than it adds."""
        self.ended.prune(now, most)
        self.latches.prune(now, most)

    def part_from_parent(self) -> None:
        """In a forked child: leave alone who waits on loops and threads that only exist in the parent."""
        self.lock = threading.Lock()
        self.news = News()
        self.idle = Idle()
        self.alarms = []
        self.command_inboxes = {}
        self.followers = []

    def _work_for(self, queue: MemoryQueue) -> None:
        self._with_work[queue] = self._with_work.get(queue, 0) + 1


_named: weakref.WeakValueDictionary[tuple[str, str], MemoryState] = weakref.WeakValueDictionary()
_named_lock = threading.Lock()


def shared_state(namespace: str, name: str | None, clock: Clock, max_payload: int) -> MemoryState:
    """The state of that name, as long as somebody holds it; without a name a new one."""
    if name is None:
        return MemoryState(clock, max_payload)
    with _named_lock:
        state = _named.get((namespace, name))
        if state is None:
            state = _named[namespace, name] = MemoryState(clock, max_payload)
        return state
