"""Ways to a server: TLS, users, socket files, sentinels, clusters, replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis_site import Site

from certificates import make_certificates
from heeler.errors import BrokerUnavailable, ConfigurationError
from heeler.model import Publication, PublishAnswer
from heeler.testing.conformance import Worker, make_envelope, publish
from services import RedisCluster, RedisSentinels, RedisServer, wait_until


async def _works(site: Site, url: str, **options: object) -> None:
    """A job's way, and a publication from a thread."""
    worker = await Worker.of(await site.open(url, **options))
    waiting = asyncio.create_task(worker.take(1))
    await asyncio.wait([waiting], timeout=0.05)
    blocking = worker.broker.publish_blocking
    await asyncio.to_thread(blocking, Publication(envelopes=(make_envelope(),)))
    await worker.succeed(*await waiting)
    envelope = make_envelope()
    await publish(worker.broker, envelope)
    assert await worker.take_ids(1) == [envelope.id]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_url(start_server: Callable[..., RedisServer], certificates: Path) -> str:
    files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
    options = [part for name, file in files.items() for part in (f"--tls-{name}-file", str(certificates / file))]
    try:
        server = start_server(*options)
    except AssertionError as error:
        pytest.skip(f"this server was built without TLS: {error}")
    return f"rediss://127.0.0.1:{server.port}"


async def test_tls_with_an_authority_a_name_and_a_certificate_of_ones_own(
    site: Site, tls_url: str, certificates: Path
) -> None:
    own = {"ca": certificates / "ca.pem", "cert": certificates / "client.pem", "key": certificates / "client.key"}
    await _works(site, tls_url, **own, server_name="jobs.example")
    await _works(site, tls_url, **own, verify="no")
    with pytest.raises(ConfigurationError, match="server_name"):
        await site.open(tls_url, **own)
    with pytest.raises(ConfigurationError, match="ca="):
        await site.open(tls_url, server_name="jobs.example")
    with pytest.raises((ConfigurationError, BrokerUnavailable)):  # the server wants a certificate
        await site.open(tls_url, ca=own["ca"], server_name="jobs.example")
    with pytest.raises(ConfigurationError, match="server_name"):
        site.make(tls_url, **own).publish_blocking(Publication(envelopes=(make_envelope(),)))


async def test_tls_to_a_port_without_it_is_a_wrong_setting(site: Site, server: RedisServer) -> None:
    with pytest.raises((ConfigurationError, BrokerUnavailable)):
        await site.open(server.url.replace("redis://", "rediss://"), connect_timeout="500ms")


async def test_a_user_with_the_rights_that_the_advice_names_and_one_without(site: Site, server: RedisServer) -> None:
    with server.client() as client:
        rights = f"~{site.prefix}* &{site.prefix}* +@all -@dangerous +info +role +config|get"
        client.execute_command("ACL", "SETUSER", "worker", "on", ">secret", *rights.split())
        client.execute_command("ACL", "SETUSER", "guest", "on", ">secret", "+ping")
    await _works(site, server.url.replace("://", "://worker:secret@"))
    with pytest.raises(ConfigurationError, match="ACL SETUSER"):
        await publish(await site.open(server.url.replace("://", "://guest:secret@")), make_envelope())


async def test_a_socket_file(site: Site, start_server: Callable[..., RedisServer], tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    start_server("--unixsocket", str(path))
    await _works(site, f"redis+socket://{path}?db=3")


async def test_client_name_and_database_are_those_of_the_url(site: Site, server: RedisServer) -> None:
    await _works(site, f"{server.url}/5?client_name=my worker")
    with server.client() as client:
        ours = [entry for entry in client.client_list() if entry["name"] == "my-worker"]
        assert {entry["db"] for entry in ours} == {"5"}
        assert set(client.info("keyspace")) == {"db5"}


@pytest.fixture
def sentinels() -> Iterator[RedisSentinels]:
    sentinels = RedisSentinels()
    yield sentinels
    sentinels.close()


async def test_work_goes_on_after_a_failover_by_sentinels(site: Site, sentinels: RedisSentinels) -> None:
    with sentinels.replica.client() as replica:
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica has no master")
    worker = await Worker.of(await site.open(sentinels.url, publish_timeout="20s", wait_replicas=1))
    await publish(worker.broker, make_envelope("before"))
    await asyncio.to_thread(worker.broker.publish_blocking, Publication(envelopes=(make_envelope("too"),)))
    sentinels.master.kill()
    late = site.make(sentinels.url, publish_timeout="20s")
    results = await asyncio.to_thread(late.publish_blocking, Publication(envelopes=(make_envelope("after"),)))
    assert results[0].answer is PublishAnswer.ACCEPTED
    taken: list[str] = []
    async with asyncio.timeout(20):
        while len(taken) < 3:
            try:
                await worker.subscription.ready()
                taken += [delivery.envelope.id for delivery in await worker.fetch()]
            except BrokerUnavailable:
                await asyncio.sleep(0.1)
    assert taken == ["before", "too", "after"]


async def test_too_few_replicas_are_said_loudly(site: Site, server: RedisServer) -> None:
    broker = await site.open(server.url, wait_replicas=1, publish_timeout="1s")
    with pytest.raises(BrokerUnavailable, match="0 of 1 replicas"):
        await publish(broker, make_envelope())
    with pytest.raises(BrokerUnavailable, match="0 of 1 replicas"):
        await asyncio.to_thread(broker.publish_blocking, Publication(envelopes=(make_envelope(),)))


@pytest.fixture
async def cluster() -> AsyncIterator[RedisCluster]:
    cluster = RedisCluster()
    yield cluster
    cluster.close()


async def test_the_slot_of_the_namespace_is_followed_to_another_node(site: Site, cluster: RedisCluster) -> None:
    worker = await Worker.of(await site.open(cluster.url))
    await publish(worker.broker, make_envelope("before"))
    await asyncio.to_thread(worker.broker.publish_blocking, Publication(envelopes=(make_envelope("too"),)))
    taken = await worker.take_ids(2)
    _move_slot(cluster, site.prefix)
    await publish(worker.broker, make_envelope("after"))
    await asyncio.to_thread(worker.broker.publish_blocking, Publication(envelopes=(make_envelope("also"),)))
    taken += await worker.take_ids(2)
    assert taken == ["before", "too", "after", "also"]


async def test_while_the_slot_moves_nothing_is_done_in_two_places(site: Site, cluster: RedisCluster) -> None:
    broker = await site.open(cluster.url, publish_timeout="300ms")
    await publish(broker, make_envelope("before"))
    old, new, slot = _owner_and_other(cluster, site.prefix)
    _mark_as_moving(old, new, slot)
    with pytest.raises(BrokerUnavailable, match="is moving"):
        await publish(broker, make_envelope("meanwhile"))
    with new.client() as client:
        assert client.dbsize() == 0


def _owner_and_other(cluster: RedisCluster, prefix: str) -> tuple[RedisServer, RedisServer, int]:
    with cluster.nodes[0].client() as client:
        slot = client.execute_command("CLUSTER KEYSLOT", prefix)
    owner = next(node for node in cluster.nodes if _is_owner(node, prefix))
    return owner, next(node for node in cluster.nodes if node is not owner), slot


def _is_owner(node: RedisServer, key: str) -> bool:
    with node.client() as client:
        try:
            client.execute_command("EXISTS", key)
        except redis.exceptions.MovedError:
            return False
    return True


def _mark_as_moving(old: RedisServer, new: RedisServer, slot: int) -> tuple[str, str]:
    with old.client(decode_responses=True) as source, new.client(decode_responses=True) as target:
        from_id = source.execute_command("CLUSTER MYID")
        to_id = target.execute_command("CLUSTER MYID")
        target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", from_id)
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", to_id)
    return from_id, to_id


def _move_slot(cluster: RedisCluster, prefix: str) -> None:
    """As an administrator does it: mark, move the keys, tell all nodes."""
    old, new, slot = _owner_and_other(cluster, prefix)
    _, to_id = _mark_as_moving(old, new, slot)
    with old.client() as source:
        keys = source.execute_command("CLUSTER GETKEYSINSLOT", slot, 10_000)
        source.execute_command("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *keys)
    for node in (new, old, *cluster.nodes):
        with node.client() as client:
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", to_id)
