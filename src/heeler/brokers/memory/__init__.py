"""The broker in this process's memory: the executable specification that the other brokers are compared with."""

from heeler.brokers.memory.broker import MemoryBroker
from heeler.clock import Clock
from heeler.io_thread import IoThread
from heeler.url import BrokerUrl

__all__ = ["MemoryBroker", "from_url"]


def from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> MemoryBroker:
    """The broker of `memory://`, private to its app, or of `memory://name`, shared in this process by that name."""
    url.finish(("max_payload",))
    max_payload = url.option_int("max_payload", MemoryBroker.max_payload, minimum=1)
    return MemoryBroker(io=io, clock=clock, namespace=namespace, name=url.name or None, max_payload=max_payload)
