"""What the fault tests share: a place of their own for each, left without a process whatever happened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_of_faults import LEASE, Site

from heeler.clock import new_id
from rabbitmq_server import RabbitmqServer, rabbitmq_binary
from services import RedisCluster, RedisSentinels, RedisServer
from tcp_proxy import TcpProxy


@contextlib.contextmanager
def _site(
    folder: Path, url: str, results: str | None = None, namespace: str = "heeler", lease: float = LEASE
) -> Iterator[Site]:
    site = Site(folder, lease, url, results, namespace)
    try:
        yield site
    finally:
        site.close()
        for process in site.processes:  # shown by pytest where the test failed
            print(f"--- {process.name}\n{process.log()}")


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """On SQLite, or on the broker that `parametrize("site", …, indirect=True)` names."""
    match getattr(request, "param", "sqlite"):
        case "sqlite":
            made = _site(tmp_path, f"sqlite:///{tmp_path / 'jobs.db'}")
        case "redis":
            made = _site(tmp_path, request.getfixturevalue("redis_server").url)
        case "rabbitmq":
            server = request.getfixturevalue("rabbitmq_server")
            made = _rabbitmq_site(tmp_path, server.url, request.getfixturevalue("redis_server").url)
        case other:
            raise ValueError(other)
    with made as site:
        yield site


def _rabbitmq_site(
    folder: Path, url: str, results: str, lease: float = LEASE
) -> contextlib.AbstractContextManager[Site]:
    """With results in Redis. Each test has a namespace of its own, because all share one RabbitMQ server."""
    return _site(folder, url, results, f"fault-{new_id()}", lease)


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


@pytest.fixture(scope="session")
def _rabbitmq() -> Iterator[RabbitmqServer]:
    rabbitmq_binary()
    with contextlib.closing(RabbitmqServer()) as server:
        yield server


@pytest.fixture
def rabbitmq_server(_rabbitmq: RabbitmqServer) -> RabbitmqServer:
    """A private server, which takes its time to start; whoever stops it starts it again."""
    if not _rabbitmq.running:
        _rabbitmq.start()
    return _rabbitmq


@pytest.fixture
def rabbitmq_site(tmp_path: Path, rabbitmq_server: RabbitmqServer, redis_server: RedisServer) -> Iterator[Site]:
    with _rabbitmq_site(tmp_path, rabbitmq_server.url, redis_server.url) as site:
        yield site


@pytest.fixture
def rabbitmq_proxy(rabbitmq_server: RabbitmqServer) -> Iterator[TcpProxy]:
    with TcpProxy(rabbitmq_server.port) as proxy:
        yield proxy


@pytest.fixture
def site_behind_proxies(
    tmp_path: Path, rabbitmq_proxy: TcpProxy, proxy: TcpProxy, request: pytest.FixtureRequest
) -> Iterator[Site]:
    """Everybody reaches RabbitMQ, and Redis as the store of the results, by a proxy each. The parameter: the lease."""
    url, results = f"amqp://127.0.0.1:{rabbitmq_proxy.port}", f"redis://127.0.0.1:{proxy.port}"
    with _rabbitmq_site(tmp_path, url, results, getattr(request, "param", LEASE)) as site:
        yield site
