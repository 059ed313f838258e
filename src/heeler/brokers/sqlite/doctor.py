"""What there is to say about a file and how it is used."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from heeler.brokers.sqlite.session import Session

__all__ = ["findings"]

_LITTLE_SPACE = 256 << 20
_LARGE_WAL = 256 << 20
_NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"}
)


def findings(session: Session) -> list[tuple[str, str, str]]:
    """(level, topic, text) of each finding."""
    path = session.database.path
    found = [
        ("info", "file", f"{path}, {_mib(path.stat().st_size)}"),
        ("info", "sqlite", f"SQLite {sqlite3.sqlite_version}"),
        _durability(session),
        _journal(session, path),
        _space(path),
        ("ok", "clock", "all who use the file share the clock of this machine, so there is no skew"),
    ]
    filesystem = _filesystem(path)
    if filesystem in _NETWORK_FILESYSTEMS:
        text = f"{path} is on {filesystem}, where locks and shared memory cannot be trusted; use a local disk"
        found.append(("problem", "filesystem", text))
    return found


def _durability(session: Session) -> tuple[str, str, str]:
    if session.database.synchronous == "full":
        return "ok", "durability", "synchronous=full: what was accepted survives a loss of power"
    return (
        "warning",
        "durability",
        "synchronous=normal: the last jobs before a loss of power may be lost; leave the option out to keep them",
    )


def _journal(session: Session, path: Path) -> tuple[str, str, str]:
    mode = session.brisk.pragma("journal_mode")
    log = path.with_name(path.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > _LARGE_WAL:
        return (
            "warning",
            "journal",
            f"the write-ahead log has {_mib(size)}: some program keeps a read transaction open; end it",
        )
    return "ok", "journal", f"mode {mode}, {_mib(size)}"


def _space(path: Path) -> tuple[str, str, str]:
    free = shutil.disk_usage(path.parent).free
    if free < _LITTLE_SPACE:
        return "warning", "disk", f"only {_mib(free)} are free beside {path}; make room"
    return "ok", "disk", f"{_mib(free)} free"


def _filesystem(path: Path) -> str:
    """The type of the file system that has the file; empty where the system does not say."""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    except OSError:
        return ""
    real = str(path.resolve())
    best = kind = ""
    for line in lines:
        _, mount, type_, *_ = line.split(" ")
        inside = real == mount or real.startswith(mount.rstrip(os.sep) + os.sep)
        if inside and len(mount) >= len(best):
            best, kind = mount, type_
    return kind


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
