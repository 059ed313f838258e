"""Frames: how whole messages cross a stream socket between a worker, its template process and its children."""

from __future__ import annotations

import enum
import struct

import msgspec

__all__ = ["CHILD_NUMBER", "CHILD_STATUS", "Frame", "FrameReader", "Ready", "TemplateSettings", "frame"]

_HEADER = struct.Struct("!BQ")
CHILD_NUMBER = struct.Struct("!BI")  # a request to the template: what to do (a `Frame`) and with which child
CHILD_STATUS = struct.Struct("!Ii")  # a child, and its exit code (negative: the signal) or the error number


class Frame(enum.IntEnum):
    """What a frame says."""

    ORDER = 1  # worker → child: run this
    NOTE = 2  # either way, while a call runs
    HELLO = 3  # child → worker: I exist
    REPLY = 4  # child → worker: what the entry point returned
    FAILED = 5  # child → worker: the traceback of what the entry point raised
    SETTINGS = 6  # worker → template, first of all
    READY = 7  # template → worker: imports are done
    FORK = 8  # worker → template, with two descriptors
    KILL = 9  # worker → template
    EXITED = 10  # template → worker
    FORK_FAILED = 11  # template → worker


class TemplateSettings(msgspec.Struct, frozen=True):
    """How the worker's interpreter is set up, so that imports mean the same here."""

    entry: str
    imports: tuple[str, ...]
    sys_path: tuple[str, ...]
    argv: tuple[str, ...]
    python_path: str | None  # of the worker's environment; ours was changed to find Heeler
    setup: tuple[str, str] | None = None  # "module:function", and the text to call it with after the imports


class Ready(msgspec.Struct, frozen=True):
    """The template can fork. `failures` are tracebacks of failed imports, `threads` how many the imports started."""

    failures: dict[str, str]
    threads: int


def frame(kind: Frame, data: bytes = b"") -> bytes:
    return _HEADER.pack(kind, len(data)) + data


class FrameReader:
    """Cuts a stream of bytes into frames again."""

    __slots__ = ("_buffer", "_needed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = _HEADER.size

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Add bytes; the (kind, data) of each frame that is whole now."""
        buffer = self._buffer
        buffer += data
        frames: list[tuple[int, bytes]] = []
        start = 0
        while len(buffer) - start >= self._needed:
            kind, length = _HEADER.unpack_from(buffer, start)
            body = start + _HEADER.size
            if len(buffer) - body < length:
                self._needed = _HEADER.size + length
                break
            frames.append((kind, bytes(memoryview(buffer)[body : body + length])))
            start = body + length
            self._needed = _HEADER.size
        if start:
            del buffer[:start]
        return frames
