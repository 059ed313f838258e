"""Jobs and results in Redis or Valkey, shared by machines: alone, behind Sentinel, or as a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heeler.errors import ConfigurationError

if TYPE_CHECKING:
    from heeler.brokers.redis.broker import RedisBroker
    from heeler.clock import Clock
    from heeler.io_thread import IoThread
    from heeler.url import BrokerUrl

__all__ = ["from_url"]


def from_url(url: BrokerUrl, *, io: IoThread, clock: Clock, namespace: str, area: str = "") -> RedisBroker:
    """The broker that a URL like `redis://localhost:6379/0?publish_timeout=2s` describes.

    `area` sets keys of the namespace apart. Raises ConfigurationError for an unknown or wrong option, or where the
    extra is not installed.
    """
    try:
        import hiredis  # noqa: F401 - only to say early what is missing
    except ImportError:
        raise ConfigurationError(f'{url.scheme}:// needs an extra: pip install "heeler[redis]"') from None
    from heeler.brokers.redis.broker import RedisBroker
    from heeler.brokers.redis.options import options_of

    return RedisBroker(options_of(url), io=io, clock=clock, namespace=namespace, area=area)
