"""Reading what is known of jobs, for whoever asks: the store, an inbox, the administration."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from heeler.brokers.redis.link import Link
from heeler.brokers.redis.scripts import script
from heeler.brokers.redis.stored import EXPIRED, NotStored, record_of
from heeler.model import LatchRecord, LatchRule, LatchState, ResultRecord

__all__ = ["OWN_JOBS", "RecordReader", "latch_records"]

_AT_ONCE = 500  # ids in one script
_FIELDS = 4  # of one answer, see lua/records.lua

logger = logging.getLogger("heeler.broker.redis")


class RecordReader:
    """Reads by the script of that name; `record_of` makes a record of one answer, or raises NotStored."""

    def __init__(self, name: str, record_of: Callable[..., ResultRecord | None]) -> None:
        self._name = name
        self.record_of = record_of

    async def read(
        self, link: Link, ids: Sequence[str], watcher: str = "", *, in_line: bool = False
    ) -> list[ResultRecord | None]:
        """What is known of each id; `watcher` is an address that from now on is to hear of them.

        `in_line`: a job that waits is READY, also where it has expired.

        Raises BrokerUnavailable or ConfigurationError.
        """
        records: list[ResultRecord | None] = []
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            answers = await link.run(script(self._name), len(part), *part, watcher)
            for n, id in enumerate(part):
                stored, next_at, phase, more = answers[n * _FIELDS : (n + 1) * _FIELDS]
                if in_line and phase.startswith(EXPIRED):
                    phase = b""
                records.append(self._record(id, stored, next_at, phase, more))
        return records

    def _record(self, id: str, *answer: bytes) -> ResultRecord | None:
        if not answer[0]:
            return None
        try:
            return self.record_of(*answer)
        except NotStored as error:
            logger.error("what is stored of job %s cannot be read: %s", id, error)
            return None


OWN_JOBS = RecordReader("records", record_of)
"""Of the broker's own jobs."""


async def latch_records(link: Link, ids: Sequence[str], with_data: bool) -> list[LatchRecord | None]:
    """What is known of each latch."""
    records: list[LatchRecord | None] = []
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        answers = await link.run(script("latch_records"), "1" if with_data else "", len(part), *part)
        records += [_latch(id, *answer) if answer else None for id, answer in zip(part, answers, strict=True)]
    return records


def _latch(
    id: str,
    rule: bytes,
    total: bytes,
    state: bytes,
    ok: bytes,
    not_ok: bytes,
    ticks: bytes,
    scope: bytes,
    broken_by: bytes,
    stopped: bytes,
    cancelled: bytes,
    touched_at: bytes,
    data: bytes,
) -> LatchRecord:
    return LatchRecord(
        id=id,
        rule=LatchRule(rule.decode()),
        total=int(total) if total else None,
        state=LatchState(state.decode()),
        ok=int(ok),
        not_ok=int(not_ok),
        ticks=int(ticks),
        scope=scope.decode() or None,
        broken_by=broken_by.decode(),
        stopped=bool(stopped),
        cancelled=bool(cancelled),
        touched_at=float(touched_at),
        data=data,
    )
