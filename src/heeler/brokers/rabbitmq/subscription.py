"""What one worker takes from its queues: a channel, a consumer for each queue, and what they have brought so far."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pika import spec

from heeler.brokers.rabbitmq.connection import Channel, Message
from heeler.brokers.rabbitmq.faults import Missing
from heeler.brokers.rabbitmq.ledger import Ledger
from heeler.brokers.rabbitmq.messages import NoEnvelope, PropertyReader, opened
from heeler.brokers.rabbitmq.read_ahead import ReadAhead
from heeler.contracts import PlainDelivery, PlainSubscription, QueueShare
from heeler.errors import BrokerUnavailable, HeelerError
from heeler.model import Envelope

if TYPE_CHECKING:
    from heeler.brokers.rabbitmq.link import Link
    from heeler.brokers.rabbitmq.topology import Topology

__all__ = ["Held", "Line", "RabbitmqSubscription"]

PATIENCE = 0.25  # how long a message may lie here unasked for before another worker may have it
_HELD_UP = 0.1  # seconds that the process or its loop had no turn
_ASKED_AT_ONCE = 64  # messages that are asked for in one go
_MOST_RETURNS = 2  # after so many a copy takes a message's place: others may have given the queue a limit
_LARGEST_PREFETCH = 65_535
_LONGEST_TAG = 200  # bytes are 255


class Line:
    """A queue, as this worker sees it: its consumers, if there are any, and what waits to be fetched.

    To read further ahead is to add a consumer. One that is cancelled at full speed makes quorum queues count what is
    under way to it as delivered, so that it comes back as redelivered.
    """

    __slots__ = ("buffer", "consumers", "credit", "prefetch", "received", "share", "unsettled")

    def __init__(self, share: QueueShare) -> None:
        self.share = share
        self.consumers: list[str] = []
        self.prefetch = 0  # of them together
        self.received = 0  # messages since the last was added
        self.unsettled = 0  # messages in this process's hands, those in the buffer included
        self.buffer: deque[Message] = deque()
        self.credit = 0.0  # of its weight

    @property
    def exhausted(self) -> bool:
        """Whether the server may send no more, so that there may be more."""
        return self.unsettled >= self.prefetch


class Held:
    """The tag of a delivery: the message, and where it is counted."""

    __slots__ = ("ledger", "line", "message")

    def __init__(self, message: Message, line: Line, ledger: Ledger) -> None:
        self.message = message
        self.line = line
        self.ledger = ledger

    @property
    def queue(self) -> str:
        return self.line.share.queue

    @property
    def stale(self) -> bool:
        return self.message.channel.closed is not None


class GiveBack(Protocol):
    """Returns messages to their queue."""

    def __call__(self, tags: Sequence[Held], *, untouched: bool) -> Coroutine[Any, Any, None]: ...


_Errand = tuple[Held, Coroutine[Any, Any, None]]  # a message that is put elsewhere, and how


class RabbitmqSubscription(PlainSubscription):
    """`give_back` returns messages, `bury` parks what is no envelope, `put_off` sends on what is not due."""

    def __init__(
        self,
        link: Link,
        topology: Topology,
        queues: Sequence[QueueShare],
        worker_id: str,
        *,
        give_back: GiveBack,
        bury: Callable[[Held, str], Coroutine[Any, Any, None]],
        put_off: Callable[[Held, Envelope, float], Coroutine[Any, Any, None]],
        forget: Callable[[RabbitmqSubscription], None],
    ) -> None:
        self._link = link
        self._topology = topology
        self._lines = {share.queue: Line(share) for share in queues}
        self._worker_id = worker_id
        self._give_back = give_back
        self._bury = bury
        self._put_off = put_off
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._reader = PropertyReader()
        self._ahead = ReadAhead(limit_only=link.options.prefetch_limit)
        self._numbers = itertools.count(1)
        self._by_consumer: dict[bytes, Line] = {}
        self._channel: Channel | None = None
        self._ledger = Ledger()
        self._opening = asyncio.Lock()
        self._bell = asyncio.Event()
        self._skipped: frozenset[str] = frozenset()
        self._sweep: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[object]] = set()  # consumers whose answer has not come yet
        self._asking = False
        self._quiet = False
        self._unopened: set[bytes] = set()  # the bodies of what lay here when the channel was lost

    # The contract

    async def ready(self) -> None:
        while True:
            self._bell.clear()
            if not self._quiet:
                if any(line.buffer for line in self._open_lines()):
                    return
                self._ahead.rest()
                self._ahead.expect(self._ledger.outstanding + 1)  # who waits has room for one more
                try:
                    await self._consume(self._open_lines())
                except Missing:
                    if self._link.options.passive:
                        raise
                    continue  # it was deleted, and is declared again
            await self._bell.wait()

    async def fetch(
        self, limit: int, max_bytes: int, skip_tasks: frozenset[str], skip_queues: frozenset[str]
    ) -> list[PlainDelivery]:
        if self._quiet or limit <= 0:
            return []
        await self._pause(skip_queues)
        in_hand = self._ledger.outstanding - self._buffered
        self._ahead.measure(self._ledger.settled, in_hand, limit, self._loop.time())
        taken: list[Held] = []
        self._asking = True
        try:
            await self._take(taken, limit, max_bytes)
            if not taken:
                await self._ask(limit)
                await self._take(taken, limit, max_bytes)
            await self._consume(self._open_lines())
        except Missing:
            if self._link.options.passive:
                raise
            return []  # the channel was closed by that, so what it had brought comes again
        except BaseException:
            _put_back(taken)
            raise
        finally:
            self._asking = False
        return await self._deliveries(taken)

    async def quiet(self) -> None:
        if self._quiet:
            return
        self._quiet = True
        if self._sweep is not None:
            self._sweep.cancel()
        await self._stop(self._lines.values())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._forget(self)
        channel = self._channel
        if channel is not None and channel.closed is None:
            if self._ledger.outstanding:  # what runs is acknowledged on it
                self._ledger.on_empty = lambda: self._run(channel.close())
            else:
                await channel.close()

    def steal(self, queue: str, limit: int) -> list[Held]:
        """What was read ahead of a queue: for a purge."""
        line = self._lines.get(queue)
        if line is None:
            return []
        return [Held(line.buffer.popleft(), line, self._ledger) for _ in range(min(limit, len(line.buffer)))]

    def waiting(self, queue: str) -> int:
        """How many messages of a queue were read ahead."""
        line = self._lines.get(queue)
        return len(line.buffer) if line is not None else 0

    # Taking

    @property
    def _buffered(self) -> int:
        return sum([len(line.buffer) for line in self._lines.values()])

    def _open_lines(self) -> list[Line]:
        if not self._skipped:
            return list(self._lines.values())
        return [line for queue, line in self._lines.items() if queue not in self._skipped]

    async def _take(self, taken: list[Held], limit: int, max_bytes: int) -> None:
        """Move what is here from the lines to `taken`: by weight, or line by line.

        Of a line that is exhausted the server may have more, which goes before all that a later line has.
        """
        lines = self._open_lines()
        if len(lines) > 1 and lines[0].share.weight is not None:
            self._pour(taken, _by_weight(lines), limit, max_bytes)
            return
        for line in lines:
            max_bytes = self._pour(taken, _while_full(line), limit, max_bytes)
            room = limit - len(taken)
            if room > 0 and max_bytes >= 0 and line.consumers and line.exhausted and line is not lines[-1]:
                await self._ask_for(line, room)
                max_bytes = self._pour(taken, _while_full(line), limit, max_bytes)

    def _pour(self, taken: list[Held], lines: Iterable[Line], limit: int, max_bytes: int) -> int:
        """A message of each of these lines, as long as there is room; how many bytes there is room for then."""
        if max_bytes >= 0 and len(taken) < limit:
            for line in lines:
                message = line.buffer.popleft()
                taken.append(Held(message, line, self._ledger))
                max_bytes -= len(message.body)
                if len(taken) >= limit or max_bytes < 0:
                    break
        return max_bytes

    async def _deliveries(self, taken: list[Held]) -> list[PlainDelivery]:
        deliveries: list[PlainDelivery] = []
        elsewhere: deque[_Errand] = deque()
        read = self._reader.read
        for held in taken:
            message = held.message
            try:
                properties = read(message.properties)
                envelope = opened(properties, message.body, held.queue)
            except NoEnvelope as reason:
                elsewhere.append((held, self._bury(held, str(reason))))
                continue
            if properties.rest > 0.0:
                elsewhere.append((held, self._put_off(held, envelope, properties.rest)))
                continue
            redelivered = properties.delivered
            if message.redelivered and not self._has_lain_here_only(message.body, properties.returns):
                if properties.returns is not None and properties.returns >= _MOST_RETURNS:
                    elsewhere.append((held, self._give_back([held], untouched=False)))
                    continue
                redelivered = True
            deliveries.append(PlainDelivery(envelope, held, redelivered))
        if elsewhere:
            await self._put_elsewhere(elsewhere)
        return deliveries

    async def _put_elsewhere(self, waiting: deque[_Errand]) -> None:
        """Do so; where the server does not take them they stay here, and the jobs of this fetch do not wait for it."""
        while waiting:
            held, putting = waiting.popleft()
            try:
                await putting
            except BrokerUnavailable as error:
                self._link.logger.warning(
                    "queue %s: a message stays here, because it cannot be sent on: %s", held.queue, error
                )
                _put_back([held, *(other for other, _ in waiting)])
                for _, other in waiting:
                    other.close()
                return

    def _has_lain_here_only(self, body: bytes, returns: int | None) -> bool:
        """Whether it came back because a connection was lost while it lay here unopened, and nobody else had it."""
        if not self._unopened or body not in self._unopened:
            return False
        self._unopened.discard(body)
        return returns == 1

    async def _ask(self, limit: int) -> None:
        """Ask the server for what is there, as nothing has come by itself: after the answer nothing is on its way."""
        for line in self._open_lines():
            if limit > 0:
                limit -= await self._ask_for(line, limit, several=not line.consumers)
            limit -= len(line.buffer)

    async def _ask_for(self, line: Line, limit: int, *, several: bool = True) -> int:
        """Ask the server for what a queue has; how many messages came."""
        channel = await self._open_channel()
        if channel.connection.blocked is not None:  # the server answers when its alarm is over
            return 0
        get = spec.Basic.Get(queue=self._topology.on_server(line.share.queue))
        came = 0
        asked = 1
        while came < limit and not self._quiet:
            answers = await channel.call_all([get] * min(asked, limit - came))
            found = [answer for answer in answers if isinstance(answer, Message)]
            self._ledger.delivered += len(found)
            self._add(line, found)
            came += len(found)
            if len(found) < len(answers) or not several:
                break
            asked = _ASKED_AT_ONCE
        return came

    # Consuming

    async def _consume(self, lines: Sequence[Line]) -> None:
        """See to it that the server sends as much as is wanted."""
        channel = self._channel if self._channel is not None else await self._open_channel()
        wanted = min(self._ahead.wanted, _LARGEST_PREFETCH)
        for line in lines:
            if line.consumers and not self._needs_more(line, wanted):
                continue
            there = line.prefetch if line.consumers else self._ledger.outstanding
            prefetch = max(1, wanted - there)
            tag = f"{self._worker_id or 'heeler'}.{line.share.queue}.{next(self._numbers)}"[-_LONGEST_TAG:]
            name = self._topology.on_server(line.share.queue)
            line.prefetch = prefetch + (line.prefetch if line.consumers else 0)
            line.received = 0
            line.consumers.append(tag)
            self._by_consumer[tag.encode()] = line
            starting = [spec.Basic.Qos(0, prefetch, False), spec.Basic.Consume(queue=name, consumer_tag=tag)]
            await self._started(channel.call_all(starting))

    async def _started(self, call: Coroutine[Any, Any, object]) -> None:
        """Go on with it also if the caller is cancelled: RabbitMQ 3.10 fails if a consumer is cancelled before its
        answer has come.
        """
        starting = self._loop.create_task(call, name="heeler-rabbitmq-consume")
        self._starting.add(starting)
        starting.add_done_callback(self._has_started)
        await asyncio.shield(starting)

    def _has_started(self, starting: asyncio.Task[object]) -> None:
        self._starting.discard(starting)
        if not starting.cancelled():
            starting.exception()  # told to who waited; if nobody did, the channel's end is told elsewhere

    def _needs_more(self, line: Line, wanted: int) -> bool:
        """Whether the server may send no more though there is room, or the prefetch is too small by half."""
        if wanted <= line.prefetch:
            return False
        exhausted = self._ledger.outstanding >= line.prefetch
        return exhausted or (wanted >= 2 * line.prefetch and line.received >= line.prefetch)

    async def _open_channel(self) -> Channel:
        async with self._opening:
            if self._channel is not None:
                return self._channel
            await self._topology.ensure(self._lines)
            connection = await self._link.connection()
            channel = await connection.channel()
            self._ledger = Ledger()
            channel.on_message = self._arrived
            channel.on_cancel = self._cancelled
            channel.on_closed = self._lost
            self._channel = channel
            return channel

    def _arrived(self, message: Message) -> None:
        self._ledger.delivered += 1
        line = self._by_consumer.get(message.consumer)
        if line is not None:
            line.received += 1
            line.unsettled += 1
            if not line.buffer:
                self._watch()
            line.buffer.append(message)
            if not self._bell.is_set() and line.share.queue not in self._skipped:
                self._bell.set()

    def _add(self, line: Line, messages: list[Message]) -> None:
        if messages:
            line.unsettled += len(messages)
            if not line.buffer:
                self._watch()
            overtaken = bool(line.buffer) and line.buffer[-1].number > messages[0].number
            line.buffer.extend(messages)
            if overtaken:  # by what was sent after this answer
                line.buffer = deque(sorted(line.buffer, key=lambda message: message.number))

    def _cancelled(self, tag: str) -> None:
        """The server has ended a consumer: its queue was deleted, or has moved."""
        line = self._by_consumer.pop(tag.encode(), None)
        if line is not None and tag in line.consumers:
            if len(line.consumers) == 1:
                self._link.logger.warning(
                    "queue %s: the server ended our consumer; it is started again", line.share.queue
                )
            line.consumers.remove(tag)
            self._topology.forget(line.share.queue)
            self._run(self._begin_again())

    async def _begin_again(self) -> None:
        await self._topology.ensure(self._lines)
        self._bell.set()

    def _lost(self, error: HeelerError) -> None:
        """All that was in hand goes to whoever comes next."""
        if not self._quiet and self._channel is not None and self._channel.connection.lost is None:
            self._link.logger.warning("%s; another channel is opened", error)
        self._channel = None
        self._by_consumer.clear()
        if isinstance(error, Missing):
            for queue in self._lines:
                self._topology.forget(queue)
        self._unopened.clear()
        for line in self._lines.values():
            self._unopened.update([message.body for message in line.buffer if not message.redelivered])
            line.consumers.clear()
            line.buffer.clear()
            line.unsettled = 0
        self._bell.set()

    # Giving back

    async def _pause(self, queues: frozenset[str]) -> None:
        if queues != self._skipped:
            self._skipped = queues
            await self._stop([line for queue, line in self._lines.items() if queue in queues])

    async def _stop(self, lines: Collection[Line]) -> None:
        """Consume no more from these, and give back what was read ahead of them."""
        channel = self._channel
        if channel is None:
            return
        if self._starting:
            await asyncio.gather(*self._starting, return_exceptions=True)
        consumers = [consumer for line in lines for consumer in line.consumers]
        for line in lines:
            line.consumers.clear()
        try:
            if consumers:
                await channel.call_all([spec.Basic.Cancel(consumer) for consumer in consumers])
            for consumer in consumers:
                self._by_consumer.pop(consumer.encode(), None)
            held = [Held(message, line, self._ledger) for line in lines for message in line.buffer]
            for line in lines:
                line.buffer.clear()
            if held:
                await self._give_back(held, untouched=True)
        except BrokerUnavailable as error:
            self._link.logger.warning(
                "what was read ahead could not be given back, so the server sends it again: %s", error
            )
            await channel.close()

    def _watch(self) -> None:
        if self._sweep is None:
            self._sweep = self._loop.call_later(PATIENCE, self._look, self._loop.time() + PATIENCE)

    def _look(self, due: float) -> None:
        """Give back what has waited too long, unless this look comes late itself: then nobody here could ask for it."""
        self._sweep = None
        now = self._loop.time()
        waiting = [line for line in self._lines.values() if line.buffer]
        held_up = self._asking or now - due > _HELD_UP
        stale = [] if held_up else [line for line in waiting if line.buffer[0].came <= now - PATIENCE]
        if stale and not self._quiet:
            self._ahead.collapse()
            self._run(self._stop(stale))
        if len(stale) < len(waiting):
            self._watch()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(self._logged(work), name="heeler-rabbitmq-consumers")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _logged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except HeelerError as error:
            self._link.logger.warning("%s", error)


def _put_back(held: Sequence[Held]) -> None:
    """Back into the buffers, unless they come again anyway."""
    for one in reversed(held):
        if not one.stale:
            one.message.came = one.message.channel.connection.loop.time()
            one.line.buffer.appendleft(one.message)


def _while_full(line: Line) -> Iterator[Line]:
    while line.buffer:
        yield line


def _by_weight(lines: list[Line]) -> Iterator[Line]:
    """Lines with messages, so often as their weights say."""
    while full := [line for line in lines if line.buffer]:
        for line in full:
            line.credit += line.share.weight or 1
        first = max(full, key=lambda line: line.credit)
        first.credit -= sum(line.share.weight or 1 for line in full)
        yield first
