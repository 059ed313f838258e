"""The embedded broker: jobs and results in one SQLite file that the processes of a machine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heeler.brokers.sqlite.broker import SqliteBroker

if TYPE_CHECKING:
    from heeler.clock import Clock
    from heeler.io_thread import IoThread
    from heeler.url import BrokerUrl

__all__ = ["SqliteBroker", "from_url"]

_OPTIONS = ("synchronous", "busy_timeout", "dead_letter_ttl", "dead_letter_limit", "max_payload")


def from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> SqliteBroker:
    """The broker that a URL like `sqlite:///jobs.db?synchronous=normal` describes.

    Raises ConfigurationError for an unknown or wrong option.
    """
    url.finish(_OPTIONS)
    return SqliteBroker(
        path=url.file,
        io=io,
        clock=clock,
        namespace=namespace,
        synchronous="normal" if url.option_choice("synchronous", "full", ["full", "normal"]) == "normal" else "full",
        busy_timeout=url.option_duration("busy_timeout", 30.0),
        dead_letter_ttl=url.option_duration("dead_letter_ttl", 30 * 86400.0),
        dead_letter_limit=url.option_int("dead_letter_limit", 10_000, minimum=0),
        max_payload=url.option_int("max_payload", 1 << 20, minimum=1),
    )
