"""Presence, commands and events between the processes that share a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from heeler.brokers.sqlite.mailbox import Mailbox
from heeler.brokers.sqlite.session import Session
from heeler.contracts import CommandInbox, ControlChannel, EventInbox
from heeler.model import Command, EventBatch, WorkerPresence

__all__ = ["SqliteControlChannel"]

_KEPT = 60.0  # seconds that a command waits for its worker
_FOLLOWED = "\0events"  # stands in the table of watches for the id of a job
_encode = msgspec.msgpack.Encoder().encode
_decode_presence = msgspec.msgpack.Decoder(WorkerPresence).decode
_decode_command = msgspec.msgpack.Decoder(Command).decode
_decode_batch = msgspec.msgpack.Decoder(EventBatch).decode


class SqliteCommandInbox(CommandInbox):
    """The commands for one worker stand in a table; a datagram only says that there are some."""

    def __init__(self, session: Session, worker_id: str) -> None:
        self._session = session
        self._worker_id = worker_id
        self._hinted = asyncio.Event()
        self._mailbox = Mailbox(session.database.path, lambda _: self._hinted.set())
        self._closed = False
        session.on_close(self._mailbox.close)
        with session.step() as step:
            step.run("listen", (worker_id, self._mailbox.address))

    async def receive(self) -> list[Command]:
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            with self._session.step() as step:
                rows = step.run("take_commands", (self._worker_id,)).fetchall()
            if rows:
                return [_decode_command(command) for _, command in sorted(rows)]

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._mailbox.close()
        with self._session.step() as step:
            step.run("unlisten", (self._worker_id, self._mailbox.address))


class SqliteEventInbox(EventInbox):
    """A mailbox whose address stands among the watches, under an id that no job has."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._mailbox = Mailbox(session.database.path, self._take)
        self._batches: list[EventBatch] = []
        self._arrived = asyncio.Event()
        self._closed = False
        session.on_close(self._mailbox.close)
        with session.step() as step:
            step.run("watch", (_FOLLOWED, self._mailbox.address))

    async def receive(self) -> list[EventBatch]:
        while not self._batches:
            self._arrived.clear()
            await self._arrived.wait()
        batches, self._batches = self._batches, []
        return batches

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._mailbox.close()
        with self._session.step() as step:
            step.run("unwatch_all", (self._mailbox.address,))

    def _take(self, datagram: bytes) -> None:
        try:
            self._batches.append(_decode_batch(datagram))
        except msgspec.DecodeError:
            return  # not from us
        self._arrived.set()


class SqliteControlChannel(ControlChannel):
    """Who announced itself, by the clock of this machine, which all that share the file are on."""

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session

    async def announce(self, presence: WorkerPresence) -> None:
        with self._session().step() as step:
            step.run("prune_workers", (step.now,))
            written = msgspec.structs.replace(presence, at=step.now)
            step.run("announce", (presence.id, step.now + presence.ttl, _encode(written)))

    async def withdraw(self, worker_id: str) -> None:
        with self._session().step() as step:
            step.run("withdraw", (worker_id,))

    async def live(self) -> list[WorkerPresence]:
        with self._session().brisk.reading() as reader:
            return [_decode_presence(row[0]) for row in reader.run("live_workers", (reader.now,))]

    async def send(self, command: Command) -> None:
        """To the workers that `command.workers` names by id or name; to all where it names none."""
        session = self._session()
        data = _encode(command)
        addresses: list[str] = []
        with session.step() as step:
            step.run("prune_commands", (step.now,))
            for worker_id, address, presence in step.run("listeners").fetchall():
                names = {worker_id} if presence is None else {worker_id, _decode_presence(presence).name}
                if not command.workers or names.intersection(command.workers):
                    step.run("put_command", (worker_id, step.now + _KEPT, data))
                    addresses.append(address)
        gone = [address for address in addresses if not session.post.hint(address)]
        if gone:
            with session.step() as step:
                step.run_many("unlisten_address", [(address,) for address in gone])

    async def commands(self, worker_id: str) -> CommandInbox:
        return SqliteCommandInbox(self._session(), worker_id)

    async def follow(self) -> EventInbox:
        return SqliteEventInbox(self._session())

    async def is_followed(self) -> bool:
        return bool(self._followers())

    async def tell(self, batch: EventBatch) -> bool:
        session = self._session()
        followers = self._followers()
        if not followers:
            return False
        data = _encode(batch)
        gone = [address for address in followers if not session.post.send(address, data)]
        if gone:
            with session.step() as step:
                step.run_many("unwatch_all", [(address,) for address in gone])
        return len(gone) < len(followers)

    def _followers(self) -> list[str]:
        with self._session().brisk.reading() as reader:
            return [address for (address,) in reader.run("watchers_of", (_FOLLOWED,))]
