"""What URLs of Redis mean, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from heeler import ConfigurationError
from heeler.brokers.redis.options import Address, options_of
from heeler.connections import known_schemes
from heeler.reconnecting import ReconnectPolicy
from heeler.url import BrokerUrl


def _options(text: str) -> Any:
    return options_of(BrokerUrl.parse(text))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {"addresses": (Address("localhost", 6379),), "db": 0, "kind": "server", "tls": False}),
        ("redis://h:7/3", {"addresses": (Address("h", 7),), "db": 3}),
        ("redis://h?db=4", {"db": 4}),
        ("redis://user:p%40ss@h", {"username": "user", "password": "p@ss"}),
        ("redis://:secret@h", {"username": None, "password": "secret"}),
        ("rediss://h", {"tls": True, "verify": True}),
        ("rediss://h?verify=no&server_name=x&ca=a&cert=b&key=c", {"verify": False, "server_name": "x", "ca": "a"}),
        ("redis+socket:///run/redis.sock?db=2", {"addresses": (Address(path="/run/redis.sock"),), "db": 2}),
        (
            "redis+sentinel://:p@a,b:7/jobs/2?sentinel_password=s",
            {
                "kind": "sentinel",
                "service": "jobs",
                "db": 2,
                "addresses": (Address("a", 26379), Address("b", 7)),
                "password": "p",
                "sentinel_password": "s",
            },
        ),
        (
            "redis+cluster://a:1,b?tls=1",
            {"kind": "cluster", "addresses": (Address("a", 1), Address("b", 6379)), "tls": True},
        ),
        ("valkey://h", {"kind": "server", "tls": False}),
        ("valkeys://h", {"tls": True}),
        ("valkey+socket:///s", {"addresses": (Address(path="/s"),)}),
        ("valkey+cluster://h", {"kind": "cluster"}),
        ("valkey+sentinel://h/x", {"kind": "sentinel"}),
        (
            "redis://h?publish_timeout=2s&connect_timeout=500ms&reconnect_attempts=3&reconnect_delay=1s"
            "&reconnect_max_delay=9s&client_name=me&wait_replicas=2&max_payload=5",
            {
                "publish_timeout": 2.0,
                "connect_timeout": 0.5,
                "reconnect": ReconnectPolicy(attempts=3, delay=1.0, max_delay=9.0),
                "client_name": "me",
                "wait_replicas": 2,
                "max_payload": 5,
            },
        ),
    ],
)
def test_what_a_url_means(url: str, expected: dict[str, Any]) -> None:
    options = _options(url)
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis://h?dbb=1", 'did you mean "db"'),
        ("redis://h/x", "the database is one number"),
        ("redis://h/1?db=2", "the database is one number"),
        ("redis://a,b", "redis+cluster://"),
        ("redis+cluster://h/1", "database 0 only"),
        ("redis+sentinel://h", "name sentinels and service"),
        ("redis+sentinel:///jobs", "name sentinels and service"),
        ("redis+socket://h/run", "three slashes"),
        ("redis+socket:///s?tls=1", "needs no TLS"),
        ("redis://h?ca=x.pem", "write rediss://"),
        ("redis://h?publish_timeout=soon", "publish_timeout"),
        ("redis://:secret@h/x", ":***@"),
    ],
)
def test_what_is_refused_with_advice(url: str, advice: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        _options(url)
    assert advice in str(raised.value)
    assert "secret" not in str(raised.value)


def test_tls_files_that_cannot_be_read_are_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="paths of PEM files"):
        _options("rediss://h?ca=/nowhere.pem").ssl_context()


def test_all_schemes_are_known() -> None:
    kinds = ("", "+socket", "+sentinel", "+cluster")
    assert {f"{name}{kind}" for name in ("redis", "valkey") for kind in kinds} <= set(known_schemes())
    assert {"rediss", "valkeys"} <= set(known_schemes())
