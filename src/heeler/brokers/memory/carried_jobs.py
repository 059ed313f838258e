"""Jobs whose messages travel elsewhere, and errands: what has to be sent, in memory."""

from __future__ import annotations

import heapq

from heeler.brokers.carried.job import ENDS_KEPT, CarriedJob, Errand
from heeler.brokers.memory.register import Register

__all__ = ["CarriedJobs"]


class CarriedJobs:
    """A job that is over goes when its record's time is over and no errand is left of it."""

    def __init__(self) -> None:
        self.jobs: dict[str, CarriedJob] = {}
        self.numbers: dict[str, int] = {}
        self.register = Register()  # of the same jobs
        self.paused: set[str] = set()
        self.errands: dict[str, Errand] = {}
        self._since: dict[str, float] = {}  # by key: since when it is unsent, or when somebody took it to send it
        self._count_of: dict[str, int] = {}  # by job, how many
        self._forgetting: list[tuple[float, str]] = []  # jobs that are over

    def add(self, job: CarriedJob, number: int) -> None:
        """A job in the place of what is there under its id; `number` is larger than all before."""
        self.drop(job.envelope.id)
        self.jobs[job.envelope.id] = job
        self.numbers[job.envelope.id] = number
        self.register.enter(number, job.envelope.id)

    def drop(self, id: str) -> None:
        """Harmless where there is none."""
        if self.jobs.pop(id, None) is not None:
            self.register.strike(self.numbers.pop(id))

    def write_errand(self, errand: Errand, now: float) -> None:
        if errand.id is not None and errand.key not in self.errands:
            self._count_of[errand.id] = self._count_of.get(errand.id, 0) + 1
        self.errands[errand.key] = errand
        self._since[errand.key] = now

    def take_unsent(self, older_than: float, limit: int, now: float) -> list[Errand]:
        """What nobody has sent for so long; the moment it was last taken counts."""
        found = []
        for errand in self.errands.values():
            if self._since[errand.key] + older_than <= now and (errand.messages or errand.letter):
                self._since[errand.key] = now
                found.append(errand)
                if len(found) == limit:
                    break
        return found

    def clear(self, key: str, acknowledged: bool, now: float) -> None:
        errand = self.errands.get(key)
        if errand is None:
            return
        if errand.id is None or acknowledged:
            self._drop(errand, now)
        else:
            errand.messages = []
            errand.letter = None

    def expire(self, id: str, keep_until: float, now: float) -> None:
        """Keep what is known of a job that is over until then."""
        job = self.jobs.get(id)
        if job is not None and job.expire(keep_until, now):
            heapq.heappush(self._forgetting, (max(keep_until, now + ENDS_KEPT), id))

    def prune(self, now: float, most: int) -> None:
        """Free up to `most` jobs whose time is over, and errands that nobody will ever clear."""
        while most > 0 and self._forgetting and self._forgetting[0][0] <= now:
            _, job_id = heapq.heappop(self._forgetting)
            most -= 1
            job = self.jobs.get(job_id)
            if job is not None and job.over and not self._count_of.get(job_id):
                if job.keep_until <= now:
                    self.drop(job_id)
                else:
                    heapq.heappush(self._forgetting, (job.keep_until, job_id))
        while self.errands:
            oldest = next(iter(self.errands.values()))
            if oldest.forget_at > now:
                return
            self._drop(oldest, now)

    def _drop(self, errand: Errand, now: float) -> None:
        del self.errands[errand.key]
        del self._since[errand.key]
        if errand.id is None:
            return
        self._count_of[errand.id] -= 1
        if self._count_of[errand.id]:
            return
        del self._count_of[errand.id]
        job = self.jobs.get(errand.id)
        if job is not None and job.over:
            heapq.heappush(self._forgetting, (max(job.keep_until, now + ENDS_KEPT), errand.id))
