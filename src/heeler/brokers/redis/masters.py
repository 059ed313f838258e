"""Which server to talk to: the one that is named, the master that sentinels know, or the cluster node with our slot."""

from __future__ import annotations

import binascii
import ssl
from typing import Any

from heeler.brokers.redis.connection import Connection, connect
from heeler.brokers.redis.faults import Reply, from_reply
from heeler.brokers.redis.options import Address, RedisOptions
from heeler.errors import BrokerUnavailable

__all__ = ["find_master", "slot_of"]

_SLOTS = 16384


async def find_master(options: RedisOptions, context: ssl.SSLContext | None, prefix: str) -> Address:
    """Raises BrokerUnavailable where nobody knows it, ConfigurationError where nobody may ask."""
    if options.kind == "server":
        return options.addresses[0]
    reasons: list[str] = []
    for address in options.addresses:
        try:
            connection = await connect(options, address, context, of_sentinel=options.kind == "sentinel")
        except BrokerUnavailable as error:
            reasons.append(str(error))
            continue
        try:
            found = await (_ask_sentinel if options.kind == "sentinel" else _ask_node)(connection, options, prefix)
        except (Reply, BrokerUnavailable) as error:
            told = from_reply(error, connection.shown) if isinstance(error, Reply) else error
            if not isinstance(told, BrokerUnavailable):
                raise told from None
            reasons.append(str(told))
        else:
            if isinstance(found, Address):
                return found
            reasons.append(found)
        finally:
            connection.close()
    raise BrokerUnavailable(f"{options.shown}: no master is known: {'; '.join(reasons)}")


async def _ask_sentinel(connection: Connection, options: RedisOptions, prefix: str) -> Address | str:
    del prefix
    found = await connection.send("SENTINEL", "get-master-addr-by-name", options.service)
    if found is None:
        return f"the sentinel {connection.shown} knows no service {options.service!r}"
    return Address(found[0].decode(), int(found[1]))


async def _ask_node(connection: Connection, options: RedisOptions, prefix: str) -> Address | str:
    slot = slot_of(prefix)
    for begin, end, master, *_ in await connection.send("CLUSTER", "SLOTS"):
        if begin <= slot <= end:
            return _node_address(master, connection)
    return f"no node of the cluster {options.shown} has slot {slot} of the namespace"


def _node_address(master: list[Any], connection: Connection) -> Address:
    host = master[0].decode() if master[0] else ""
    return Address(host or connection.host, int(master[1]))


def slot_of(key: str) -> int:
    """The slot of a key: CRC-16/XMODEM of its hash tag (Redis Cluster Specification, "Key distribution model")."""
    tag = key[key.index("{") + 1 : key.index("}")]
    return binascii.crc_hqx(tag.encode(), 0) % _SLOTS
