"""Sends what the store says has to be sent, and clears it there when that is done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence

import msgspec

from heeler.clock import Clock
from heeler.contracts import OrderedStore, Outgoing, PlainBroker, Unsent
from heeler.errors import HeelerError
from heeler.model import DeadLetter, Notice

__all__ = ["Refused", "Sender"]

_log = logging.getLogger("heeler.ordered")
_AGAIN_AFTER = 1.0
_TOGETHER = 0.005  # seconds that what is done waits for company before it is cleared
_LARGEST_REPLY = 256 << 10  # bytes; a single notice may be larger
_encode = msgspec.msgpack.Encoder().encode

Refused = tuple[Outgoing, str]
"""A message that reaches no queue, and why."""


class Sender:
    """Each of its steps may be repeated: a message that comes twice is known for over when it comes."""

    def __init__(self, plain: PlainBroker, store: OrderedStore, clock: Clock) -> None:
        self._plain = plain
        self._store = store
        self._clock = clock
        self._sent: list[str] = []
        self._sent_only: list[str] = []
        self._clearing: asyncio.Task[None] | None = None

    async def send(self, unsent: Sequence[Unsent]) -> None:
        """Return when all messages and dead letters are confirmed. Raises BrokerUnavailable.

        A message that reaches no queue becomes a dead letter, and its job is over.
        """
        letters = [one.letter for one in unsent if one.letter is not None]
        if letters:
            await self._plain.dead_letters.put(letters)
        refused = await self.publish([message for one in unsent for message in one.messages])
        if refused:
            await self.bury(refused)
        notices = [notice for one in unsent if one.notices for notice in one.notices]
        if notices:
            await self.tell(notices)

    async def tell(self, notices: Sequence[tuple[str, Notice]]) -> None:
        """Push notices to inboxes: one message for each inbox, or as many as it takes."""
        await self._plain.reply([*_replies(notices)])

    async def publish(self, messages: Sequence[Outgoing]) -> list[Refused]:
        """Send messages; those that reach no queue."""
        if not messages:
            return []
        reasons = await self._plain.publish(messages)
        return [(message, reason) for message, reason in zip(messages, reasons, strict=True) if reason]

    async def bury(self, refused: Sequence[Refused]) -> None:
        """Make dead letters of messages that reach no queue, and send what follows from the end of their jobs."""
        now = self._clock.time()
        await self._plain.dead_letters.put([_letter(message, reason, now) for message, reason in refused])
        ends = [
            end
            for message, reason in refused
            for end in await self._store.drop([message.envelope], reason)
            if end is not None
        ]
        await self.send(ends)
        self.clear_soon([end.key for end in ends])

    async def revive(self, letters: Sequence[DeadLetter]) -> int:
        """Have these jobs start anew, and drop their dead letters; how many did."""
        revived = [
            (letter, unsent)
            for letter, unsent in zip(letters, await self._store.revive(letters), strict=True)
            if unsent is not None
        ]
        await self.send([unsent for _, unsent in revived])
        await self._plain.dead_letters.remove([letter.id for letter, _ in revived])
        self.clear_soon([unsent.key for _, unsent in revived])
        return len(revived)

    def clear_soon(self, keys: Sequence[str], *, acknowledged: bool = True) -> None:
        """These are sent (and their messages acknowledged). Nobody waits for it, so what comes together goes together.

        Where nothing was taken down the key is empty.
        """
        (self._sent if acknowledged else self._sent_only).extend([key for key in keys if key])
        if (self._sent or self._sent_only) and (self._clearing is None or self._clearing.done()):
            self._clearing = asyncio.get_running_loop().create_task(self._clear(), name="heeler-clear-sent")

    async def close(self) -> None:
        """Clear what can be cleared now; the rest is found by `unsent`."""
        clearing, self._clearing = self._clearing, None
        if clearing is not None:
            clearing.cancel()
            await asyncio.gather(clearing, return_exceptions=True)
        try:
            await self._clear_batch()
        except HeelerError as error:
            _log.debug("errands that are done are left for others to clear: %s", error)
            self._sent, self._sent_only = [], []

    async def _clear(self) -> None:
        while self._sent or self._sent_only:
            await asyncio.sleep(_TOGETHER)
            try:
                await self._clear_batch()
            except HeelerError as error:
                _log.debug("errands that are done cannot be cleared yet: %s", error)
                await self._clock.sleep(_AGAIN_AFTER)

    async def _clear_batch(self) -> None:
        if sent := tuple(self._sent):
            await self._store.clear(sent, acknowledged=True)
            del self._sent[: len(sent)]
        if sent_only := tuple(self._sent_only):
            await self._store.clear(sent_only, acknowledged=False)
            del self._sent_only[: len(sent_only)]


def _replies(notices: Sequence[tuple[str, Notice]]) -> Iterator[tuple[str, bytes]]:
    by_address: dict[str, list[msgspec.Raw]] = {}
    for address, notice in notices:
        by_address.setdefault(address, []).append(msgspec.Raw(_encode(notice)))
    for address, encoded in by_address.items():
        start = size = 0
        for place, one in enumerate(encoded):
            if size and size + len(one) > _LARGEST_REPLY:
                yield address, _encode(encoded[start:place])
                start, size = place, 0
            size += len(one)
        yield address, _encode(encoded[start:])


def _letter(message: Outgoing, reason: str, now: float) -> DeadLetter:
    envelope = message.envelope
    return DeadLetter(
        id=envelope.id,
        queue=envelope.queue,
        reason=reason,
        died_at=now,
        task=envelope.task,
        envelope=envelope,
        attempts=envelope.attempts,
        crashes=envelope.crashes,
    )
