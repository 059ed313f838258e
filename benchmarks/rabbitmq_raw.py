"""What RabbitMQ itself gives this machine: bare clients that publish confirmed and consume, with no jobs in between.

Two clients, in turns on one server: Heeler's own frames (`brokers/rabbitmq/connection.py`) on its loop, and pika's
callback connection. Messages are as large as those of the no-op job.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pika
from pika import spec

from benchmarks.measure import percentile
from heeler.brokers.rabbitmq import frames
from heeler.brokers.rabbitmq.connection import Channel, Message, connect
from heeler.brokers.rabbitmq.messages import encoded
from heeler.brokers.rabbitmq.options import RabbitmqOptions, options_of
from heeler.io_thread import IoThread
from heeler.url import BrokerUrl

BODY = b"x" * 200
IN_FLIGHT = 100
PREFETCH = 200
ACKNOWLEDGED_AT_ONCE = 100
PIECE = 250  # messages that are written before the loop turns
FIGURES = ("bulk/s", "100 in flight/s", "one by one/s", "round trip p50 ms", "consumed/s")

PROPERTIES = spec.BasicProperties(content_type="application/octet-stream", delivery_mode=2)


def _options() -> RabbitmqOptions:
    """The server and the type of queues, as the broker's URL has them."""
    return options_of(BrokerUrl.parse(os.environ["HEELER_URL"]))


def raw_frames(jobs: int) -> dict[str, float]:
    """The layer that Heeler's own broker is built on, on the loop that it uses, and nothing above it."""
    io = IoThread()
    try:
        return io.run(_frames(jobs))
    finally:
        io.close()


async def _frames(jobs: int) -> dict[str, float]:
    async with _queue() as (connection, queue):
        publishing = await connection.channel()
        await publishing.call(spec.Confirm.Select())
        publisher = _Publisher(publishing, queue)
        figures = {"bulk/s": jobs / await publisher.publish(jobs, jobs)}
        consuming = await connection.channel()
        figures["consumed/s"] = jobs / await _consume(consuming, queue, jobs)
        figures["100 in flight/s"] = jobs / await publisher.publish(jobs, IN_FLIGHT)
        few = max(1, jobs // 20)
        took = [await publisher.publish(1, 1) for _ in range(few)]
        figures["one by one/s"] = few / sum(took)
        figures["round trip p50 ms"] = percentile(took, 0.5) * 1e3
        return figures


@asynccontextmanager
async def _queue() -> Any:
    """A connection and a durable queue, which is deleted again."""
    options = _options()
    connection = await connect(options, options.addresses[0], None, 0)
    queue = f"heeler-bench-raw-{os.getpid()}"
    channel = await connection.channel()
    arguments = {"x-queue-type": options.queue_type}
    await channel.call(spec.Queue.Declare(queue=queue, durable=True, arguments=arguments))
    try:
        yield connection, queue
    finally:
        await channel.call(spec.Queue.Delete(queue=queue))
        await connection.close()


class _Publisher:
    """Counts confirms; writes as many more as may be in flight."""

    def __init__(self, channel: Channel, queue: str) -> None:
        self._channel = channel
        most = channel.connection.frame_max
        head = frames.publish_method(channel.number, "", queue)
        self._message = head + frames.content(channel.number, encoded(PROPERTIES), BODY, most)
        self._confirmed = self._written = self._wanted = self._at_once = 0
        self._done: asyncio.Future[None] = channel.connection.loop.create_future()
        channel.on_confirm = self._take

    async def publish(self, count: int, at_once: int) -> float:
        """Seconds until all are confirmed, with so many in flight."""
        self._done = self._channel.connection.loop.create_future()
        self._wanted, self._at_once = self._written + count, at_once
        begin = time.perf_counter()
        if at_once < count:
            self._fill()
        while at_once >= count and self._written < self._wanted:
            self._write(min(PIECE, self._wanted - self._written))
            await asyncio.sleep(0)
            await self._channel.connection.writable()
        await self._done
        return time.perf_counter() - begin

    def _take(self, tag: int, multiple: bool, taken: bool) -> None:
        assert taken
        self._confirmed = tag if multiple else self._confirmed + 1
        if self._confirmed >= self._wanted:
            if not self._done.done():
                self._done.set_result(None)
        elif self._at_once < self._wanted:
            self._fill()

    def _fill(self) -> None:
        room = min(self._wanted - self._written, self._at_once - (self._written - self._confirmed))
        if room > 0:
            self._write(room)

    def _write(self, count: int) -> None:
        self._channel.send(self._message * count)
        self._written += count


async def _consume(channel: Channel, queue: str, jobs: int) -> float:
    """Seconds until so many have come, acknowledged by the hundred."""
    done = channel.connection.loop.create_future()
    come = 0

    def take(message: Message) -> None:
        nonlocal come
        come += 1
        if come % ACKNOWLEDGED_AT_ONCE == 0 or come == jobs:
            channel.send(frames.acknowledgement(channel.number, message.number, multiple=True))
        if come == jobs:
            done.set_result(None)

    channel.on_message = take
    begin = time.perf_counter()
    await channel.call_all([spec.Basic.Qos(0, PREFETCH, False), spec.Basic.Consume(queue=queue, consumer_tag="raw")])
    await done
    took = time.perf_counter() - begin
    await channel.close()
    return took


def raw_pika(jobs: int) -> dict[str, float]:
    """pika's callback connection (`SelectConnection`), doing the same."""
    return _Pika(_options(), jobs).run()


class _Pika:
    """Walks through the cases, one callback after the other."""

    def __init__(self, options: RabbitmqOptions, jobs: int) -> None:
        self._queue_type = options.queue_type
        self._jobs = jobs
        self._queue = f"heeler-bench-pika-{os.getpid()}"
        self._figures: dict[str, float] = {}
        self._round_trips: list[float] = []
        self._written = self._confirmed = self._wanted = self._at_once = self._come = 0
        self._begin = 0.0
        self._next: Callable[[], None] = self._published_in_bulk
        self._error: BaseException | None = None
        parameters = pika.ConnectionParameters(options.addresses[0].host, options.addresses[0].port)
        self._connection = pika.SelectConnection(
            parameters, on_open_callback=self._opened, on_open_error_callback=self._failed, on_close_callback=self._over
        )

    def run(self) -> dict[str, float]:
        self._connection.ioloop.start()
        if self._error is not None:
            raise self._error
        return self._figures

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._channel_open)

    def _channel_open(self, channel: Any) -> None:
        self._channel = channel
        arguments = {"x-queue-type": self._queue_type}
        channel.queue_declare(self._queue, durable=True, arguments=arguments, callback=self._declared)

    def _declared(self, _: Any) -> None:
        self._channel.confirm_delivery(self._take_confirm, callback=lambda _: self._publish(self._jobs, self._jobs))

    def _publish(self, count: int, at_once: int) -> None:
        self._wanted, self._at_once = self._written + count, at_once
        self._begin = time.perf_counter()
        self._fill()

    def _fill(self) -> None:
        room = min(self._wanted - self._written, self._at_once - (self._written - self._confirmed), PIECE)
        for _ in range(room):
            self._channel.basic_publish("", self._queue, BODY, PROPERTIES, mandatory=True)
        self._written += room
        if room == PIECE:  # go on when the loop has turned
            self._connection.ioloop.add_callback_threadsafe(self._fill)

    def _take_confirm(self, frame: Any) -> None:
        method = frame.method
        self._confirmed = method.delivery_tag if method.multiple else self._confirmed + 1
        if self._confirmed >= self._wanted:
            took, following = time.perf_counter() - self._begin, self._next
            self._figures["took"] = took
            following()
        elif self._at_once < self._wanted:
            self._fill()

    def _published_in_bulk(self) -> None:
        self._figures["bulk/s"] = self._jobs / self._figures.pop("took")
        self._channel.basic_qos(prefetch_count=PREFETCH, callback=self._prefetch_set)

    def _prefetch_set(self, _: Any) -> None:
        self._begin = time.perf_counter()
        self._channel.basic_consume(self._queue, self._take_message, consumer_tag="raw")

    def _take_message(self, channel: Any, deliver: Any, _properties: Any, _body: bytes) -> None:
        self._come += 1
        if self._come % ACKNOWLEDGED_AT_ONCE == 0 or self._come == self._jobs:
            channel.basic_ack(deliver.delivery_tag, multiple=True)
        if self._come == self._jobs:
            self._figures["consumed/s"] = self._jobs / (time.perf_counter() - self._begin)
            channel.basic_cancel("raw", callback=self._consumed)

    def _consumed(self, _: Any) -> None:
        self._next = self._published_in_flight
        self._publish(self._jobs, IN_FLIGHT)

    def _published_in_flight(self) -> None:
        self._figures["100 in flight/s"] = self._jobs / self._figures.pop("took")
        self._next = self._published_one
        self._publish(1, 1)

    def _published_one(self) -> None:
        self._round_trips.append(self._figures.pop("took"))
        if len(self._round_trips) < max(1, self._jobs // 20):
            self._publish(1, 1)
            return
        self._figures["one by one/s"] = len(self._round_trips) / sum(self._round_trips)
        self._figures["round trip p50 ms"] = percentile(self._round_trips, 0.5) * 1e3
        self._channel.queue_delete(self._queue, callback=lambda _: self._connection.close())

    def _failed(self, _: Any, error: BaseException) -> None:
        self._error = error
        self._connection.ioloop.stop()

    def _over(self, _: Any, reason: BaseException) -> None:
        if not self._figures.get("one by one/s"):
            self._error = reason
        self._connection.ioloop.stop()
