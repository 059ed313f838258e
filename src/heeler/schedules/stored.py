"""How definition and state are written into a store's entry, and read from it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from heeler.contracts import ScheduleEntry
from heeler.model import ScheduleDefinition, ScheduleState

__all__ = ["Known", "due_at", "encode_state", "entry_of", "known_of"]

_VERSION = 1
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_definition = msgspec.msgpack.Decoder(ScheduleDefinition).decode
_decode_state = msgspec.msgpack.Decoder(ScheduleState).decode


class Known(NamedTuple):
    """A schedule as it was read: whoever changes it expects `entry.state`."""

    entry: ScheduleEntry
    definition: ScheduleDefinition
    state: ScheduleState

    @property
    def name(self) -> str:
        return self.entry.name


def entry_of(name: str, definition: ScheduleDefinition, state: ScheduleState, origin: str = "") -> ScheduleEntry:
    return ScheduleEntry(
        name=name,
        definition=bytes((_VERSION,)) + _encode(definition),
        state=encode_state(state),
        due_at=due_at(state),
        origin=origin,
    )


def known_of(entry: ScheduleEntry) -> Known:
    """Raises ValueError for what this Heeler cannot read."""
    try:
        for part in (entry.definition, entry.state):
            if part[:1] != bytes((_VERSION,)):
                raise ValueError(f"it was written by another version of Heeler ({part[:1].hex() or 'nothing'})")
        return Known(
            entry, _decode_definition(memoryview(entry.definition)[1:]), _decode_state(memoryview(entry.state)[1:])
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"it cannot be read: {error}") from error


def encode_state(state: ScheduleState) -> bytes:
    return bytes((_VERSION,)) + _encode(state)


def due_at(state: ScheduleState) -> float | None:
    """When a scheduler is to look at it."""
    return None if state.paused or state.disabled else state.next_at
