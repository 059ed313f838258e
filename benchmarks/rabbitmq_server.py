"""A private RabbitMQ server for a benchmark: the same that the tests start."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pika
from pika.exceptions import ChannelClosedByBroker


@contextlib.contextmanager
def private_rabbitmq() -> Iterator[str]:
    """The URL of a server that ends with the `with` block."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    with contextlib.closing(importlib.import_module("rabbitmq_server").RabbitmqServer()) as server:
        yield server.start().url


def delete_queues(url: str, *names: str) -> None:
    """See to it that these are not there: the next case begins on an empty server."""
    connection = pika.BlockingConnection(pika.URLParameters(url.partition("?")[0]))
    try:
        channel = connection.channel()
        for name in names:
            channel.queue_delete(name)
    finally:
        connection.close()


def messages_in(url: str, name: str) -> int:
    """How many wait in a queue; none if it is not there."""
    connection = pika.BlockingConnection(pika.URLParameters(url.partition("?")[0]))
    try:
        return int(connection.channel().queue_declare(name, passive=True).method.message_count)
    except ChannelClosedByBroker:
        return 0
    finally:
        connection.close()
