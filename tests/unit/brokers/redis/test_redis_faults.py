"""What a server that cannot or will not is called, and what advice comes with it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from redis_site import Site

from heeler.brokers.redis.faults import Refused, Reply, from_reply
from heeler.errors import BrokerUnavailable, ConfigurationError
from heeler.model import Publication, PublishAnswer
from heeler.testing.conformance import make_envelope, publish
from heeler.testing.conformance.worker import settlement
from services import RedisServer, free_port, wait_until


@pytest.mark.parametrize(
    ("reply", "kind", "advice"),
    [
        ("NOAUTH Authentication required.", ConfigurationError, "put it into the URL"),
        ("WRONGPASS invalid username-password pair or user is disabled.", ConfigurationError, "check both"),
        ("NOPERM this user has no permissions to run the 'evalsha' command", ConfigurationError, "ACL SETUSER"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", ConfigurationError, "another namespace"),
        ("OOM command not allowed when used memory > 'maxmemory'.", Refused, "raise maxmemory"),
        ("READONLY You can't write against a read only replica.", Refused, "name the master"),
        ("LOADING Redis is loading the dataset in memory", Refused, "will answer soon"),
        ("CLUSTERDOWN Hash slot not served", Refused, "CLUSTER INFO"),
        ("MASTERDOWN Link with MASTER is down", Refused, "replica"),
        ("ASK 866 127.0.0.1:7002", Refused, "moving"),
        ("BUSY Redis is busy running a script.", Refused, "SCRIPT KILL"),
        ("NOREPLICAS Not enough good replicas to write.", Refused, "min-replicas-to-write"),
        ("MISCONF Redis is configured to save RDB snapshots", Refused, "its disk"),
        ("ERR Error running script (call to f_x): @user_script:12: READONLY You can't", Refused, "name the master"),
        ("ERR Error running script: Script killed by user with SCRIPT KILL.", BrokerUnavailable, "SCRIPT KILL"),
        ("ERR max number of clients reached", BrokerUnavailable, "maxclients"),
        ("ERR DB index is out of range", ConfigurationError, "another number"),
        ("ERR unknown command 'ZMSCORE'", ConfigurationError, "Redis 6.2"),
        ("ERR something new", BrokerUnavailable, "heeler doctor"),
    ],
)
def test_each_refusal_is_a_typed_error_with_advice(reply: str, kind: type[Exception], advice: str) -> None:
    error = from_reply(Reply(reply), "redis://h")
    assert isinstance(error, kind)
    assert advice in str(error)
    assert reply in str(error) or "SCRIPT KILL" in reply
    assert "redis://h" in str(error)


async def test_a_server_that_is_not_there_is_unavailable_and_named(site: Site) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}"
    with pytest.raises(BrokerUnavailable, match=nowhere):
        await site.open(nowhere)
    with pytest.raises(BrokerUnavailable, match=nowhere):
        site.make(nowhere, publish_timeout="100ms").publish_blocking(Publication(envelopes=(make_envelope(),)))


async def test_a_wrong_password_ends_the_attempt_at_once(start_server: Callable[..., RedisServer], site: Site) -> None:
    server = start_server("--requirepass", "right")
    for password, advice in (("", "wants a password"), (":wrong@", "check both in the URL")):
        url = server.url.replace("://", f"://{password}")
        with pytest.raises(ConfigurationError, match=advice):
            await publish(await site.open(url), make_envelope())
        with pytest.raises(ConfigurationError, match=advice):
            site.make(url).publish_blocking(Publication(envelopes=(make_envelope(),)))
    await site.open(server.url.replace("://", "://:right@"))


async def test_a_database_that_the_server_does_not_have_is_a_wrong_setting(server: RedisServer, site: Site) -> None:
    with pytest.raises(ConfigurationError, match="choose another number"):
        await site.open(f"{server.url}/999")


async def test_a_key_of_another_program_is_named_as_such(private_site: Site, server: RedisServer) -> None:
    broker = await private_site.open()
    with server.client() as client:
        client.set(f"{private_site.prefix}waiting:default", "mine")
    with pytest.raises(ConfigurationError, match="another namespace"):
        await publish(broker, make_envelope())


async def test_with_its_memory_used_up_the_server_takes_no_new_jobs_but_drains(
    start_server: Callable[..., RedisServer],
) -> None:
    server = start_server("--maxmemory-policy", "noeviction")
    site = Site(server.url)
    worker = await site.worker(publish_timeout="200ms")
    await publish(worker.broker, *(make_envelope(f"{n}", body=b"x" * 1000) for n in range(500)))
    with server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
        with pytest.raises(BrokerUnavailable, match="raise maxmemory"):
            await publish(worker.broker, make_envelope())
        with pytest.raises(BrokerUnavailable, match="raise maxmemory"):
            await asyncio.to_thread(worker.broker.publish_blocking, Publication(envelopes=(make_envelope(),)))
        for _ in range(5):
            deliveries = await worker.take(100)
            await worker.extend(*deliveries)
            await worker.succeed(*deliveries)
        assert await worker.fetch() == []
        assert await worker.fetch() == []
        client.config_set("maxmemory", 0)
    assert (await publish(worker.broker, make_envelope()))[0].answer is PublishAnswer.ACCEPTED
    await site.close()


async def test_a_replica_is_refused_with_advice(private_site: Site, server: RedisServer) -> None:
    broker = await private_site.open(publish_timeout="100ms")
    with server.client() as client:
        client.replicaof("127.0.0.1", free_port())
        with pytest.raises(BrokerUnavailable, match="name the master"):
            await publish(broker, make_envelope())
        findings = await broker.doctor()
        assert ("problem", "replication") in {finding[:2] for finding in findings}
        client.replicaof("NO", "ONE")
    await publish(broker, make_envelope())


async def test_a_busy_server_is_waited_for_and_a_killed_script_is_no_lost_job(
    private_site: Site, server: RedisServer
) -> None:
    broker = await private_site.open()
    with server.client() as client:
        client.config_set("lua-time-limit", 20)
    spin = threading.Thread(target=_spin, args=(server,))
    spin.start()
    with server.client() as client:
        wait_until(lambda: _is_busy(client), "the server is not busy")
        publishing = asyncio.create_task(publish(broker, make_envelope("job")))
        await asyncio.wait([publishing], timeout=0.2)
        assert not publishing.done()
        client.script_kill()
    await asyncio.to_thread(spin.join)
    assert (await publishing)[0].answer is PublishAnswer.ACCEPTED


def _spin(server: RedisServer) -> None:
    with server.client() as client, pytest.raises(Exception, match=r"(?i)killed"):
        client.eval("while true do end", 0)


def _is_busy(client: object) -> bool:
    try:
        client.ping()  # type: ignore[attr-defined]
    except Exception as error:
        return "BUSY" in repr(error) or "busy" in str(error)
    return False


async def test_a_frozen_server_does_not_hang_publishers(private_site: Site, server: RedisServer) -> None:
    broker = await private_site.open(publish_timeout="300ms")
    await asyncio.to_thread(broker.publish_blocking, Publication(envelopes=(make_envelope(),)))
    server.freeze()
    begin = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="unknown") as raised:
        await publish(broker, make_envelope())
    assert raised.value.outcome_unknown
    with pytest.raises(BrokerUnavailable):
        await asyncio.to_thread(broker.publish_blocking, Publication(envelopes=(make_envelope(),)))
    assert time.monotonic() - begin < 3.0
    server.thaw()


async def test_work_goes_on_within_two_seconds_of_the_servers_return(private_site: Site, server: RedisServer) -> None:
    worker = await private_site.worker()
    waiting = asyncio.create_task(worker.take(1))
    await asyncio.wait([waiting], timeout=0.1)
    server.kill()
    with pytest.raises(BrokerUnavailable):
        await waiting
    with pytest.raises(BrokerUnavailable):
        await worker.fetch()
    server.start()
    begin = time.monotonic()
    while True:
        try:
            await publish(worker.broker, make_envelope("job"))
            [job] = await worker.take(1)
            break
        except BrokerUnavailable:
            await asyncio.sleep(0.05)
    assert job.envelope.id == "job"
    assert time.monotonic() - begin < 2.0


async def test_a_publication_bridges_a_short_absence_of_the_server(private_site: Site, server: RedisServer) -> None:
    broker = await private_site.open()
    await asyncio.to_thread(broker.publish_blocking, Publication(envelopes=(make_envelope(),)))
    server.kill()
    publishing = [
        asyncio.create_task(publish(broker, make_envelope())),
        asyncio.create_task(asyncio.to_thread(broker.publish_blocking, Publication(envelopes=(make_envelope(),)))),
    ]
    await asyncio.wait(publishing, timeout=0.2)
    server.start()
    for [result] in await asyncio.gather(*publishing):
        assert result.answer is PublishAnswer.ACCEPTED


async def test_attempts_to_reconnect_can_be_limited(private_site: Site, server: RedisServer) -> None:
    broker = await private_site.open(reconnect_attempts=2, reconnect_delay="10ms")
    server.kill()
    errors: list[BrokerUnavailable] = []
    async with asyncio.timeout(10):
        while not (errors and errors[-1].given_up):
            try:
                await broker.settle([])
            except BrokerUnavailable as error:
                errors.append(error)
            await asyncio.sleep(0)
    assert not errors[0].given_up
    assert "given up after 2 attempts (reconnect_attempts=2)" in str(errors[-1])


async def test_attempts_to_open_are_counted_together(private_site: Site, server: RedisServer) -> None:
    server.kill()
    broker = private_site.make(reconnect_attempts=3, reconnect_delay="10ms")
    errors: list[BrokerUnavailable] = []
    async with asyncio.timeout(10):
        while not (errors and errors[-1].given_up):
            try:
                await broker.open()
            except BrokerUnavailable as error:
                errors.append(error)
            await asyncio.sleep(0.005)
    assert "given up after 3 attempts" in str(errors[-1])
    server.start()
    async with asyncio.timeout(10):
        while True:
            try:
                await broker.open()
                break
            except BrokerUnavailable:
                await asyncio.sleep(0.02)
    await broker.close()


async def test_flushed_data_are_reported_and_work_goes_on(
    private_site: Site, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await private_site.worker()
    await publish(worker.broker, make_envelope("lost"), make_envelope("held"))
    held = await worker.take(1)
    with server.client() as client:
        client.flushall()
    assert await worker.fetch() == []
    assert "jobs that were only there are lost" in caplog.text
    assert (await worker.end(held[0])).value == "LOST"
    await publish(worker.broker, make_envelope("new"))
    assert await worker.take_ids(1) == ["new"]


async def test_evicted_jobs_are_reported(
    private_site: Site, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await private_site.worker()
    await publish(worker.broker, make_envelope("gone"), make_envelope("kept"))
    with server.client() as client:
        client.delete(f"{private_site.prefix}j:gone")
    assert await worker.take_ids(1) == ["kept"]
    assert "maxmemory-policy" in caplog.text


async def test_a_fork_makes_connections_of_its_own(private_site: Site) -> None:
    broker = await private_site.open()
    await publish(broker, make_envelope("parent"))
    parents = broker.link()
    child = os.fork()
    if not child:
        os._exit(0 if broker._link is None and parents in broker._parked else 1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    await publish(broker, make_envelope("parent again"))


async def test_the_first_holder_of_a_job_that_a_failover_put_back_in_line_cannot_end_it(private_site: Site) -> None:
    """A replica that was behind knows nothing of the lease; nothing tells the job from one that was never taken."""
    worker, other = await private_site.worker(), await private_site.worker()
    envelopes = [make_envelope(f"{n}") for n in range(3)]
    await publish(worker.broker, *envelopes)
    taken = await worker.take(3)
    with redis.Redis.from_url(private_site.url) as client:
        client.zrem(f"{private_site.prefix}leased:default", "1")
        client.zadd(f"{private_site.prefix}waiting:default", {"1": 2.0})

    answers = await worker.broker.settle([settlement(delivery) for delivery in taken])

    assert [result.answer.value for result in answers] == ["ACCEPTED", "LOST", "ACCEPTED"]
    await other.succeed(await other.take_one())


async def test_a_publication_under_way_while_the_next_is_made_outlives_its_connection(private_site: Site) -> None:
    worker = await private_site.worker()
    steps: list[str] = []

    def publications(client: redis.Redis) -> Iterator[Publication]:
        for n in range(3):
            steps.append(f"made {n}")
            client.client_kill_filter(_type="normal", skipme=True)
            yield Publication(envelopes=(make_envelope(f"{n}"),))

    def publish_all() -> None:
        with redis.Redis.from_url(private_site.url) as client:
            for n, answers in enumerate(worker.broker.publish_each_blocking(publications(client))):
                steps.append(f"answered {n}")
                assert [result.answer for result in answers] == [PublishAnswer.ACCEPTED]

    await asyncio.to_thread(publish_all)
    assert steps == ["made 0", "made 1", "answered 0", "made 2", "answered 1", "answered 2"]
    assert sorted(await worker.take_ids(3)) == ["0", "1", "2"]
    assert await worker.fetch() == []
