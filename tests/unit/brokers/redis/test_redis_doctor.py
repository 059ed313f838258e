"""What `heeler doctor` says of a Redis server that is set up so that jobs may be lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis_site import Site

from services import RedisServer, wait_until


async def _found(site: Site, topic: str) -> tuple[str, str]:
    """The level and the text of what is found on a topic."""
    broker = await site.open()
    [(level, text)] = [(level, text) for level, about, text in await broker.doctor() if about == topic]
    return level, text


@pytest.mark.parametrize(
    ("settings", "topic", "level", "advice"),
    [
        ({"maxmemory-policy": "noeviction"}, "eviction", "ok", "forgets none"),
        ({"maxmemory-policy": "volatile-lru"}, "eviction", "warning", "use noeviction"),
        ({"maxmemory-policy": "allkeys-lru"}, "eviction", "problem", "CONFIG SET maxmemory-policy noeviction"),
        ({"save": "", "appendonly": "no"}, "durability", "warning", "a restart loses all jobs; set appendonly yes"),
        ({"save": "3600 1", "appendonly": "no"}, "durability", "warning", "snapshots only"),
        ({"appendonly": "yes", "appendfsync": "everysec"}, "durability", "warning", "appendfsync always keeps them"),
        ({"appendonly": "yes", "appendfsync": "always"}, "durability", "ok", "survives a crash"),
        ({"maxmemory": "1"}, "memory", "warning", "raise maxmemory or drain the queues"),
        ({"maxmemory": "0"}, "memory", "ok", "in use"),
    ],
)
async def test_settings_by_which_jobs_may_be_lost_are_named_with_advice(
    settings: dict[str, str], topic: str, level: str, advice: str, private_site: Site, server: RedisServer
) -> None:
    with server.client() as client:
        for name, value in settings.items():
            client.config_set(name, value)
    found = await _found(private_site, topic)
    assert found[0] == level
    assert advice in found[1]


@pytest.mark.parametrize(("least", "level", "advice"), [(0, "warning", "?wait_replicas=1"), (1, "ok", "1 replicas")])
async def test_a_master_that_does_not_wait_for_its_replicas_is_named(
    least: int,
    level: str,
    advice: str,
    private_site: Site,
    server: RedisServer,
    start_server: Callable[..., RedisServer],
) -> None:
    start_server("--replicaof", f"127.0.0.1 {server.port}")
    with server.client() as client:
        wait_until(lambda: client.info("replication")["connected_slaves"] == 1, "the replica has come")
        client.config_set("min-replicas-to-write", least)
    found = await _found(private_site, "replication")
    assert found[0] == level
    assert advice in found[1]
