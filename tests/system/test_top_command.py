"""`heeler top` in a terminal of its own: it draws, and q gives the terminal back as it was."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from fcntl import ioctl

import pytest
from command_shell import PATIENCE, Shell

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command on a pseudo-terminal of 80 × 24."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self.ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.process = subprocess.Popen(
            shell.command(*arguments),
            cwd=shell.folder,
            env=shell.environment | {"TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),  # else Ctrl-C would interrupt nobody
        )
        self.output = ""

    def read_until(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in ESCAPES.sub("", self.output):
            assert time.monotonic() < deadline, self.output
            if select.select([self.ours], [], [], 0.1)[0]:
                self.output += os.read(self.ours, 65536).decode(errors="replace")

    def press(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def ended(self) -> int:
        """Its exit code; the terminal has to be as it was."""
        while self.process.poll() is None:
            if select.select([self.ours], [], [], 0.1)[0]:
                self.output += os.read(self.ours, 65536).decode(errors="replace")
        while select.select([self.ours], [], [], 0)[0]:
            self.output += os.read(self.ours, 65536).decode(errors="replace")
        assert termios.tcgetattr(self._theirs) == self.before
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self._theirs)


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_it_shows_what_is_there_and_a_key_ends_it(shell: Shell, key: bytes) -> None:
    shell.enqueue("add", "--args", "[1, 2]")
    shell.enqueue("resize", "--args", '["cat.png"]', "--in", "1h")
    shell.worker("--queues", "images", "--name", "pictures")
    terminal = Terminal(shell, "top", "--every", "200ms")
    try:
        terminal.read_until("pictures")
        terminal.read_until("default")
        terminal.press(key)
        assert terminal.ended() == 0
        assert terminal.output.startswith("\x1b[?1049h"), "it has a screen of its own"
        assert "\x1b[?1049l" in terminal.output, "and leaves it"
        assert "Traceback" not in terminal.output
    finally:
        terminal.close()


def test_without_a_terminal_one_picture_is_printed(shell: Shell) -> None:
    shell.enqueue("add", "--args", "[1, 2]")
    done = shell.heeler("top")
    assert done.code == 0, done.err
    assert "waiting 1 " in done.out
    assert [line.split()[:3] for line in done.out.splitlines() if line.startswith("default")] == [["default", "1", "0"]]
    assert "no worker is live" in done.out
    assert "\x1b" not in done.out
