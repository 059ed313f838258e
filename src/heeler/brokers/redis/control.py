"""Presence, commands and events between the processes that share a server."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from heeler.brokers.redis.link import Link
from heeler.brokers.redis.listener import Listener
from heeler.brokers.redis.scripts import script
from heeler.contracts import CommandInbox, ControlChannel, EventInbox
from heeler.errors import HeelerError
from heeler.model import Command, EventBatch, WorkerPresence

__all__ = ["RedisControlChannel"]

T = TypeVar("T")
logger = logging.getLogger("heeler.broker.redis")
_encode = msgspec.msgpack.Encoder().encode
_decode_presence = msgspec.msgpack.Decoder(WorkerPresence).decode
_decode_command = msgspec.msgpack.Decoder(Command).decode
_decode_batch = msgspec.msgpack.Decoder(EventBatch).decode


class _Inbox(ABC, Generic[T]):
    """What is published to an address of this process, which stands in a list on the server while it is wanted."""

    def __init__(self, link: Link, listener: Listener, decode: Callable[[bytes], T]) -> None:
        self._link = link
        self._listener = listener
        self._decode = decode
        self._address = ""
        self._messages: list[T] = []
        self._arrived = asyncio.Event()
        self._listed = False

    @abstractmethod
    async def enlist(self) -> None:
        """Write the address into the list."""

    @abstractmethod
    async def strike(self) -> None:
        """Take it out."""

    async def open(self) -> None:
        self._address = await self._listener.listen(self._take, self._missed)
        await self._enlist()

    async def _enlist(self) -> None:
        await self.enlist()
        self._listed = True

    async def receive(self) -> list[T]:
        while not self._messages:
            await self._listener.connected()
            if not self._listed:
                await self._enlist()
            self._arrived.clear()
            await self._arrived.wait()
        messages, self._messages = self._messages, []
        return messages

    async def close(self) -> None:
        await self._listener.stop(self._address)
        try:
            await self.strike()
        except HeelerError as error:
            logger.debug("the address %s could not be given back: %s", self._address, error)

    def _take(self, message: bytes) -> None:
        try:
            self._messages.append(self._decode(message))
        except msgspec.DecodeError as error:
            logger.error("a message at the address %s is none of ours: %s", self._address, error)
        self._arrived.set()

    def _missed(self) -> None:
        self._listed = False
        self._arrived.set()


class RedisCommandInbox(_Inbox[Command], CommandInbox):
    """The commands for one worker."""

    def __init__(self, link: Link, listener: Listener, prefix: str, worker_id: str) -> None:
        super().__init__(link, listener, _decode_command)
        self._listeners = f"{prefix}listeners"
        self._worker_id = worker_id

    async def enlist(self) -> None:
        await self._link.command("HSET", self._listeners, self._worker_id, self._address)

    async def strike(self) -> None:
        await self._link.run(script("unlisten"), self._worker_id, self._address)


class RedisEventInbox(_Inbox[EventBatch], EventInbox):
    """Events for one who follows them."""

    def __init__(self, link: Link, listener: Listener, prefix: str) -> None:
        super().__init__(link, listener, _decode_batch)
        self._followers = f"{prefix}followers"

    async def enlist(self) -> None:
        await self._link.command("SADD", self._followers, self._address)

    async def strike(self) -> None:
        await self._link.command("SREM", self._followers, self._address)


class RedisControlChannel(ControlChannel):
    """Who announced itself, by the server's clock. A command that nobody hears is lost, which only delays."""

    def __init__(self, link: Callable[[], Link], listener: Callable[[], Listener], prefix: str) -> None:
        self._link = link
        self._listener = listener
        self._prefix = prefix

    async def announce(self, presence: WorkerPresence) -> None:
        await self._link().run(script("announce"), presence.id, presence.name, presence.ttl, _encode(presence))

    async def withdraw(self, worker_id: str) -> None:
        await self._link().run(script("announce"), worker_id, "", 0, "")

    async def live(self) -> list[WorkerPresence]:
        said = await self._link().run(script("live"))
        workers = []
        for n in range(0, len(said), 2):
            try:
                workers.append(msgspec.structs.replace(_decode_presence(said[n + 1]), at=float(said[n])))
            except (ValueError, msgspec.DecodeError) as error:
                logger.error("what a worker says of itself cannot be read: %s", error)
        return sorted(workers, key=lambda worker: worker.id)

    async def send(self, command: Command) -> None:
        """To the workers that `command.workers` names by id or name; to all where it names none."""
        await self._link().run(script("command"), _encode(command), len(command.workers), *command.workers)

    async def commands(self, worker_id: str) -> CommandInbox:
        inbox = RedisCommandInbox(self._link(), self._listener(), self._prefix, worker_id)
        await inbox.open()
        return inbox

    async def follow(self) -> EventInbox:
        inbox = RedisEventInbox(self._link(), self._listener(), self._prefix)
        await inbox.open()
        return inbox

    async def is_followed(self) -> bool:
        return bool(await self._link().command("EXISTS", f"{self._prefix}followers"))

    async def tell(self, batch: EventBatch) -> bool:
        return bool(await self._link().run(script("tell"), _encode(batch)))
