"""What the steps of an ordered store need of the place where they are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from heeler.brokers.carried.job import UNACKNOWLEDGED_KEPT, CarriedJob, Errand, Timed
from heeler.contracts import Unsent
from heeler.model import Arrival, CallId, DeadLetter, Envelope, Latch, ResultRecord, RunReport, TaskStatus

__all__ = ["CarriedTables"]

T = TypeVar("T")


class CarriedTables(ABC):
    """The tables within one step that becomes true as a whole. `now` is the time of the step."""

    now: float

    # Jobs

    @abstractmethod
    def job(self, id: str) -> CarriedJob | None: ...

    @abstractmethod
    def add(self, job: CarriedJob) -> None:
        """Write a job in the place of what is there under its id."""

    @abstractmethod
    def save(self, job: CarriedJob) -> None:
        """Write what has changed of a job, except its envelope."""

    @abstractmethod
    def is_paused(self, queue: str) -> bool: ...

    def known_or_added(self, envelope: Envelope, epoch: int) -> CarriedJob:
        """The job; one that is not known (any more) is as its message says."""
        job = self.job(envelope.id)
        if job is None:
            job = CarriedJob.first(envelope, None, envelope.expires_at)
            job.epoch = epoch
            self.add(job)
        return job

    # What is to be sent

    @abstractmethod
    def errand(self, key: str) -> Errand | None: ...

    @abstractmethod
    def write_errand(self, errand: Errand) -> None: ...

    def unsent(self, key: str) -> Unsent:
        """What is left to send of an errand; nothing where it is cleared."""
        errand = self.errand(key)
        return Unsent(key) if errand is None else self.left_of(errand)

    def left_of(self, errand: Errand) -> Unsent:
        awaited = [
            timed for timed in errand.messages if (job := self.job(timed[0].id)) is not None and job.awaits(timed[0])
        ]
        return errand.unsent(awaited, self.now)

    def owe_for_end(self, key: str, job: CarriedJob, messages: list[Timed], letter: DeadLetter | None = None) -> Unsent:
        """Take down that a message of the job has ended, and what has to be sent because of that."""
        forget_at = max(self.now, job.due_at or 0.0) + UNACKNOWLEDGED_KEPT
        errand = Errand(key, job.envelope.id, messages, letter, forget_at)
        self.write_errand(errand)
        return errand.unsent(messages, self.now)

    def owe_messages(self, key: str, messages: list[Timed]) -> Unsent:
        """Take down what has to be sent because somebody published it."""
        errand = Errand(key, None, messages, None, self.now + UNACKNOWLEDGED_KEPT)
        self.write_errand(errand)
        return errand.unsent(messages, self.now)

    # What else the steps of a broker write

    @abstractmethod
    def cell(self, name: str) -> bytes | None: ...

    @abstractmethod
    def set_cell(self, name: str, value: bytes | None, due_at: float | None) -> None: ...

    @abstractmethod
    def publish_latch(self, latch: Latch) -> Sequence[Envelope]:
        """What that lets go."""

    @abstractmethod
    def arrive(self, arrival: Arrival) -> Sequence[Envelope]:
        """What that lets go."""

    @abstractmethod
    def break_latch(self, id: str, by: str, cancelled: bool) -> Sequence[Envelope] | None:
        """What that lets go; None if there is none, or it is released."""

    @abstractmethod
    def recall(self, verb: str, call: CallId | None, kind: type[T]) -> T | None:
        """The answer to a call that was carried out before."""

    @abstractmethod
    def remember(self, verb: str, call: CallId | None, answer: object) -> None: ...

    @abstractmethod
    def tell(
        self,
        job: CarriedJob,
        status: TaskStatus,
        record: ResultRecord | None = None,
        report: RunReport | None = None,
    ) -> None:
        """Something happened to the job; who waits for it is told after the step. No record: its current one."""
