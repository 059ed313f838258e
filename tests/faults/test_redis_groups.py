"""Several Redis servers of which one is lost: a failover by sentinels, a cluster that misses a node."""

from __future__ import annotations

import time

from site_of_faults import Site

from heeler import Heeler
from heeler.brokers.redis.masters import slot_of
from services import RedisCluster, RedisSentinels, wait_until

JOBS = 200


def test_after_a_failover_by_sentinels_workers_and_producers_go_on(sentinel_site: Site, sentinels: RedisSentinels):
    site = sentinel_site
    workers = site.running_workers(2)
    with Heeler(f"{sentinels.url}?wait_replicas=1") as careful:  # acknowledged when the replica has them, too
        held = careful.declare("fault_jobs.hold").enqueue_many([()] * JOBS)
    site.note_enqueued(result.id for result in held)
    site.ledger.wait_for_event("started", count=20)
    site.app.queues.sizes()  # so that it is connected

    sentinels.master.kill()
    killed_at = time.monotonic()
    second = site.enqueue("work").id  # within publish_timeout the failover is done
    gap = time.monotonic() - killed_at
    site.gate.open()
    site.wait_until_accepted([*(result.id for result in held), second], timeout=30)

    account = site.account()
    print(f"a producer was served again {gap:.2f} s after the master's death")
    assert all(worker.alive() for worker in workers)
    assert (account.missing, account.twice) == ([], [])


def test_while_a_cluster_node_is_stopped_workers_wait_and_then_go_on(cluster_site: Site, cluster: RedisCluster):
    site = cluster_site
    workers = site.running_workers(2)
    before = [result.id for result in site.enqueue_many("work", [()] * JOBS)]
    site.wait_until_accepted(before)
    mine = node_of_namespace(cluster)
    others = [node for node in cluster.nodes if node is not mine]
    running = [result.id for result in site.enqueue_many("hold", [()] * 10)]
    site.ledger.wait_for_event("started", running[-1])

    mine.freeze()
    site.gate.open()
    wait_until(lambda: "cluster_state:fail" in state(others[0]), "the cluster misses the node")
    mine.thaw()
    back_at = time.monotonic()
    behind = [result.id for result in site.enqueue_many("work", [()] * JOBS)]
    site.wait_until_accepted([*running, *behind])

    account = site.account()
    print(f"all was done {time.monotonic() - back_at:.2f} s after the node's return")
    assert all(worker.alive() for worker in workers)
    assert (account.missing, account.twice) == ([], [])


def node_of_namespace(cluster: RedisCluster):
    with cluster.nodes[0].client() as client:
        slots = client.execute_command("CLUSTER", "SLOTS")
    [port] = [address[1] for (begin, end), address in owners(slots) if begin <= slot_of("{heeler}:") <= end]
    return next(node for node in cluster.nodes if node.port == port)


def owners(slots):
    """((first slot, last slot), (host, port)) of each range, in whatever form the client gives them."""
    if isinstance(slots, dict):
        return [(span, its["primary"]) for span, its in slots.items()]
    return [((begin, end), master) for begin, end, master, *_ in slots]


def state(node) -> str:
    with node.client() as client:
        client.response_callbacks.clear()
        return client.execute_command("CLUSTER", "INFO").decode()
