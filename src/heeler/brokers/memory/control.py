"""Presence, commands and events between the workers of this process."""

from __future__ import annotations

import msgspec

from heeler.brokers.memory.news import Mailbox
from heeler.brokers.memory.state import MemoryState
from heeler.contracts import CommandInbox, ControlChannel, EventInbox
from heeler.model import Command, EventBatch, WorkerPresence

__all__ = ["MemoryControlChannel"]


class MemoryCommandInbox(CommandInbox):
    """The commands for one worker."""

    def __init__(self, state: MemoryState, worker_id: str) -> None:
        self._state = state
        self._worker_id = worker_id
        self._mailbox: Mailbox[Command] = Mailbox()
        with state.lock:
            state.command_inboxes[worker_id] = self._mailbox

    async def receive(self) -> list[Command]:
        return await self._mailbox.receive()

    async def close(self) -> None:
        with self._state.lock:
            if self._state.command_inboxes.get(self._worker_id) is self._mailbox:
                del self._state.command_inboxes[self._worker_id]


class MemoryEventInbox(EventInbox):
    """A mailbox among those of all followers."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._mailbox: Mailbox[EventBatch] = Mailbox()
        with state.lock:
            state.followers.append(self._mailbox)

    async def receive(self) -> list[EventBatch]:
        return await self._mailbox.receive()

    async def close(self) -> None:
        with self._state.lock:
            self._state.followers = [other for other in self._state.followers if other is not self._mailbox]


class MemoryControlChannel(ControlChannel):
    """Who announced itself, by the broker's clock; a command goes straight into the inboxes it is meant for."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def announce(self, presence: WorkerPresence) -> None:
        with self._state.lock:
            self._state.workers[presence.id] = msgspec.structs.replace(presence, at=self._state.clock.time())

    async def withdraw(self, worker_id: str) -> None:
        with self._state.lock:
            self._state.workers.pop(worker_id, None)

    async def live(self) -> list[WorkerPresence]:
        state = self._state
        with state.lock:
            now = state.clock.time()
            state.workers = {key: worker for key, worker in state.workers.items() if worker.at + worker.ttl > now}
            return sorted(state.workers.values(), key=lambda worker: worker.id)

    async def send(self, command: Command) -> None:
        """To the workers that `command.workers` names by id or name; to all where it names none."""
        state = self._state
        with state.lock:
            for worker_id, mailbox in tuple(state.command_inboxes.items()):
                worker = state.workers.get(worker_id)
                names = {worker_id, worker.name} if worker is not None else {worker_id}
                if (not command.workers or names.intersection(command.workers)) and not mailbox.put((command,)):
                    del state.command_inboxes[worker_id]

    async def commands(self, worker_id: str) -> CommandInbox:
        return MemoryCommandInbox(self._state, worker_id)

    async def follow(self) -> EventInbox:
        return MemoryEventInbox(self._state)

    async def is_followed(self) -> bool:
        return bool(self._state.followers)

    async def tell(self, batch: EventBatch) -> bool:
        state = self._state
        with state.lock:
            state.followers = [follower for follower in state.followers if follower.put((batch,))]
            return bool(state.followers)
