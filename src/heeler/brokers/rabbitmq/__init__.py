"""RabbitMQ: messages with confirms and delays in the broker; results go to any store, or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heeler.errors import ConfigurationError

if TYPE_CHECKING:
    from heeler.brokers.rabbitmq.broker import RabbitmqBroker
    from heeler.clock import Clock
    from heeler.io_thread import IoThread
    from heeler.url import BrokerUrl

__all__ = ["from_url"]


def from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str) -> RabbitmqBroker:
    """The plain broker that a URL like `amqp://localhost/vhost?queue_type=classic` describes.

    Raises ConfigurationError for an unknown or wrong option, or where the extra is not installed.
    """
    try:
        import pika  # noqa: F401 - only to say early what is missing
    except ImportError:
        raise ConfigurationError(f'{url.scheme}:// needs an extra: pip install "heeler[rabbitmq]"') from None
    from heeler.brokers.rabbitmq.broker import RabbitmqBroker
    from heeler.brokers.rabbitmq.options import options_of

    return RabbitmqBroker(options_of(url), io=io, clock=clock, namespace=namespace)
