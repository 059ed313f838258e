"""Presence, commands and events between the processes that share a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from heeler.brokers.redis.link import Link
from heeler.brokers.redis.listener import Listener
from heeler.brokers.redis.scripts import script
from heeler.contracts import CommandInbox, ControlChannel, EventInbox
from heeler.errors import HeelerError
from heeler.model import Command, EventBatch, WorkerPresence

__all__ = ["RedisControlChannel"]

logger = logging.getLogger("heeler.broker.redis")
_encode = msgspec.msgpack.Encoder().encode
_decode_presence = msgspec.msgpack.Decoder(WorkerPresence).decode
_decode_command = msgspec.msgpack.Decoder(Command).decode
_decode_batch = msgspec.msgpack.Decoder(EventBatch).decode


class RedisCommandInbox(CommandInbox):
    """The commands for one worker, as they are published to its address."""

    def __init__(self, link: Link, listener: Listener, prefix: str, worker_id: str) -> None:
        self._link = link
        self._listener = listener
        self._prefix = prefix
        self._worker_id = worker_id
        self._address = ""
        self._commands: list[Command] = []
        self._arrived = asyncio.Event()
        self._listed = False

    async def open(self) -> None:
        self._address = await self._listener.listen(self._take, self._missed)
        await self._enlist()

    async def _enlist(self) -> None:
        await self._link.command("HSET", f"{self._prefix}listeners", self._worker_id, self._address)
        self._listed = True

    async def receive(self) -> list[Command]:
        while not self._commands:
            await self._listener.connected()
            if not self._listed:
                await self._enlist()
            self._arrived.clear()
            await self._arrived.wait()
        commands, self._commands = self._commands, []
        return commands

    async def close(self) -> None:
        await self._listener.stop(self._address)
        try:
            await self._link.run(script("unlisten"), self._worker_id, self._address)
        except HeelerError as error:
            logger.debug("the address of %s could not be given back: %s", self._worker_id, error)

    def _take(self, message: bytes) -> None:
        try:
            self._commands.append(_decode_command(message))
        except msgspec.DecodeError as error:
            logger.error("a message on the channel of commands is none of ours: %s", error)
        self._arrived.set()

    def _missed(self) -> None:
        self._listed = False
        self._arrived.set()


class RedisEventInbox(EventInbox):
    """Events as they are published to the address of one who follows them."""

    def __init__(self, link: Link, listener: Listener, prefix: str) -> None:
        self._link = link
        self._listener = listener
        self._followers = f"{prefix}followers"
        self._address = ""
        self._batches: list[EventBatch] = []
        self._arrived = asyncio.Event()
        self._listed = False

    async def open(self) -> None:
        self._address = await self._listener.listen(self._take, self._missed)
        await self._enlist()

    async def _enlist(self) -> None:
        await self._link.command("SADD", self._followers, self._address)
        self._listed = True

    async def receive(self) -> list[EventBatch]:
        while not self._batches:
            await self._listener.connected()
            if not self._listed:
                await self._enlist()
            self._arrived.clear()
            await self._arrived.wait()
        batches, self._batches = self._batches, []
        return batches

    async def close(self) -> None:
        await self._listener.stop(self._address)
        try:
            await self._link.command("SREM", self._followers, self._address)
        except HeelerError as error:
            logger.debug("the address %s could not be given back: %s", self._address, error)

    def _take(self, message: bytes) -> None:
        try:
            self._batches.append(_decode_batch(message))
        except msgspec.DecodeError as error:
            logger.error("a message on the channel of events is none of ours: %s", error)
        self._arrived.set()

    def _missed(self) -> None:
        self._listed = False
        self._arrived.set()


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
