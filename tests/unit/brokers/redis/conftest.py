"""What the tests of the Redis broker share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import redis
from redis_site import Site

from services import RedisServer, redis_url


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """On a server that others use as well."""
    site = Site(redis_url())
    yield site
    await site.close()
    with redis.Redis.from_url(site.url) as client:
        for key in client.scan_iter(f"{site.prefix}*", count=1000):
            client.delete(key)


@pytest.fixture
def start_server() -> Iterator[Callable[..., RedisServer]]:
    """Starts private servers with options of one's own."""
    servers: list[RedisServer] = []

    def start(*options: str, **given: str) -> RedisServer:
        servers.append(RedisServer(*options, **given))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def server(start_server: Callable[..., RedisServer]) -> RedisServer:
    """A private server."""
    return start_server()


@pytest.fixture
async def private_site(server: RedisServer) -> AsyncIterator[Site]:
    site = Site(server.url)
    yield site
    await site.close()
