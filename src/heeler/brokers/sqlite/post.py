"""Sends what a committed step has to tell: wake-ups to sleepers, news to inboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from heeler.brokers.sqlite.mailbox import Sender
from heeler.brokers.sqlite.step import Event, Step

__all__ = ["Post", "address_news", "decode_news", "sleeper_address"]

_EVENTS_AT_ONCE = 100  # in one datagram: below what a socket takes
_LARGE = 1024  # bytes; an event whose report is larger travels without it, to be read from the record

_encode = msgspec.msgpack.Encoder().encode
decode_news = msgspec.msgpack.Decoder(list[Event]).decode


def address_news(step: Step) -> None:
    """Find out who wants to know of the step's events."""
    news = step.news
    for event, reply_to in step.events:
        if reply_to is not None:
            news.setdefault(reply_to, []).append(event)
    if step.row("is_anything_watched") is None:
        return
    events = {}
    for event, reply_to in step.events:
        events[event.id] = (event, reply_to)
    ids = _encode_json(list(events))
    for id, address in step.run("watchers", (ids,)).fetchall():
        event, reply_to = events[id]
        if address != reply_to:
            news.setdefault(address, []).append(event)


def _encode_json(ids: list[str]) -> str:
    return msgspec.json.encode(ids).decode()


def sleeper_address(mailbox: str, number: int) -> str:
    """The address of one subscription behind a mailbox."""
    return f"{mailbox}#{number}"


class Post:
    """What one process sends to the others, and to itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._sender = Sender(loop)

    def deliver(self, step: Step) -> tuple[list[tuple[int, str]], list[str]]:
        """Send all that the step has to tell. The answer: the sleepers (with a queue each) and the addresses of
        inboxes where nobody is any more.
        """
        dead_sleepers = [(queue, address) for queue, address in step.woken if not self._wake(address)]
        gone = [address for address, events in step.news.items() if not self._tell(address, events)]
        return dead_sleepers, gone

    def hint(self, address: str) -> bool:
        """Tell a mailbox to look into the file. False: nobody is there."""
        return self._sender.send(address, b"")

    def send(self, address: str, data: bytes) -> bool:
        """Send one datagram. False: nobody is there."""
        return self._sender.send(address, data)

    def _wake(self, address: str) -> bool:
        mailbox, _, number = address.rpartition("#")
        return self._sender.send(mailbox, number.encode())

    def _tell(self, address: str, events: Sequence[Event]) -> bool:
        for start in range(0, len(events), _EVENTS_AT_ONCE):
            part = [_light(event) for event in events[start : start + _EVENTS_AT_ONCE]]
            if not self._sender.send(address, _encode(part)):
                return False
        return True

    def close(self) -> None:
        self._sender.close()


def _light(event: Event) -> Event:
    report = event.report
    if report is not None and len(report.saved or b"") + len(report.message or "") > _LARGE:
        return msgspec.structs.replace(event, report=None)
    return event
