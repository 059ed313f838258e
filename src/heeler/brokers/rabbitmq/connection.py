"""An AMQP connection on the running loop: frames in and out, channels, heartbeats; one write for a whole batch."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from pika import frame, spec

from heeler.brokers.rabbitmq import frames
from heeler.brokers.rabbitmq.faults import from_close, from_socket, lost
from heeler.brokers.rabbitmq.options import Address, RabbitmqOptions
from heeler.errors import BrokerUnavailable, ConfigurationError, HeelerError

__all__ = ["Channel", "Connection", "Message", "connect"]

_CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}
_SILENCE = 1.5  # heartbeats without a sign of life after which the server is taken for dead


class Message:
    """A message from the server, for as long as it is in this process's hands."""

    __slots__ = ("body", "came", "channel", "consumer", "number", "properties", "redelivered")

    def __init__(self, channel: Channel, consumer: bytes, number: int, redelivered: bool) -> None:
        self.channel = channel
        self.came = channel.connection.heard  # when, by the loop's clock
        self.consumer = consumer  # the consumer tag
        self.number = number  # the delivery tag
        self.redelivered = redelivered
        self.properties = b""  # as they came
        self.body = b""


class Channel:
    """One channel. The callbacks are for what the server sends unasked."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.closed: HeelerError | None = None
        self.on_message: Callable[[Message], None] = _ignore
        self.on_confirm: Callable[[int, bool, bool], None] = _ignore  # tag, and all before it, taken or refused
        self.on_return: Callable[[Any, bytes], None] = _ignore  # the method, the body
        self.on_cancel: Callable[[str], None] = _ignore  # the tag of a consumer that the server ended
        self.on_closed: Callable[[HeelerError], None] = _ignore
        self._calls: deque[asyncio.Future[Any]] = deque()
        self._arriving: Message | Any = None  # whose content is on its way
        self._left = 0  # bytes of it that are missing
        self._pieces: list[bytes] = []

    # Asking

    def ask(self, method: Any) -> asyncio.Future[Any]:
        """Send a method that is answered; answers come in the order of the questions."""
        answer: asyncio.Future[Any] = self.connection.loop.create_future()
        if self.closed is not None:
            answer.set_exception(self.closed)
        else:
            self._calls.append(answer)
            self.connection.write(frame.Method(self.number, method).marshal())
        return answer

    async def call(self, method: Any) -> Any:
        """The answer to a method. Raises what closed the channel, BrokerUnavailable where none comes in time."""
        return (await self.call_all([method]))[0]

    async def call_all(self, methods: Sequence[Any]) -> list[Any]:
        """The answers to methods that are sent at once."""
        answers = [self.ask(method) for method in methods]
        options = self.connection.options
        try:
            async with asyncio.timeout(options.connect_timeout + 0.1 * len(methods)):
                return await asyncio.gather(*answers)
        except TimeoutError:
            name = methods[0].NAME
            if self.connection.blocked is None:  # else it reads nothing from us until its alarm is over
                self.connection.abort(f"no answer to {name} in time")
            raise BrokerUnavailable(
                f"RabbitMQ at {self.connection.shown} does not answer {name} in time", outcome_unknown=True
            ) from None
        finally:
            for answer in answers:  # a failed one fails them all, and each has to be looked at
                if answer.done() and not answer.cancelled():
                    answer.exception()

    def send(self, data: bytes) -> None:
        """Send frames that are not answered."""
        if self.closed is None:
            self.connection.write(data)

    async def close(self) -> None:
        """End the channel in order; what is unacknowledged goes back to its queues. Harmless twice."""
        if self.closed is None and self.connection.lost is None:
            try:
                await self.call(spec.Channel.Close(200, "", 0, 0))
            except BrokerUnavailable:
                pass  # it is closed by that as well
        self.end(BrokerUnavailable(f"RabbitMQ at {self.connection.shown}: the channel is closed"))

    def end(self, error: HeelerError) -> None:
        """Nothing comes any more."""
        if self.closed is not None:
            return
        self.closed = error
        self.connection.channels.pop(self.number, None)
        for answer in self._calls:
            if not answer.done():
                answer.set_exception(error)
        self._calls.clear()
        self.on_closed(error)

    # What comes

    def take_method(self, method: Any) -> None:
        if isinstance(method, spec.Basic.Return):
            self._arriving = method
        elif isinstance(method, spec.Basic.GetOk):
            self._arriving = Message(self, b"", method.delivery_tag, method.redelivered)
        elif isinstance(method, spec.Basic.Cancel):
            self.on_cancel(method.consumer_tag)
        elif isinstance(method, spec.Channel.Close):
            self.connection.write(frame.Method(self.number, spec.Channel.CloseOk()).marshal())
            self.end(from_close(method.reply_code, method.reply_text, self.connection.shown))
        elif isinstance(method, spec.Channel.Flow):
            self.connection.write(frame.Method(self.number, spec.Channel.FlowOk(method.active)).marshal())
        else:
            self._answer(method)

    def take_delivery(self, data: bytes, at: int) -> None:
        """The arguments of a Basic.Deliver begin at `at`."""
        end = at + 1 + data[at]
        number, redelivered = frames.TAG_AND_BITS.unpack_from(data, end)
        self._arriving = Message(self, data[at + 1 : end], number, bool(redelivered))

    def take_header(self, data: bytes, at: int, end: int) -> None:
        self._left = frames.body_size_of(data, at)
        arriving = self._arriving
        if type(arriving) is Message:
            arriving.properties = data[at + 12 : end]
        if not self._left:
            self._complete(b"")

    def take_body(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left > 0:
            self._pieces.append(piece)
        elif self._pieces:
            body = b"".join([*self._pieces, piece])
            self._pieces.clear()
            self._complete(body)
        else:
            self._complete(piece)

    def _complete(self, body: bytes) -> None:
        arrived, self._arriving = self._arriving, None
        if type(arrived) is not Message:
            self.on_return(arrived, body)
            return
        arrived.body = body
        if arrived.consumer:
            self.on_message(arrived)
        else:
            self._answer(arrived)

    def _answer(self, with_: Any) -> None:
        if self._calls:
            answer = self._calls.popleft()
            if not answer.done():
                answer.set_result(with_)


class Connection(asyncio.Protocol):
    """Made by `connect`. `on_lost` is called once when it is gone, however that came."""

    def __init__(self, options: RabbitmqOptions, address: Address, heartbeat: int) -> None:
        self.options = options
        self.shown = str(address)
        self.loop = asyncio.get_running_loop()
        self.channels: dict[int, Channel] = {}
        self.lost: HeelerError | None = None
        self.on_lost: Callable[[HeelerError], None] = _ignore
        self.blocked: str | None = None  # why the server makes publishers wait
        self.server: dict[str, Any] = {}  # what it says of itself
        self.frame_max = options.frame_max
        self.heartbeat = heartbeat
        self._channel_max = options.channel_max
        self._root = Channel(self, 0)
        self._started: asyncio.Future[Any] = self.loop.create_future()
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport
        self._waiting: list[bytes] = []  # to be written at the end of this turn of the loop
        self._writable = asyncio.Event()
        self._writable.set()
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        self._rest = b""
        self.heard = self.loop.time()  # when the server last sent something
        self._timer: asyncio.TimerHandle | None = None

    @property
    def version(self) -> tuple[int, ...]:
        """Major and minor of the server's."""
        text = str(self.server.get("version", ""))
        return tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())

    # The life of a connection

    async def greet(self) -> None:
        """Shake hands. Raises BrokerUnavailable or ConfigurationError."""
        options = self.options
        self._transport.write(frames.PROTOCOL)
        start = await self._started
        self.server = start.server_properties
        if b"PLAIN" not in start.mechanisms.split():
            raise ConfigurationError(
                f"RabbitMQ at {self.shown} takes no user and password (PLAIN), only {start.mechanisms.decode()}; allow "
                f"auth_mechanisms PLAIN"
            )
        about = {
            "product": "Heeler",
            "version": version("heeler"),
            "platform": "Python",
            "connection_name": options.connection_name,
            "capabilities": _CAPABILITIES,
        }
        secret = f"\0{options.username}\0{options.password}"
        tune = await self._root.ask(spec.Connection.StartOk(about, "PLAIN", secret, "en_US"))
        self.frame_max = _smaller(options.frame_max, tune.frame_max)
        self._channel_max = _smaller(options.channel_max, tune.channel_max)
        self.heartbeat = _smaller(self.heartbeat, tune.heartbeat)
        self.write(frame.Method(0, spec.Connection.TuneOk(self._channel_max, self.frame_max, self.heartbeat)).marshal())
        await self._root.ask(spec.Connection.Open(options.vhost))
        self._beat()

    async def channel(self) -> Channel:
        """A new channel. Raises BrokerUnavailable or ConfigurationError."""
        if self.lost is not None:
            raise self.lost
        number = next((free for free in range(1, self._channel_max + 1) if free not in self.channels), 0)
        if not number:
            raise ConfigurationError(
                f"RabbitMQ at {self.shown} allows {self._channel_max} channels on a connection, and all are used; "
                f"raise channel_max there and in the URL, or run fewer workers in one process"
            )
        made = self.channels[number] = Channel(self, number)
        await made.call(spec.Channel.Open())
        return made

    async def close(self) -> None:
        """End it in order. Harmless twice."""
        if self.lost is None:
            try:
                async with asyncio.timeout(self.options.connect_timeout):
                    await self._root.ask(spec.Connection.Close(200, "closed by Heeler", 0, 0))
            except (TimeoutError, HeelerError):
                pass  # it ends anyway
        self.abort("it was closed here")
        await self._gone.wait()

    def abort(self, why: str) -> None:
        """End it at once."""
        self._transport.abort()
        self._end(lost(self.shown, why))

    def _end(self, error: HeelerError) -> None:
        if self.lost is not None:
            return
        self.lost = error
        if self._timer is not None:
            self._timer.cancel()
        if not self._started.done():
            self._started.cancel()
        for channel in (*self.channels.values(), self._root):
            channel.end(error)
        self._writable.set()
        self._unblocked.set()
        self.on_lost(error)

    def _beat(self) -> None:
        if not self.heartbeat or self.lost is not None:
            return
        silent = self.loop.time() - self.heard
        if silent > _SILENCE * self.heartbeat:
            self.abort(f"no sign of life for {silent:.1f} s")
            return
        self.write(frames.HEARTBEAT_FRAME)
        self._timer = self.loop.call_later(self.heartbeat / 2, self._beat)

    # Writing

    def write(self, data: bytes) -> None:
        """Send frames: what is written in one turn of the loop goes out as one piece."""
        if not self._waiting:
            self.loop.call_soon(self._flush)
        self._waiting.append(data)

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        if self.lost is None:
            self._transport.write(data)

    @property
    def is_writable(self) -> bool:
        """Whether `writable` would not have to wait."""
        return self.blocked is None and self.lost is None and self._writable.is_set()

    async def writable(self) -> None:
        """Wait until the server reads and no alarm makes publishers wait. Raises what ended the connection."""
        if self.blocked is not None:
            await self._unblocked.wait()
        if not self._writable.is_set():
            await self._writable.wait()
        if self.lost is not None:
            raise self.lost

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment] # uvloop's is no subclass of asyncio's

    def connection_lost(self, error: Exception | None) -> None:
        self._end(lost(self.shown, str(error) if error is not None else "the server has ended it"))
        self._gone.set()

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        if self._rest:
            data = self._rest + data
        at = 0
        here = len(data)
        channels = self.channels
        head = frames.FRAME.unpack_from
        while here - at > frames.OVERHEAD - 1:
            kind, number, size = head(data, at)
            start = at + 7
            end = start + size
            if end >= here:
                break
            at = end + 1
            if number:
                channel = channels.get(number)
                if channel is None:
                    continue  # it was closed while this was on its way
                if kind == frames.BODY:
                    channel.take_body(data[start:end])
                elif kind == frames.HEADER:
                    channel.take_header(data, start, end)
                else:
                    (which,) = frames.METHOD_ID.unpack_from(data, start)
                    if which == frames.DELIVER:
                        channel.take_delivery(data, start + 4)
                    elif which == frames.ACK or which == frames.NACK:
                        tag, bits = frames.TAG_AND_BITS.unpack_from(data, start + 4)
                        channel.on_confirm(tag, bool(bits & 1), which == frames.ACK)
                    else:
                        channel.take_method(_decoded(which, data[start:end]))
            elif kind == frames.METHOD:
                (which,) = frames.METHOD_ID.unpack_from(data, start)
                self._take(_decoded(which, data[start:end]))
            elif kind != frames.HEARTBEAT:
                self.abort("the other side does not speak AMQP 0-9-1")
                return
        self._rest = data[at:]

    def _take(self, method: Any) -> None:
        """A method of the connection itself."""
        if isinstance(method, spec.Connection.Start):
            if not self._started.done():
                self._started.set_result(method)
        elif isinstance(method, spec.Connection.Close):
            self._transport.write(frame.Method(0, spec.Connection.CloseOk()).marshal())
            self._transport.close()
            self._end(from_close(method.reply_code, method.reply_text, self.shown))
        elif isinstance(method, spec.Connection.Blocked):
            self.blocked = method.reason
            self._unblocked.clear()
        elif isinstance(method, spec.Connection.Unblocked):
            self.blocked = None
            self._unblocked.set()
        else:
            self._root.take_method(method)


async def connect(
    options: RabbitmqOptions, address: Address, context: ssl.SSLContext | None, heartbeat: int
) -> Connection:
    """An open connection to one server. Raises BrokerUnavailable or ConfigurationError."""
    connection: Connection | None = None
    try:
        async with asyncio.timeout(options.connect_timeout):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(options, address, heartbeat),
                address.host,
                address.port,
                ssl=context,
                server_hostname=(options.server_name or address.host) if context is not None else None,
            )
            await connection.greet()
    except asyncio.CancelledError:
        if connection is None or connection.lost is None:
            if connection is not None:
                connection.abort("connecting was given up")
            raise
        raise connection.lost from None  # the server closed it before its first word
    except (OSError, TimeoutError) as error:
        if connection is not None:
            connection.abort("it does not shake hands")
        raise from_socket(error, str(address), tls=context is not None) from error
    except BaseException:
        if connection is not None:
            connection.abort("the handshake failed")
        raise
    return connection


def _decoded(which: int, payload: bytes) -> Any:
    method = spec.methods[which]()
    method.decode(payload, 4)
    return method


def _smaller(ours: int, theirs: int) -> int:
    """The limit that both sides keep; zero means none."""
    return min(ours, theirs) or max(ours, theirs)


def _ignore(*_: Any) -> None:
    """Nobody listens."""
