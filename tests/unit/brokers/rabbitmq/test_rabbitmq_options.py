"""What a URL of RabbitMQ may say, and what it is told when it makes no sense."""

import pytest

from heeler.brokers.rabbitmq.options import Address, RabbitmqOptions, options_of
from heeler.errors import ConfigurationError
from heeler.url import BrokerUrl


def options(text: str) -> RabbitmqOptions:
    return options_of(BrokerUrl.parse(text))


def test_the_bare_url() -> None:
    got = options("amqp://localhost")
    assert got.addresses == (Address("localhost", 5672),)
    assert (got.vhost, got.username, got.password, got.queue_type) == ("/", "guest", "guest", "quorum")


def test_several_servers_a_user_and_a_vhost() -> None:
    got = options("amqp://me:p%40ss@one:5673,two/jobs")
    assert got.addresses == (Address("one", 5673), Address("two", 5672))
    assert (got.vhost, got.username, got.password) == ("jobs", "me", "p@ss")


def test_a_vhost_that_is_a_slash() -> None:
    assert options("amqp://localhost/%2F").vhost == "/"


def test_tls_has_its_own_port() -> None:
    got = options("amqps://localhost?verify=false")
    assert got.tls
    assert not got.verify
    assert got.addresses == (Address("localhost", 5671),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("amqp://localhost?ca=x.pem", "has TLS options but no TLS; write amqps://"),
        ("amqp://localhost?queue_type=stream", "must be one of quorum, classic"),
        ("amqp://localhost?exchange_type=topic", "gives an exchange_type but no exchange"),
        ("amqp://localhost?hartbeat=3", 'unknown option "hartbeat" .did you mean "heartbeat"'),
        ("amqps://localhost?ca=/no/such.pem", "the TLS files cannot be used"),
    ],
)
def test_what_does_not_fit_together_is_said(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        options(text).ssl_context()
