"""What there is to say about a Redis server and how it is set up."""

from __future__ import annotations

from heeler.brokers.redis.link import Link
from heeler.errors import HeelerError

__all__ = ["findings"]

_OLDEST = (6, 2)
_NEARLY_FULL = 0.9


async def findings(link: Link) -> list[tuple[str, str, str]]:
    """(level, topic, text) of each finding. Raises BrokerUnavailable or ConfigurationError."""
    info = _fields(await link.command("INFO"))
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    found = [("info", "server", f"{name} {version}, {info.get('redis_mode', 'standalone')}")]
    if tuple(int(part) for part in info.get("redis_version", "0.0").split(".")[:2] if part.isdecimal()) < _OLDEST:
        found.append(("problem", "server", "Heeler needs Redis 6.2 or newer, or Valkey"))
    settings = await _settings(link)
    if settings is None:
        found.append(("info", "settings", "this user may not read them (CONFIG GET), so they could not be looked at"))
        settings = {}
    found.append(_eviction(info, settings))
    found.append(_persistence(info, settings))
    found += _replicas(info, settings)
    found += _memory(info)
    return found


def _fields(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


async def _settings(link: Link) -> dict[str, str] | None:
    settings = {}
    for pattern in ("maxmemory-policy", "appendonly", "appendfsync", "save", "min-*-to-write"):
        try:
            said = await link.command("CONFIG", "GET", pattern)
        except HeelerError:
            return None  # hosted servers often refuse it
        settings.update({said[n].decode(): said[n + 1].decode() for n in range(0, len(said), 2)})
    return settings


def _eviction(info: dict[str, str], settings: dict[str, str]) -> tuple[str, str, str]:
    policy = info.get("maxmemory_policy") or settings.get("maxmemory-policy", "noeviction")
    if policy == "noeviction":
        return "ok", "eviction", "maxmemory-policy noeviction: a full server refuses new jobs and forgets none"
    if policy.startswith("volatile"):
        return (
            "warning",
            "eviction",
            f"maxmemory-policy {policy}: a full server forgets results and reserved ids early; use noeviction",
        )
    return (
        "problem",
        "eviction",
        f"maxmemory-policy {policy}: a full server drops jobs; use: CONFIG SET maxmemory-policy noeviction",
    )


def _persistence(info: dict[str, str], settings: dict[str, str]) -> tuple[str, str, str]:
    if info.get("aof_enabled") == "1":
        fsync = settings.get("appendfsync", "everysec")
        if fsync == "always":
            return "ok", "durability", "append-only file, appendfsync always: what was accepted survives a crash"
        return (
            "warning",
            "durability",
            f"append-only file, appendfsync {fsync}: the last moments before a crash of the machine may be lost; "
            f"appendfsync always keeps them",
        )
    if settings.get("save"):
        return (
            "warning",
            "durability",
            "snapshots only: what came after the last one is lost in a crash; set appendonly yes",
        )
    if "save" not in settings:
        return "warning", "durability", "no append-only file; whether there are snapshots could not be seen"
    return "warning", "durability", "nothing is written to a disk: a restart loses all jobs; set appendonly yes"


def _replicas(info: dict[str, str], settings: dict[str, str]) -> list[tuple[str, str, str]]:
    if info.get("role") == "slave":
        return [("problem", "replication", "this is a replica, which cannot be written; name the master")]
    count = int(info.get("connected_slaves", "0"))
    if not count:
        return []
    least = settings.get("min-replicas-to-write", settings.get("min-slaves-to-write", "0"))
    if least == "0":
        return [
            (
                "warning",
                "replication",
                f"{count} replicas but min-replicas-to-write 0: a master that was cut off goes on accepting jobs that "
                f"are lost in the failover; set it to 1, or use ?wait_replicas=1",
            )
        ]
    return [("ok", "replication", f"{count} replicas, min-replicas-to-write {least}")]


def _memory(info: dict[str, str]) -> list[tuple[str, str, str]]:
    used, most = int(info.get("used_memory", "0")), int(info.get("maxmemory", "0"))
    if most and used > most * _NEARLY_FULL:
        text = f"{used:,} of {most:,} bytes are in use: new jobs will be refused; raise maxmemory or drain the queues"
        return [("warning", "memory", text)]
    return [("ok", "memory", f"{used / (1 << 20):.0f} MiB in use" + (f" of {most / (1 << 20):.0f}" if most else ""))]
