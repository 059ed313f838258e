"""Turns what RabbitMQ and sockets say into Heeler's errors, each with what is wrong, where, and what to do."""

from __future__ import annotations

import ssl

from heeler.errors import BrokerUnavailable, ConfigurationError, HeelerError, PayloadTooLarge

__all__ = ["Lost", "Missing", "from_close", "from_socket", "lost"]


class Missing(ConfigurationError):
    """A queue or exchange is not there."""


class Lost(BrokerUnavailable):
    """The connection has gone while something was under way; on another one it may work."""


_FORCED, _TOO_LARGE, _REFUSED, _NOT_FOUND, _LOCKED, _DIFFERS, _NOT_ALLOWED = 320, 311, 403, 404, 405, 406, 530


def from_close(code: int, text: str, shown: str) -> HeelerError:
    """The Heeler error for the code and text with which the server closed a channel or the connection."""
    where = f"RabbitMQ at {shown}"
    if code == _REFUSED:
        if "exclusive use" in text:
            return BrokerUnavailable(f"{where}: somebody else consumes it: {text}")
        if "access to" in text:
            return ConfigurationError(
                f"{where} does not let this user do that: {text}; grant it: rabbitmqctl set_permissions"
            )
        return ConfigurationError(
            f"{where} refuses this user or password; check both in the URL (write @ : / as %40 %3A %2F; guest may "
            f"come from localhost only)"
        )
    if code == _NOT_ALLOWED:
        if "vhost" in text:
            return ConfigurationError(
                f"{where}: {text}; name the vhost after the host, as in amqp://host/vhost (/ is %2F), or make it: "
                f"rabbitmqctl add_vhost"
            )
        return ConfigurationError(f"{where} does not allow that: {text}")
    if code == _NOT_FOUND:
        return Missing(f"{where} has no such thing: {text}; declare it, or leave out ?passive so that Heeler does")
    if code == _LOCKED:
        return BrokerUnavailable(f"{where}: somebody else has it for itself: {text}")
    if code == _DIFFERS:
        if "timed out" in text:
            return BrokerUnavailable(
                f"{where} closed the channel because a job ran longer than its consumer_timeout: {text}; raise that in "
                f"rabbitmq.conf above the longest task (see `heeler doctor`)"
            )
        if "inequivalent" in text:
            return ConfigurationError(
                f"{where}: what is declared differs from what exists: {text}; change the setting, or delete what "
                f"exists when it is empty"
            )
        return BrokerUnavailable(f"{where}: {text}")
    if code == _TOO_LARGE:
        return PayloadTooLarge(f"{where} takes no message of this size: {text}")
    if code == _FORCED:
        return Lost(f"{where} has closed the connection: {text}", outcome_unknown=True)
    return BrokerUnavailable(f"{where} failed: {code} {text}", outcome_unknown=True)


def from_socket(error: BaseException, shown: str, *, tls: bool) -> HeelerError:
    """The Heeler error for what happened while connecting to the server that `shown` names."""
    where = f"RabbitMQ at {shown}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"{where}: its certificate is not trusted ({error.verify_message}); name the authority with ?ca=file.pem, "
            f"the name in the certificate with ?server_name=, or trust anybody with ?verify=false"
        )
    if isinstance(error, ssl.SSLError):
        return BrokerUnavailable(f"{where} cannot agree on TLS ({error.reason}); is {shown} its amqps port?")
    if isinstance(error, TimeoutError):
        return BrokerUnavailable(f"{where} does not answer; check host, port and firewall, or raise ?connect_timeout")
    if isinstance(error, ConnectionRefusedError):
        return BrokerUnavailable(f"{where}: connection refused; start the server (rabbitmq-server), or correct the URL")
    hint = "; does it speak TLS there?" if not tls and isinstance(error, (ConnectionResetError, EOFError)) else ""
    return BrokerUnavailable(f"{where} cannot be reached: {error or type(error).__name__}{hint}")


def lost(shown: str, why: str) -> Lost:
    """The connection is gone while something was under way."""
    return Lost(f"RabbitMQ at {shown}: the connection was lost: {why}", outcome_unknown=True)
