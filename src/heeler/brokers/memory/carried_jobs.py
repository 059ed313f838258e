"""Jobs whose messages travel elsewhere, and notes of what has to be sent, in memory."""

from __future__ import annotations

import heapq

from heeler.brokers.carried.job import ENDS_KEPT, CarriedJob, Note

__all__ = ["CarriedJobs"]


class CarriedJobs:
    """A job that is over goes when its record's time is over and no note is left of it."""

    def __init__(self) -> None:
        self.jobs: dict[str, CarriedJob] = {}
        self.paused: set[str] = set()
        self.notes: dict[str, Note] = {}
        self._noted_at: dict[str, float] = {}  # by key: since when it is unsent, or when somebody took it to send it
        self._notes_of: dict[str, int] = {}  # by job, how many
        self._forgetting: list[tuple[float, str]] = []  # jobs that are over

    def write_note(self, note: Note, now: float) -> None:
        if note.id is not None and note.key not in self.notes:
            self._notes_of[note.id] = self._notes_of.get(note.id, 0) + 1
        self.notes[note.key] = note
        self._noted_at[note.key] = now

    def take_unsent(self, older_than: float, limit: int, now: float) -> list[Note]:
        """What nobody has sent for so long; the moment it was last taken counts."""
        found = []
        for note in self.notes.values():
            if self._noted_at[note.key] + older_than <= now and (note.messages or note.letter):
                self._noted_at[note.key] = now
                found.append(note)
                if len(found) == limit:
                    break
        return found

    def clear(self, key: str, acknowledged: bool, now: float) -> None:
        note = self.notes.get(key)
        if note is None:
            return
        if note.id is None or acknowledged:
            self._drop_note(note, now)
        else:
            note.messages = []
            note.letter = None

    def prune(self, now: float, most: int) -> None:
        """Free up to `most` jobs whose time is over, and notes that nobody will ever clear."""
        while most > 0 and self._forgetting and self._forgetting[0][0] <= now:
            _, job_id = heapq.heappop(self._forgetting)
            most -= 1
            job = self.jobs.get(job_id)
            if job is not None and job.over and not self._notes_of.get(job_id):
                if job.keep_until <= now:
                    del self.jobs[job_id]
                else:
                    heapq.heappush(self._forgetting, (job.keep_until, job_id))
        while self.notes:
            oldest = next(iter(self.notes.values()))
            if oldest.forget_at > now:
                return
            self._drop_note(oldest, now)

    def _drop_note(self, note: Note, now: float) -> None:
        del self.notes[note.key]
        del self._noted_at[note.key]
        if note.id is None:
            return
        self._notes_of[note.id] -= 1
        if self._notes_of[note.id]:
            return
        del self._notes_of[note.id]
        job = self.jobs.get(note.id)
        if job is not None and job.over:
            heapq.heappush(self._forgetting, (max(job.keep_until, now + ENDS_KEPT), note.id))
