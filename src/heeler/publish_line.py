"""Where concurrent `aenqueue` calls line up: those that wait while a publication is under way share the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from heeler.connections import Connections
from heeler.errors import BrokerUnavailable, ConfigurationError
from heeler.io_thread import Handoff, closed_meanwhile
from heeler.model import Envelope, Publication, PublishResult

__all__ = ["PublishLine"]

LARGEST_PUBLICATION = 500  # envelopes


@dataclass(slots=True, eq=False)
class _Waiting:
    """A caller on a loop of its own that waits for the broker's answer to its envelope."""

    envelope: Envelope
    loop: asyncio.AbstractEventLoop
    answered: asyncio.Future[PublishResult]


class PublishLine:
    """Publishes envelopes for callers on any loops; what one of them sends or cancels never hurts the others."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._handoff: Handoff[_Waiting] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._line: deque[_Waiting] = deque()
        self._sending = False

    async def publish(self, envelope: Envelope) -> PublishResult:
        """The broker's answer. Raises what the publication of this envelope raises."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(envelope, loop, loop.create_future())
        self._crossing().put(waiting)
        return await waiting.answered

    def _crossing(self) -> Handoff[_Waiting]:
        """The way onto the I/O thread; a new one where that is a new loop, as in a forked child."""
        loop = self._connections.io.loop
        if self._handoff is None or self._loop is not loop:
            self._line = deque()
            self._sending = False
            self._handoff = Handoff(loop, self._take)
            self._loop = loop
        return self._handoff

    def _take(self, arrived: list[_Waiting]) -> None:
        self._line.extend(arrived)
        if not self._sending:
            self._sending = True
            self._connections.io.spawn(self._send(), name="heeler-publish")

    async def _send(self) -> None:
        line = self._line
        batch: list[_Waiting] = []
        try:
            while line:
                batch = [line.popleft() for _ in range(min(len(line), LARGEST_PUBLICATION))]
                batch = [waiting for waiting in batch if not waiting.answered.cancelled()]
                if batch:
                    _answer(batch, await self._publish_each([waiting.envelope for waiting in batch]))
        except asyncio.CancelledError:
            batch += line
            line.clear()
            _answer(batch, [closed_meanwhile()] * len(batch))
            raise
        finally:
            self._sending = False

    async def _publish_each(self, envelopes: list[Envelope]) -> list[PublishResult | BaseException]:
        """One publication for all; if it is refused as a whole for what one of them is, each gets its own."""
        try:
            broker = await self._connections.opened()
            return list(await broker.publish(Publication(envelopes=tuple(envelopes))))
        except (BrokerUnavailable, ConfigurationError) as error:
            return [error] * len(envelopes)
        except Exception as error:
            if len(envelopes) == 1:
                return [error]
            return [(await self._publish_each([envelope]))[0] for envelope in envelopes]


def _answer(batch: list[_Waiting], answers: Sequence[PublishResult | BaseException]) -> None:
    """Wake the callers, with one crossing for each loop among them."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, PublishResult | BaseException]]] = {}
    for waiting, answer in zip(batch, answers, strict=True):
        by_loop.setdefault(waiting.loop, []).append((waiting, answer))
    for loop, pairs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_set_answers, pairs)
        except RuntimeError:  # the caller's loop is closed, so nobody waits there
            continue


def _set_answers(pairs: list[tuple[_Waiting, PublishResult | BaseException]]) -> None:
    for waiting, answer in pairs:
        if waiting.answered.done():
            continue
        if isinstance(answer, BaseException):
            waiting.answered.set_exception(answer)
        else:
            waiting.answered.set_result(answer)
