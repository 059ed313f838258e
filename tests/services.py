"""The servers that tests need: found by the environment or at the usual port, or started from an installed binary.

A private server lives in a temporary folder and ends with the test run. Where none can be had the tests skip and
say so; under `CI=true` a skip is a failure.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

__all__ = ["RedisServer", "close_private_services", "free_port", "redis_binary", "redis_url"]

_PATIENCE = 10.0
_DATABASE = 9  # on a server that is not ours alone


def _missing(what: str) -> None:
    text = f"{what}; install redis-server (or Valkey), or name a server by REDIS_URL"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def redis_binary() -> str:
    """The path of redis-server or valkey-server; skips the test where there is none."""
    found = os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        _missing("no redis-server here")
        raise AssertionError
    return found


class RedisServer:
    """A private server, which a test may kill, stop and start again on the same data."""

    def __init__(self, *options: str, folder: Path | None = None, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="heeler-redis-"))
        self.url = f"redis://127.0.0.1:{self.port}"
        self._owns_folder = folder is None
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self, **options: object) -> redis.Redis:
        """A client that is not Heeler's, to look from outside."""
        return redis.Redis(port=self.port, **options)

    def start(self, *extra: str, wait: bool = True) -> RedisServer:
        command = [redis_binary(), "--port", str(self.port), "--dir", str(self.folder), "--save", "", *self._options]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([*command, *extra], stdout=log, stderr=log)
        if wait:
            self.await_answer()
        return self

    def await_answer(self) -> None:
        """Return when it takes connections (it may want a password, or be loading still)."""
        until = time.monotonic() + _PATIENCE
        while True:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > until:
                log = (self.folder / "server.log").read_text("utf-8", "replace")
                raise AssertionError(f"redis-server did not start:\n{log[-2000:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a loss of power would."""
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(_PATIENCE)
        self._process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        if self._owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1.0) as client:
            client.ping()
    except redis.RedisError:
        return False
    return True


_private: list[RedisServer] = []


@functools.cache
def redis_url() -> str:
    """The URL of a server for tests that only need one: REDIS_URL, the usual port, else a private server."""
    given: Sequence[str] = [os.environ["REDIS_URL"]] if "REDIS_URL" in os.environ else []
    for url in (*given, f"redis://127.0.0.1:6379/{_DATABASE}"):
        if _answers(url):
            return url
    server = RedisServer().start()
    _private.append(server)
    return server.url


def close_private_services() -> None:
    """End what `redis_url` started; called once at the end of the test run."""
    while _private:
        _private.pop().close()
