"""Reading what is known of jobs, for whoever asks: the store, an inbox, the administration."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from heeler.brokers.redis.link import Link
from heeler.brokers.redis.scripts import script
from heeler.brokers.redis.stored import NotStored, record_of
from heeler.model import ResultRecord

__all__ = ["read_records"]

_AT_ONCE = 500  # ids in one script
_FIELDS = 4  # of one answer, see lua/records.lua

logger = logging.getLogger("heeler.broker.redis")


async def read_records(link: Link, ids: Sequence[str], watcher: str = "") -> list[ResultRecord | None]:
    """What is known of each id; `watcher` is an address that from now on is to hear of them.

    Raises BrokerUnavailable or ConfigurationError.
    """
    records: list[ResultRecord | None] = []
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        answers = await link.run(script("records"), len(part), *part, watcher)
        records += [_record(id, answers[n * _FIELDS : (n + 1) * _FIELDS]) for n, id in enumerate(part)]
    return records


def _record(id: str, answer: list[bytes]) -> ResultRecord | None:
    if not answer[0]:
        return None
    try:
        return record_of(*answer)
    except NotStored as error:
        logger.error("what is stored of job %s cannot be read: %s", id, error)
        return None
