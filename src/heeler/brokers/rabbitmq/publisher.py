"""Publishing with confirms: many messages in flight, and nothing taken for sent that the server has not confirmed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from pika import spec

from heeler.brokers.rabbitmq import frames
from heeler.brokers.rabbitmq.connection import Channel, Connection
from heeler.brokers.rabbitmq.faults import Lost, Missing
from heeler.brokers.rabbitmq.link import Link
from heeler.errors import BrokerUnavailable, HeelerError

__all__ = ["Parcel", "Publisher"]

_REFUSED_FOR = 1.0  # seconds for which what the server refuses is sent again
_PAUSE = 0.1
_PIECE = 256  # messages that are written at once, before it is looked whether the server keeps up


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """A message on its way to an exchange."""

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes


class _Batch:
    """The messages of one call: which tags they have, and how many are not confirmed yet."""

    __slots__ = ("done", "first", "left", "parcels", "refused", "returned", "watch", "written")

    def __init__(self, parcels: Sequence[Parcel], first: int, done: asyncio.Future[None]) -> None:
        self.parcels = parcels
        self.first = first
        self.done = done
        self.left = len(parcels)
        self.returned: dict[int, str] = {}  # place in the batch → what the server said
        self.refused: list[int] = []  # places in the batch
        self.written = 0
        self.watch: asyncio.TimerHandle | None = None  # when it is looked whether confirms come


class Publisher:
    """One channel with confirms, shared by all who publish in this process."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()  # one batch is written at a time, so that its tags follow each other
        self._writers = 0  # who writes in turns, or waits for that
        self._heads: dict[tuple[str, str], bytes] = {}
        self._next = 1
        self._first = 1  # the lowest tag that is not confirmed
        self._confirmed = 0
        self._batches: deque[_Batch] = deque()
        self._open: dict[int, _Batch] = {}  # tag → batch, of what is not confirmed

    async def send(self, parcels: Sequence[Parcel], until: float | None = None) -> dict[int, str]:
        """Publish; returns when all is confirmed. The answer has those that reached no queue: place → why.

        They leave before `until` of the loop's clock (default: within `publish_timeout`) or not at all. Raises
        BrokerUnavailable, if the server refuses some for a second, confirms none for so long, or is lost.
        """
        if not parcels:
            return {}
        if until is None:
            until = asyncio.get_running_loop().time() + self._link.options.publish_timeout
        batch = await self._send(parcels, until)
        return await self._insist(batch, until) if batch.refused else batch.returned

    async def _insist(self, batch: _Batch, until: float) -> dict[int, str]:
        """Send again what the server has refused: that passes where a queue has no leader just now, or is deleted."""
        loop = asyncio.get_running_loop()
        give_up_at = min(until, loop.time() + _REFUSED_FOR)
        returned, refused = dict(batch.returned), batch.refused
        while loop.time() < give_up_at:
            await asyncio.sleep(_PAUSE)
            again = await self._send([batch.parcels[place] for place in refused], until)
            returned |= {refused[number]: why for number, why in again.returned.items()}
            refused = [refused[number] for number in again.refused]
            if not refused:
                return returned
        raise BrokerUnavailable(
            f"RabbitMQ at {self._link.options.shown} refused {len(refused)} of {len(batch.parcels)} messages: a queue "
            f"has no leader now, or is full (x-max-length with reject-publish)",
            outcome_unknown=len(batch.parcels) > 1,
        )

    async def _send(self, parcels: Sequence[Parcel], until: float) -> _Batch:
        """Publish once; returns when all is confirmed, or refused."""
        options = self._link.options
        channel = self._channel
        if (
            channel is not None
            and channel.closed is None
            and not self._writers
            and len(parcels) <= _PIECE
            and channel.connection.is_writable
        ):  # the usual case, in which nothing has to be waited for
            connection = channel.connection
            batch = self._begin(parcels)
            try:
                self._write(channel, batch, parcels)
            except BaseException:
                self._batches.remove(batch)
                raise
            batch.written = len(parcels)
        else:
            connection, batch = await self._send_in_turn(parcels, until)
        await self._confirmation(connection, batch, options.publish_timeout)
        return batch

    async def _send_in_turn(self, parcels: Sequence[Parcel], until: float) -> tuple[Connection, _Batch]:
        batch: _Batch | None = None
        self._writers += 1
        try:
            async with asyncio.timeout_at(until):
                connection = await self._link.connection(until)
                channel = await self._confirming(connection)
                async with self._turn:
                    if channel is not self._channel or channel.closed is not None:
                        raise channel.closed or Lost(f"RabbitMQ at {connection.shown}: the channel is closed")
                    batch = self._begin(parcels)
                    await self._write_all(connection, channel, batch)
                return connection, batch
        except TimeoutError:
            raise self._stalled(self._link.current, has_left=batch is not None and batch.written > 0) from None
        finally:
            self._writers -= 1

    def _begin(self, parcels: Sequence[Parcel]) -> _Batch:
        """A batch whose tags are the next ones; to be written before another begins."""
        batch = _Batch(parcels, self._next, asyncio.get_running_loop().create_future())
        batch.done.add_done_callback(_look_at)
        self._batches.append(batch)
        return batch

    async def _write_all(self, connection: Connection, channel: Channel, batch: _Batch) -> None:
        """Write no faster than the server reads. What has not been written when this ends is never sent."""
        try:
            while batch.written < len(batch.parcels):
                if batch.written:
                    await asyncio.sleep(0)  # what was written goes out at the end of a turn of the loop
                if batch.written or connection.blocked is not None:
                    await connection.writable()
                    if channel.closed is not None:
                        raise channel.closed
                piece = batch.parcels[batch.written : batch.written + _PIECE]
                self._write(channel, batch, piece)
                batch.written += len(piece)
        except BaseException:
            batch.left -= len(batch.parcels) - batch.written
            if not batch.left and batch in self._batches:
                self._batches.remove(batch)
            raise

    async def _confirming(self, connection: Connection) -> Channel:
        channel = self._channel
        if channel is not None and channel.closed is None:
            return channel
        async with self._opening:
            channel = self._channel
            if channel is not None and channel.closed is None:
                return channel
            channel = await connection.channel()
            await channel.call(spec.Confirm.Select())
            self._heads.clear()
            self._next = self._first = 1
            channel.on_confirm = self._confirm
            channel.on_return = self._return
            channel.on_closed = self._fail
            self._channel = channel
            return channel

    def _write(self, channel: Channel, batch: _Batch, parcels: Sequence[Parcel]) -> None:
        number = channel.number
        most = channel.connection.frame_max
        heads = self._heads
        data: list[bytes] = []
        tag = self._next
        for parcel in parcels:
            to = (parcel.exchange, parcel.routing_key)
            head = heads.get(to)
            if head is None:
                if len(heads) > 1000:
                    heads.clear()
                head = heads[to] = frames.publish_method(number, *to)
            data.append(head)
            data.append(frames.content(number, parcel.properties, parcel.body, most))
            self._open[tag] = batch
            tag += 1
        self._next = tag
        channel.send(b"".join(data))

    async def _confirmation(self, connection: Connection, batch: _Batch, timeout: float) -> None:
        """Wait for the confirms, as long as some come."""
        self._watch(connection, batch, timeout)
        try:
            await batch.done
        finally:
            if batch.watch is not None:
                batch.watch.cancel()

    def _watch(self, connection: Connection, batch: _Batch, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        batch.watch = loop.call_later(timeout, self._look, connection, batch, timeout, self._confirmed)

    def _look(self, connection: Connection, batch: _Batch, timeout: float, before: int) -> None:
        if self._confirmed == before or connection.blocked is not None:
            self._give_up(batch, self._stalled(connection, has_left=True))
        else:
            self._watch(connection, batch, timeout)

    def _stalled(self, connection: Connection | None, *, has_left: bool) -> BrokerUnavailable:
        options = self._link.options
        if connection is not None and connection.blocked is not None:
            return BrokerUnavailable(
                f"RabbitMQ at {connection.shown} has made publishers wait for more than {options.publish_timeout:g} s: "
                f"{connection.blocked}; free memory or disk there (rabbitmqctl status shows its alarms)",
                outcome_unknown=has_left,
            )
        return BrokerUnavailable(
            f"RabbitMQ at {options.shown if connection is None else connection.shown} has confirmed nothing for "
            f"{options.publish_timeout:g} s; see its log and load, or raise ?publish_timeout",
            outcome_unknown=has_left,
        )

    def _give_up(self, batch: _Batch, error: HeelerError) -> None:
        """Nobody waits for it any more; its confirms may still come."""
        if not batch.done.done():
            batch.done.set_exception(error)

    # What the server says

    def _confirm(self, tag: int, multiple: bool, taken: bool) -> None:
        open_ = self._open
        first = self._first if multiple else tag
        for number in range(first, tag + 1):
            batch = open_.pop(number, None)
            if batch is None:
                continue
            self._confirmed += 1
            if not taken:
                batch.refused.append(number - batch.first)
            batch.left -= 1
            if not batch.left:
                if not batch.done.done():
                    batch.done.set_result(None)
                while self._batches and not self._batches[0].left:
                    self._batches.popleft()
        if multiple or tag == self._first:
            self._first = tag + 1

    def _return(self, method: Any, body: bytes) -> None:
        """A message reached no queue. It is not named, so it is found by its address: all that have it come back."""
        for batch in self._batches:
            for place, parcel in enumerate(batch.parcels):
                if (
                    place not in batch.returned
                    and batch.first + place in self._open
                    and parcel.routing_key == method.routing_key
                    and parcel.exchange == method.exchange
                    and parcel.body == body
                ):
                    batch.returned[place] = method.reply_text
                    return

    def _fail(self, error: HeelerError) -> None:
        batches, self._batches = self._batches, deque()
        self._open.clear()
        self._channel = None
        for batch in batches:
            if not batch.done.done():
                # An exchange that is missing is no fault of those that need none.
                is_concerned = not isinstance(error, Missing) or any(parcel.exchange for parcel in batch.parcels)
                batch.done.set_exception(error if is_concerned else Lost(str(error), outcome_unknown=True))


def _look_at(done: asyncio.Future[None]) -> None:
    """The error of a batch for which nobody waits any more is no surprise."""
    if not done.cancelled():
        done.exception()
