"""Turns what Redis and sockets say into Heeler's errors, each with what is wrong, where, and what to do."""

from __future__ import annotations

import re
import ssl

from heeler.errors import BrokerUnavailable, ConfigurationError, HeelerError

__all__ = ["Refused", "Reply", "from_reply", "from_socket", "moved_to", "needs_script"]


class Reply(Exception):
    """An error reply, as the server worded it."""


class Refused(BrokerUnavailable):
    """The server carried nothing out and may do so soon. `elsewhere`: perhaps another server would at once."""

    def __init__(self, message: str, *, elsewhere: bool = False) -> None:
        super().__init__(message)
        self.elsewhere = elsewhere


# What stands at the begin of a reply; inside a script older servers put it further back.
_CODES = re.compile(
    r"\b(NOAUTH|WRONGPASS|NOPERM|WRONGTYPE|OOM|READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|ASK|BUSY|UNKILLABLE"
    r"|NOREPLICAS|MISCONF|UNBLOCKED|NOPROTO|EXECABORT)\b"
)

_NOT_ALLOWED = {
    "NOAUTH": "wants a password; put it into the URL: redis://:password@host or redis://user:password@host",
    "WRONGPASS": "refuses this user or password; check both in the URL (write @ : / as %40 %3A %2F)",
    "NOPERM": "does not let this user do that; Heeler needs ACL SETUSER … ~{namespace}:* &{namespace}:* +@all "
    "-@dangerous +info +role +config|get",
    "WRONGTYPE": "has keys of another program, or of another version, under this namespace; use another namespace or "
    "another database, or delete them",
    "NOPROTO": "is too old: Heeler needs Redis 6.2 or Valkey",
}
_NOT_NOW = {
    "OOM": "has used up its maxmemory, so it takes no new jobs (those it has can still be run); raise maxmemory, or "
    "run more workers",
    "READONLY": "is a replica, which cannot be written; name the master, or use redis+sentinel://",
    "LOADING": "is loading its data and will answer soon",
    "CLUSTERDOWN": "belongs to a cluster that is down or misses slots; see CLUSTER INFO",
    "MASTERDOWN": "is a replica without its master",
    "TRYAGAIN": "is moving the namespace's slot to another node; it goes on when that is done",
    "ASK": "is moving the namespace's slot to another node; it goes on when that is done",
    "BUSY": "is busy with a script of another program; SCRIPT KILL ends it",
    "UNKILLABLE": "is busy with a script that has already written; wait, or SHUTDOWN NOSAVE",
    "NOREPLICAS": "has fewer replicas than min-replicas-to-write asks for; start some, or lower it",
    "MISCONF": "cannot save its data to the disk, so it takes no writes; see its log and its disk",
    "UNBLOCKED": "has become a replica; the new master is looked for",
}
_ELSEWHERE = {"READONLY", "CLUSTERDOWN", "MASTERDOWN", "UNBLOCKED"}


def from_reply(error: Reply, shown: str) -> HeelerError:
    """The Heeler error for an error reply of the server that `shown` names."""
    text = str(error)
    found = _CODES.search(text)
    code = found[1] if found else ""
    if code in _NOT_ALLOWED:
        return ConfigurationError(f"Redis at {shown} {_NOT_ALLOWED[code]} ({text})")
    if code in _NOT_NOW:
        return Refused(f"Redis at {shown} {_NOT_NOW[code]} ({text})", elsewhere=code in _ELSEWHERE)
    if "killed by user" in text:
        return BrokerUnavailable(f"Redis at {shown}: somebody killed our script with SCRIPT KILL; it is sent again")
    if "max number of clients" in text:
        return BrokerUnavailable(f"Redis at {shown} has as many clients as it takes; raise maxclients ({text})")
    if "DB index" in text or "SELECT is not allowed" in text:
        return ConfigurationError(f"Redis at {shown} does not have this database; choose another number ({text})")
    if "unknown command" in text.lower() or "unknown redis command" in text.lower():
        return ConfigurationError(f"Redis at {shown} is too old: Heeler needs Redis 6.2 or Valkey ({text})")
    return BrokerUnavailable(f"Redis at {shown}: {text}; `heeler doctor` looks at the server")


def from_socket(error: BaseException, shown: str, *, sent: bool = False) -> HeelerError:
    """The Heeler error for a connection that could not be made or was lost. `sent`: a request had left."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"Redis at {shown}: its certificate is not accepted: {error.verify_message}; give the authority by ?ca=, "
            f"or the name in the certificate by ?server_name="
        )
    if isinstance(error, ssl.SSLError):
        return ConfigurationError(f"Redis at {shown}: no TLS can be agreed on: {error}; is it a TLS port?")
    if isinstance(error, TimeoutError):
        reason = "no answer in time"
    elif isinstance(error, ConnectionRefusedError):
        reason = "connection refused; start the server (redis-server), or correct the URL"
    else:
        reason = str(error) or type(error).__name__
    return BrokerUnavailable(f"Redis at {shown} cannot be reached: {reason}", outcome_unknown=sent)


def needs_script(error: Reply) -> bool:
    """The server does not know the script (any more)."""
    return "NOSCRIPT" in str(error)


def moved_to(error: Reply) -> tuple[str, int] | None:
    """The host (may be empty: the one that answered) and port of the node that has the slot now."""
    parts = str(error).split()
    if len(parts) != 3 or parts[0] != "MOVED":
        return None
    host, _, port = parts[2].rpartition(":")
    return host, int(port)
