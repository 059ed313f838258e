"""What the fault tests share: a place of their own for each, left without a process whatever happened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_of_faults import LEASE, Site

from services import RedisCluster, RedisSentinels, RedisServer
from tcp_proxy import TcpProxy


@contextlib.contextmanager
def _site(folder: Path, url: str) -> Iterator[Site]:
    site = Site(folder, LEASE, url)
    try:
        yield site
    finally:
        site.close()
        for process in site.processes:  # shown by pytest where the test failed
            print(f"--- {process.name}\n{process.log()}")


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """On SQLite, or on the broker that `parametrize("site", …, indirect=True)` names."""
    if getattr(request, "param", "sqlite") == "sqlite":
        url = f"sqlite:///{tmp_path / 'jobs.db'}"
    else:
        url = request.getfixturevalue("redis_server").url
    with _site(tmp_path, url) as site:
        yield site


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A private server that writes all it acknowledges to the disk first."""
    with contextlib.closing(RedisServer("--appendonly", "yes", "--appendfsync", "always")) as server:
        yield server.start()


@pytest.fixture
def redis_site(tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    with _site(tmp_path, redis_server.url) as site:
        yield site


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[TcpProxy]:
    with TcpProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def proxied_site(tmp_path: Path, proxy: TcpProxy) -> Iterator[Site]:
    """Everybody reaches the Redis server by the proxy."""
    with _site(tmp_path, f"redis://127.0.0.1:{proxy.port}") as site:
        yield site


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    with contextlib.closing(RedisCluster()) as cluster:
        yield cluster


@pytest.fixture
def cluster_site(tmp_path: Path, cluster: RedisCluster) -> Iterator[Site]:
    with _site(tmp_path, cluster.url) as site:
        yield site


@pytest.fixture
def sentinels() -> Iterator[RedisSentinels]:
    with contextlib.closing(RedisSentinels()) as sentinels:
        yield sentinels


@pytest.fixture
def sentinel_site(tmp_path: Path, sentinels: RedisSentinels) -> Iterator[Site]:
    with _site(tmp_path, sentinels.url) as site:
        yield site
