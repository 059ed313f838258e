"""Messages that no worker can run, among thousands of good ones: they are parked as they are, and nobody pays."""

from __future__ import annotations

import random
from collections import Counter

import pika
from site_of_faults import Site

from heeler.brokers.rabbitmq.messages import CONTENT_TYPE

GOOD = 10_000
BODIES, TYPES, UNKNOWN, MISFITS = 150, 150, 100, 100
AT_ONCE = 500


def test_five_hundred_poison_messages_among_ten_thousand_good_ones(rabbitmq_site: Site):
    site = rabbitmq_site
    chance = random.Random(5)
    good: list[str] = []
    raw = [chance.randbytes(chance.randrange(400)) for _ in range(BODIES + TYPES)]
    good.append(site.enqueue("work").id)  # so that the queue is there
    with _raw(site) as channel:
        for number in range(GOOD // AT_ONCE):
            good += [result.id for result in site.enqueue_many("work", [()] * (AT_ONCE - (number == 0)))]
            for place in range(number, len(raw), GOOD // AT_ONCE):
                kind = CONTENT_TYPE if place < BODIES else chance.choice(["application/json", "", "text/plain"])
                _publish(channel, site, raw[place], kind)
            for task, arguments, count in (("nobody_knows", (), UNKNOWN), ("work", ("one", "two"), MISFITS)):
                share = range(number, count, GOOD // AT_ONCE)
                site.app.declare(f"fault_jobs.{task}").enqueue_many([arguments for _ in share])
    workers = [site.worker("--concurrency", "50", FAULT_UNKNOWN_DELAY="0.05") for _ in range(2)]

    site.wait_until_accepted(good, timeout=90)
    letters = site.dead_letters(BODIES + TYPES + UNKNOWN + MISFITS)

    account = site.account()
    reasons = Counter(letter.reason.partition(":")[0] if letter.envelope else "raw" for letter in letters)
    print(dict(reasons))
    assert len(good) == GOOD
    assert (account.started, account.accepted, account.missing, account.twice) == (GOOD, GOOD, [], [])
    assert sorted(letter.raw for letter in letters if letter.envelope is None) == sorted(raw)
    assert all(letter.reason and letter.queue == "default" for letter in letters)
    tasks = Counter(letter.task for letter in letters)
    assert tasks == {"": BODIES + TYPES, "fault_jobs.nobody_knows": UNKNOWN, "fault_jobs.work": MISFITS}
    assert all(worker.alive() for worker in workers)


class _raw:
    """A channel on which anything can be sent."""

    def __init__(self, site: Site) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(site.url))

    def __enter__(self) -> pika.adapters.blocking_connection.BlockingChannel:
        channel = self._connection.channel()
        channel.confirm_delivery()
        return channel

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _publish(
    channel: pika.adapters.blocking_connection.BlockingChannel, site: Site, body: bytes, content_type: str
) -> None:
    properties = pika.BasicProperties(content_type=content_type, delivery_mode=2)
    channel.basic_publish("", f"{site.app.namespace}.default", body, properties, mandatory=True)
