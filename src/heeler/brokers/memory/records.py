"""What is remembered of jobs that have ended, each for its own time; and of calls, for repeats after a lost reply."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any

import msgspec

from heeler.brokers.memory.register import Register
from heeler.model import CallId, Envelope, ResultRecord

__all__ = ["Answers", "Ended", "EndedJobs"]

_CALLS_KEPT = 32  # of one session
_SESSION_KEPT = 120.0  # seconds after its last call


class Ended(msgspec.Struct, frozen=True, gc=False):
    """A job that has ended: its record, or None where only the id stays reserved. `number`: in the register."""

    number: int
    record: ResultRecord | None
    fingerprint: bytes
    task: str
    forget_at: float


class EndedJobs:
    """The ended jobs by id. A job is gone at its moment; its memory is freed a little later, in small batches.

    What is forgotten is struck from the register.
    """

    __slots__ = ("_by_id", "_ids_by_second", "_register", "_seconds")

    def __init__(self, register: Register) -> None:
        self._register = register
        self._by_id: dict[str, Ended] = {}
        self._ids_by_second: dict[int, list[str]] = {}
        self._seconds: list[int] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def keep(self, number: int, envelope: Envelope, record: ResultRecord | None, now: float) -> None:
        """Remember the end of a job for `envelope.keep` seconds."""
        if not envelope.keeps_result:
            record = None
        if record is None or envelope.keep <= 0:
            self._register.strike(number)
            if not envelope.fingerprint or envelope.keep <= 0:
                return
        forget_at = now + envelope.keep
        earlier = self._by_id.get(envelope.id)
        if earlier is not None:  # its time was over, and its memory is not freed yet
            self._register.strike(earlier.number)
        self._by_id[envelope.id] = Ended(number, record, envelope.fingerprint, envelope.task, forget_at)
        self._free_at(envelope.id, forget_at)

    def get(self, id: str, now: float) -> Ended | None:
        ended = self._by_id.get(id)
        return ended if ended is not None and ended.forget_at > now else None

    def forget(self, id: str, now: float) -> bool:
        """Drop the record; an id that a caller gave stays reserved. Whether there was a record."""
        ended = self.get(id, now)
        if ended is None or ended.record is None:
            return False
        self._register.strike(ended.number)
        if ended.fingerprint:
            self._by_id[id] = msgspec.structs.replace(ended, record=None)
        else:
            del self._by_id[id]
        return True

    def expire(self, id: str, forget_at: float, now: float) -> None:
        """Keep what is known of an ended job until that time."""
        ended = self.get(id, now)
        if ended is not None:
            self._by_id[id] = msgspec.structs.replace(ended, forget_at=forget_at)
            self._free_at(id, forget_at)

    def _free_at(self, id: str, forget_at: float) -> None:
        second = int(forget_at) + 1
        ids = self._ids_by_second.get(second)
        if ids is None:
            self._ids_by_second[second] = [id]
            heapq.heappush(self._seconds, second)
        else:
            ids.append(id)

    def remove(self, id: str) -> None:
        """The job lives again, under another number."""
        ended = self._by_id.pop(id, None)
        if ended is not None:
            self._register.strike(ended.number)

    def prune(self, now: float, most: int) -> None:
        """Free up to `most` jobs whose time is over."""
        while most > 0 and self._seconds and self._seconds[0] <= now:
            ids = self._ids_by_second[self._seconds[0]]
            while ids and most > 0:
                job_id = ids.pop()
                most -= 1
                ended = self._by_id.get(job_id)
                if ended is not None and ended.forget_at <= now:
                    del self._by_id[job_id]
                    self._register.strike(ended.number)
            if not ids:
                del self._ids_by_second[heapq.heappop(self._seconds)]


class _Session:
    __slots__ = ("answers", "last_call", "order")

    def __init__(self) -> None:
        self.answers: dict[int, list[Any]] = {}
        self.order: deque[int] = deque()
        self.last_call = 0.0


class Answers:
    """The answers to the last calls of each session of one verb."""

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}  # the one that called last is last

    def find(self, call: CallId | None, now: float) -> list[Any] | None:
        """The answer to a call that was carried out before, else None."""
        if call is None:
            return None
        session = self._sessions.get(call.session)
        if session is None or session.last_call + _SESSION_KEPT <= now:
            return None
        return session.answers.get(call.number)

    def keep(self, call: CallId | None, answer: list[Any], now: float) -> None:
        if call is None:
            return
        session = self._sessions.pop(call.session, None) or _Session()
        self._sessions[call.session] = session
        session.last_call = now
        session.answers[call.number] = answer
        session.order.append(call.number)
        if len(session.order) > _CALLS_KEPT:
            session.answers.pop(session.order.popleft(), None)
        oldest = next(iter(self._sessions))
        if self._sessions[oldest].last_call + _SESSION_KEPT <= now:
            del self._sessions[oldest]
