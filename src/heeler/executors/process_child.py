"""A child of the process pool: one call after the other, each an order for the entry point, until there are no more."""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable

from heeler.contracts.executor import CallChannel
from heeler.executors.frames import Frame, FrameReader, frame
from heeler.executors.lifeline import die_when_cut

__all__ = ["ChildChannel", "live"]

EntryPoint = Callable[[bytes, CallChannel], bytes]
_CHUNK = 1 << 18


class ChildChannel:
    """The child's end of its socket: orders in, replies out, notes both ways while a call runs."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._reader = FrameReader()
        self._lock = threading.Lock()  # a task's own threads may report too
        self._pid = os.getpid()
        self._orders: list[bytes] = []
        self._notes: list[bytes] = []
        self.end_callbacks: list[Callable[[], object]] = []

    def send(self, data: bytes) -> None:
        self.send_frame(Frame.NOTE, data)

    def received(self) -> list[bytes]:
        try:
            while data := self._link.recv(_CHUNK, socket.MSG_DONTWAIT):
                self._take(data)
        except BlockingIOError:
            pass  # that was all
        notes, self._notes = self._notes, []
        return notes

    def at_end(self, callback: Callable[[], object]) -> None:
        self.end_callbacks.append(callback)

    def send_frame(self, kind: Frame, data: bytes = b"") -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("a process that the task itself forked cannot speak for the task")
        with self._lock:
            self._link.sendall(frame(kind, data))

    def next_order(self) -> bytes | None:
        """Wait for the next call; None when there will be no more. Notes for earlier calls are dropped."""
        while not self._orders:
            try:
                data = self._link.recv(_CHUNK)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._take(data)
        return self._orders.pop()

    def _take(self, data: bytes) -> None:
        for kind, body in self._reader.feed(data):
            if kind == Frame.ORDER:
                self._orders.append(body)
                self._notes.clear()
            else:
                self._notes.append(body)


def live(link: socket.socket, lifeline: int, entry: str) -> None:
    """The life of a child: returns when the worker has no more calls for it."""
    die_when_cut(lifeline)
    channel = ChildChannel(link)
    channel.send_frame(Frame.HELLO)
    function: EntryPoint | None = None
    while (order := channel.next_order()) is not None:
        try:
            if function is None:
                function = _resolve(entry)
            kind, reply = Frame.REPLY, function(order, channel)
        except BaseException:
            kind, reply = Frame.FAILED, traceback.format_exc().encode(errors="replace")
        _flush_output()
        channel.send_frame(kind, reply)
    for callback in reversed(channel.end_callbacks):
        try:
            callback()
        except BaseException:
            traceback.print_exc()
    _flush_output()


def _resolve(entry: str) -> EntryPoint:
    module, _, name = entry.partition(":")
    function: EntryPoint = getattr(importlib.import_module(module), name)
    return function


def _flush_output() -> None:
    """What a task printed is seen when it ends, not when the child does."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass  # the task closed or replaced its output: its own affair
