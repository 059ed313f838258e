"""The worker's end of one child of the process pool."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from heeler.contracts.executor import Call
from heeler.executors.frames import Frame, FrameReader, frame
from heeler.executors.template_link import TemplateLink

__all__ = ["ChildLink"]

_CHUNK = 1 << 18


class ChildLink:
    """One child: its socket, its lifeline, and the call it runs. Never blocks the loop.

    `on_frame` gets each frame that the child sends, `on_gone` is called once when the child's end is closed.
    """

    def __init__(
        self,
        number: int,
        template: TemplateLink,
        on_frame: Callable[[ChildLink, int, bytes], None],
        on_gone: Callable[[ChildLink], None],
    ) -> None:
        self.number = number
        self.template = template
        self.call: Call | None = None
        self.calls = 0
        self.exists = False  # it has said so itself: what it was given may have been started
        self.leaving = False  # it gets no more calls
        self.may_miss_call = False  # it was idle when it got its call, and nothing was sent after that
        self.unread = False  # it ended without having read what was sent last
        self.gone = False
        self._on_frame = on_frame
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._outgoing = bytearray()
        reading, self._lifeline = os.pipe()
        try:
            self._socket, theirs = socket.socketpair()
        except OSError:
            os.close(reading)
            os.close(self._lifeline)
            raise
        self._socket.setblocking(False)
        template.fork(number, theirs.detach(), reading)
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, kind: Frame, data: bytes) -> None:
        """Send one frame; what does not fit into the socket now follows as the child reads."""
        message = frame(kind, data)
        if not self._outgoing:
            try:
                sent = self._socket.send(message)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.unread = True
                return  # it is dead: its reading side tells
            if sent == len(message):
                return
            message = message[sent:]
            self._loop.add_writer(self._socket.fileno(), self._writable)
        self._outgoing += message

    def drain(self) -> None:
        """Read what the child has sent before it ended."""
        while not self.gone and self._readable():
            pass

    def end(self) -> None:
        """Ask the child to end when it has nothing to do."""
        self.leaving = True
        if not self.gone:
            with contextlib.suppress(OSError):  # it is dead: its reading side tells
                self._socket.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End the child at once, and what it has started; from now on nothing is heard of it.

        The lifeline does it. The template does it once more for a child that has closed its end of the lifeline.
        """
        self.close()
        self.template.kill(self.number)

    def close(self) -> None:
        """Give back the descriptors; a child that still lives dies of it."""
        self.leaving = True
        self._hang_up()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _hang_up(self) -> None:
        if not self.gone:
            self.gone = True
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._outgoing.clear()

    def _readable(self) -> bool:
        """Take in one chunk; False if there is none."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # so Linux tells of a socket that was closed with something unread in it
            self.unread = True
            data = b""
        if not data:
            self.unread = self.unread or bool(self._outgoing)
            self._hang_up()
            self._on_gone(self)
            return False
        for kind, body in self._reader.feed(data):
            self._on_frame(self, kind, body)
        return True

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()  # it is dead: its reading side tells
        else:
            del self._outgoing[:sent]
        if not self._outgoing:
            self._loop.remove_writer(self._socket.fileno())
