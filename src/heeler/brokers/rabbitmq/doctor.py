"""What there is to say about a RabbitMQ server and how it is used."""

from __future__ import annotations

from heeler.brokers.rabbitmq.connection import Connection
from heeler.brokers.rabbitmq.options import RabbitmqOptions
from heeler.contracts import Needs

__all__ = ["caveats", "findings"]

_NEW_QUEUES = (
    "a server alone that is killed within the second in which a quorum queue was first declared starts that queue "
    "empty; declare queues before jobs matter (a worker's start does), or run three servers"
)
_TWO_PRIORITIES = (4, 0)  # from here on quorum queues know them


def findings(connection: Connection, options: RabbitmqOptions) -> list[tuple[str, str, str]]:
    """(level, topic, text) of each finding."""
    server = connection.server
    found = [
        ("info", "server", f"{server.get('product', 'RabbitMQ')} {server.get('version', '?')} at {connection.shown}"),
        _durability(options),
        ("info", "heartbeat", f"{connection.heartbeat} s" if connection.heartbeat else "none"),
    ]
    if options.queue_type == "quorum":
        found.append(("info", "new queues", _NEW_QUEUES))
    if connection.blocked is not None:
        found.append(("problem", "alarm", f"publishers are made to wait: {connection.blocked}; free memory or disk"))
    if not options.tls and not connection.shown.startswith(("localhost", "127.", "::1")):
        found.append(("warning", "tls", "passwords and jobs travel in the clear; write amqps://"))
    return found


def _durability(options: RabbitmqOptions) -> tuple[str, str, str]:
    if options.queue_type == "quorum":
        return "ok", "durability", "quorum queues: what was accepted is on the disks of a majority"
    return (
        "info",
        "durability",
        "classic queues: what was accepted survives a restart of its node, not the loss of its disk; leave out "
        "?queue_type=classic for quorum queues",
    )


def caveats(version: tuple[int, ...], options: RabbitmqOptions, needs: Needs) -> list[tuple[str, str, str]]:
    """What RabbitMQ keeps otherwise than it is asked for."""
    found = []
    if needs.priorities:
        found.append(("info", "priorities", _priorities(version, options)))
    if needs.weights:
        found.append(("info", "weights", "they hold among the jobs that this worker has read ahead"))
    return found + _consumer_timeout(options.consumer_timeout, needs)


def _priorities(version: tuple[int, ...], options: RabbitmqOptions) -> str:
    if options.queue_type == "classic":
        return f"classic queues know {options.max_priority + 1} levels: the nearest of them is kept"
    if version >= _TWO_PRIORITIES:
        return "quorum queues know two levels: above 0, and all others"
    return (
        f"quorum queues of RabbitMQ {'.'.join(map(str, version))} know none: jobs start in the order in which they "
        f"came; from 4.0 on they know two levels, and classic queues (?queue_type=classic) 11"
    )


def _consumer_timeout(limit: float, needs: Needs) -> list[tuple[str, str, str]]:
    allowed = f"{limit / 60:g} minutes" if limit >= 60 else f"{limit:g} s"
    longer = sorted(name for name, timeout in needs.timeouts.items() if timeout is not None and timeout >= limit)
    endless = sorted(name for name, timeout in needs.timeouts.items() if timeout is None)
    found = []
    if longer:
        found.append(
            (
                "warning",
                "consumer_timeout",
                f"{_some(longer)} may run longer than the {allowed} for which the server lets a worker hold a message: "
                f"then it closes the worker's channel and sends all that it holds once more; set consumer_timeout in "
                f"rabbitmq.conf above the longest timeout, and say so in the URL (?consumer_timeout=2h)",
            )
        )
    if endless:
        found.append(
            (
                "info",
                "consumer_timeout",
                f"{_some(endless)} without a timeout: a run of more than {allowed} costs its worker the channel, "
                f"unless consumer_timeout in rabbitmq.conf is longer (then say so in the URL: ?consumer_timeout=2h)",
            )
        )
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
