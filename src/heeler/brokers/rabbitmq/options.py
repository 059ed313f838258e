"""What a URL says of RabbitMQ servers, of how to talk to them, and of the exchanges and queues there."""

from __future__ import annotations

import ssl

import msgspec

from heeler.errors import ConfigurationError
from heeler.reconnecting import ReconnectPolicy
from heeler.url import BrokerUrl

__all__ = ["OPTIONS", "Address", "RabbitmqOptions", "options_of"]

OPTIONS = (
    "ca",
    "cert",
    "channel_max",
    "connect_timeout",
    "connection_name",
    "consumer_timeout",
    "dead_letter_limit",
    "dead_letter_ttl",
    "exchange",
    "exchange_type",
    "frame_max",
    "heartbeat",
    "key",
    "max_payload",
    "max_priority",
    "passive",
    "prefetch",
    "prefix",
    "publish_timeout",
    "queue_type",
    "reconnect_attempts",
    "reconnect_delay",
    "reconnect_max_delay",
    "routing_key",
    "server_name",
    "verify",
)
_TLS_OPTIONS = ("ca", "cert", "key", "server_name", "verify")
_PORTS = {"amqp": 5672, "amqps": 5671}
_SMALLEST_FRAME = 4096  # AMQP 0-9-1, 4.2.3: every peer takes frames of this size


class Address(msgspec.Struct, frozen=True):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class RabbitmqOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the servers and what to find there. `prefix` stands before the name of every queue on the server."""

    shown: str  # the URL without the password
    addresses: tuple[Address, ...]
    vhost: str = "/"
    username: str = "guest"
    password: str = "guest"
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    verify: bool = True
    connection_name: str = "heeler"
    heartbeat: int = 10  # seconds
    heartbeat_is_given: bool = False
    frame_max: int = 131_072
    channel_max: int = 2047
    connect_timeout: float = 5.0
    reconnect: ReconnectPolicy = ReconnectPolicy()
    publish_timeout: float = 5.0
    prefix: str | None = None  # None: the namespace and a dot; nothing where others own the topology
    exchange: str | None = None
    exchange_type: str = "direct"
    routing_key: str | None = None  # of messages that have none
    queue_type: str = "quorum"
    max_priority: int = 10  # of classic queues
    passive: bool = False
    consumer_timeout: float = 1800.0  # seconds, as the server has it; it tells nobody
    prefetch_limit: bool = False  # as many as may run, and no read-ahead
    max_payload: int = 1 << 20
    dead_letter_ttl: float = 30 * 86400.0
    dead_letter_limit: int = 10_000

    def ssl_context(self) -> ssl.SSLContext | None:
        """None without TLS. Raises ConfigurationError for a file that cannot be read."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"{self.shown!r}: the TLS files cannot be used: {error}; ca, cert and key are paths of PEM files"
            ) from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def options_of(url: BrokerUrl) -> RabbitmqOptions:
    """Raises ConfigurationError for what does not fit together."""
    url.finish(OPTIONS)
    tls = url.scheme == "amqps"
    if not tls and any(name in url.options for name in _TLS_OPTIONS):
        raise ConfigurationError(f"{url.redacted!r} has TLS options but no TLS; write amqps://")
    port = _PORTS[url.scheme]
    prefetch = url.option_choice("prefetch", "auto", ["auto", "limit"])
    exchange_type = url.option_choice("exchange_type", "direct", ["direct", "topic", "fanout", "headers"])
    if "exchange_type" in url.options and not url.option("exchange", None):
        raise ConfigurationError(f"{url.redacted!r} gives an exchange_type but no exchange; add &exchange=name")
    return RabbitmqOptions(
        shown=url.redacted,
        addresses=tuple(Address(host, given or port) for host, given in url.hosts) or (Address("localhost", port),),
        vhost=url.path[1:] or "/",
        username="guest" if url.username is None else url.username,
        password="guest" if url.username is None and url.password is None else url.password or "",
        tls=tls,
        ca=url.option("ca", None),
        cert=url.option("cert", None),
        key=url.option("key", None),
        server_name=url.option("server_name", None),
        verify=url.option_bool("verify", True),
        connection_name=url.option("connection_name", "heeler"),
        heartbeat=max(1, int(url.option_duration("heartbeat", 10.0))),
        heartbeat_is_given="heartbeat" in url.options,
        frame_max=url.option_int("frame_max", 131_072, minimum=_SMALLEST_FRAME),
        channel_max=url.option_int("channel_max", 2047, minimum=4),
        connect_timeout=url.option_duration("connect_timeout", 5.0),
        reconnect=ReconnectPolicy(
            url.option_int("reconnect_attempts", None, minimum=1),
            url.option_duration("reconnect_delay", 0.05),
            url.option_duration("reconnect_max_delay", 1.0),
        ),
        publish_timeout=url.option_duration("publish_timeout", 5.0),
        prefix=url.option("prefix", None),
        exchange=url.option("exchange", None) or None,
        exchange_type=exchange_type,
        routing_key=url.option("routing_key", None),
        queue_type=url.option_choice("queue_type", "quorum", ["quorum", "classic"]),
        max_priority=url.option_int("max_priority", 10, minimum=1),
        passive=url.option_bool("passive", False),
        consumer_timeout=url.option_duration("consumer_timeout", 1800.0),
        prefetch_limit=prefetch == "limit",
        max_payload=url.option_int("max_payload", 1 << 20, minimum=1),
        dead_letter_ttl=url.option_duration("dead_letter_ttl", 30 * 86400.0),
        dead_letter_limit=url.option_int("dead_letter_limit", 10_000, minimum=1),
    )
