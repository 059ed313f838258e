"""Presence and commands: who works here, and how a word reaches them at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heeler.model import Command, WorkerPresence

__all__ = ["CommandInbox", "ControlChannel"]


class CommandInbox(ABC):
    """Where commands for this process's workers arrive."""

    @abstractmethod
    async def receive(self) -> list[Command]:
        """Wait for commands; may be cancelled without losing any."""

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
