"""The step that makes a job new again that had ended: by a redrive of its dead letter, or from its record."""

from __future__ import annotations

from heeler.brokers.memory.job import Job, current_record
from heeler.brokers.memory.publish import arrive
from heeler.brokers.memory.state import MemoryState
from heeler.model import ArrivalKind, Envelope, Notice, TaskStatus, arrivals_of

__all__ = ["live_again", "revive"]


def live_again(state: MemoryState, envelope: Envelope, epoch: int, now: float) -> bool:
    """Whether the job is READY again, with its counters at zero: not if a job of its id has not ended."""
    if envelope.id in state.jobs:
        return False
    state.dead.remove(envelope.id)
    state.ended.remove(envelope.id)
    number = state.next_sequence()
    job = state.jobs[envelope.id] = Job(
        envelope=envelope,
        number=number,
        sequence=number,
        epoch=epoch,
        since=now,
        expires_at=now + envelope.expires_in if envelope.expires_in is not None else None,
    )
    state.register.enter(number, envelope.id)
    state.enqueue(job)
    arrive(state, arrivals_of(envelope, ArrivalKind.REVIVED), now)
    if state.news.heard(envelope):
        state.news.tell(envelope, Notice(id=envelope.id, status=TaskStatus.READY, record=current_record(job, now)))
    return True


def revive(state: MemoryState, id: str, now: float) -> bool:
    """Make a job new again from its record; False if it has not ended, was successful, or its record is gone."""
    ended = state.ended.get(id, now)
    record = None if ended is None else ended.record
    if record is None or record.status is TaskStatus.SUCCESSFUL:
        return False
    parked = state.dead.get(id, now)
    return live_again(state, record.envelope, parked.epoch if parked is not None else 0, now)
