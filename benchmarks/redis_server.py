"""A private Redis server for a benchmark, as it comes from the package but without snapshots, and the way to it."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

PROXY = Path(__file__).parents[1] / "tests" / "tcp_proxy.py"


@contextlib.contextmanager
def private_redis() -> Iterator[str]:
    """The URL of a server that ends with the `with` block."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        raise SystemExit("no redis-server is installed; install one, or name one: --redis redis://host:port")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="heeler-bench-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([binary, *options], stdout=log, stderr=log)
        try:
            _wait_until_it_answers(port)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


@contextlib.contextmanager
def slowed(url: str, seconds: float) -> Iterator[str]:
    """Another URL of the server, by a proxy process that adds so many seconds to every round trip."""
    command = [sys.executable, str(PROXY), url.rpartition(":")[2], str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdin is not None
        assert proxy.stdout is not None
        try:
            yield f"redis://127.0.0.1:{int(proxy.stdout.readline())}"
        finally:
            proxy.stdin.close()


def round_trip(url: str) -> float:
    """Seconds that a PING takes, in the middle of many."""
    took = []
    with Redis.from_url(url) as client:
        for _ in range(200):
            begin = time.perf_counter()
            client.ping()
            took.append(time.perf_counter() - begin)
    return sorted(took)[100]


def _wait_until_it_answers(port: int) -> None:
    until = time.monotonic() + 10
    with Redis(port=port) as client:
        while True:
            try:
                client.ping()
            except RedisError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return
