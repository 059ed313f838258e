"""Presence, commands and events: who works here, how a word reaches them at once, and what they tell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from heeler.errors import ConfigurationError

if TYPE_CHECKING:
    from heeler.model import Command, EventBatch, WorkerPresence

__all__ = ["CommandInbox", "ControlChannel", "EventInbox"]


class CommandInbox(ABC):
    """Where commands for this process's workers arrive."""

    @abstractmethod
    async def receive(self) -> list[Command]:
        """Wait for commands; may be cancelled without losing any."""

    @abstractmethod
    async def close(self) -> None: ...


class EventInbox(ABC):
    """Where events arrive for one who follows them."""

    @abstractmethod
    async def receive(self) -> list[EventBatch]:
        """Wait for events; may be cancelled without losing any. Batches may get lost, as their numbers tell."""

    @abstractmethod
    async def close(self) -> None: ...


class ControlChannel(ABC):
    """A command only makes faster what the store would tell anyway; losing one delays, never breaks."""

    @abstractmethod
    async def announce(self, presence: WorkerPresence) -> None:
        """This worker is alive, for `presence.ttl` seconds."""

    @abstractmethod
    async def withdraw(self, worker_id: str) -> None: ...

    @abstractmethod
    async def live(self) -> list[WorkerPresence]:
        """The workers whose last announcement still holds."""

    @abstractmethod
    async def send(self, command: Command) -> None: ...

    @abstractmethod
    async def commands(self, worker_id: str) -> CommandInbox:
        """Open the inbox of one worker."""

    # Events. A channel that has none leaves these as they are.

    async def follow(self) -> EventInbox:
        """Open an inbox that gets what is told from now on. Raises ConfigurationError where events are not carried."""
        raise ConfigurationError(
            f"events cannot be followed: {type(self).__name__}, the control channel of this broker, carries none"
        )

    async def is_followed(self) -> bool:
        """Whether somebody follows, or may do so: a dead follower is found out by `tell` only."""
        return False

    async def tell(self, batch: EventBatch) -> bool:
        """Send events to all who follow. False: nobody does."""
        return False
