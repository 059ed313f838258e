"""How a message becomes an envelope and back; foreign systems' messages are other wire formats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heeler.model import Envelope, Message

__all__ = ["WireFormat"]


class WireFormat(ABC):
    """`name` is what `Envelope.format` says."""

    name: str

    @abstractmethod
    def seal(self, message: Message, *, keeps_result: bool, reply_to: str | None = None) -> Envelope:
        """The envelope of a message."""

    def seal_like(self, envelope: Envelope) -> Callable[[str, bytes, float], Envelope] | None:
        """Seals more messages by id, payload and `enqueued_at` that are in all else like that of `envelope`, which this
        format sealed.

        None: each is to be sealed by itself. It saves time where many jobs of a task are sent.
        """
        return None

    @abstractmethod
    def open(self, envelope: Envelope) -> Message:
        """The message in an envelope. Raises ValueError with the reason if its options cannot be understood."""
