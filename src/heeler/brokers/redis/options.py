"""What a URL says of a Redis server and how to talk to it."""

from __future__ import annotations

import ssl
from typing import Literal

import msgspec

from heeler.errors import ConfigurationError
from heeler.reconnecting import ReconnectPolicy
from heeler.url import BrokerUrl

__all__ = ["Address", "RedisOptions", "options_of"]

Kind = Literal["server", "sentinel", "cluster"]

OPTIONS = (
    "ca",
    "cert",
    "client_name",
    "connect_timeout",
    "db",
    "dead_letter_limit",
    "dead_letter_ttl",
    "key",
    "max_payload",
    "publish_timeout",
    "reconnect_attempts",
    "reconnect_delay",
    "reconnect_max_delay",
    "sentinel_password",
    "sentinel_username",
    "server_name",
    "tls",
    "verify",
    "wait_replicas",
)
_TLS_OPTIONS = ("ca", "cert", "key", "server_name", "verify")
_PORT = 6379
_SENTINEL_PORT = 26379


class Address(msgspec.Struct, frozen=True):
    """Where a server listens: a host and port, or the path of a socket file."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class RedisOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the server. `addresses` are those of the server, of the sentinels, or of some cluster nodes."""

    shown: str  # the URL without the password
    kind: Kind = "server"
    addresses: tuple[Address, ...]
    service: str = ""  # the name by which sentinels know the master
    db: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    verify: bool = True
    client_name: str = "heeler"
    connect_timeout: float = 5.0
    reconnect: ReconnectPolicy = ReconnectPolicy()
    publish_timeout: float = 5.0
    wait_replicas: int = 0
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


def options_of(url: BrokerUrl) -> RedisOptions:
    """Raises ConfigurationError for what does not fit together."""
    url.finish(OPTIONS)
    scheme = url.scheme.replace("valkeys", "rediss").replace("valkey", "redis")
    kind: Kind = "server"
    service = ""
    path = url.path.strip("/")
    if scheme == "redis+socket":
        if url.hosts or len(url.path) < 2:
            raise ConfigurationError(f"{url.redacted!r}: a socket has three slashes: {scheme}:///run/redis.sock?db=1")
        addresses: tuple[Address, ...] = (Address(path=url.path),)
        path = ""
    elif scheme == "redis+sentinel":
        kind = "sentinel"
        service, _, path = path.partition("/")
        if not url.hosts or not service:
            raise ConfigurationError(
                f"{url.redacted!r}: name sentinels and service: {scheme}://host1:26379,host2:26379/mymaster/0"
            )
        addresses = tuple(Address(host, port or _SENTINEL_PORT) for host, port in url.hosts)
    else:
        if scheme == "redis+cluster":
            kind = "cluster"
        elif len(url.hosts) > 1:
            raise ConfigurationError(
                f"{url.redacted!r} names several servers; write redis+cluster:// or redis+sentinel:// for these"
            )
        addresses = tuple(Address(host, port or _PORT) for host, port in url.hosts) or (Address("localhost", _PORT),)
    tls = scheme == "rediss" or url.option_bool("tls", False)
    if not tls and any(name in url.options for name in _TLS_OPTIONS):
        raise ConfigurationError(f"{url.redacted!r} has TLS options but no TLS; write rediss://, or add ?tls=1")
    if tls and scheme == "redis+socket":
        raise ConfigurationError(f"{url.redacted!r}: a socket file needs no TLS")
    return RedisOptions(
        shown=url.redacted,
        kind=kind,
        addresses=addresses,
        service=service,
        db=_database(url, path, kind),
        username=url.username,
        password=url.password,
        sentinel_username=url.option("sentinel_username", None),
        sentinel_password=url.option("sentinel_password", None),
        tls=tls,
        ca=url.option("ca", None),
        cert=url.option("cert", None),
        key=url.option("key", None),
        server_name=url.option("server_name", None),
        verify=url.option_bool("verify", True),
        client_name=url.option("client_name", "heeler"),
        connect_timeout=url.option_duration("connect_timeout", 5.0),
        reconnect=ReconnectPolicy(
            url.option_int("reconnect_attempts", None, minimum=1),
            url.option_duration("reconnect_delay", 0.05),
            url.option_duration("reconnect_max_delay", 1.0),
        ),
        publish_timeout=url.option_duration("publish_timeout", 5.0),
        wait_replicas=url.option_int("wait_replicas", 0, minimum=0),
        max_payload=url.option_int("max_payload", 1 << 20, minimum=1),
        dead_letter_ttl=url.option_duration("dead_letter_ttl", 30 * 86400.0),
        dead_letter_limit=url.option_int("dead_letter_limit", 10_000, minimum=0),
    )


def _database(url: BrokerUrl, path: str, kind: Kind) -> int:
    number = url.option_int("db", 0, minimum=0)
    if path:
        if not path.isdecimal() or "db" in url.options:
            raise ConfigurationError(
                f"{url.redacted!r}: the database is one number, as in redis://localhost:6379/0 or ?db=0"
            )
        number = int(path)
    if number and kind == "cluster":
        raise ConfigurationError(f"{url.redacted!r}: a cluster has database 0 only; use namespaces instead")
    return number
