"""What the tests of the SQLite broker share: brokers on a file of their own, envelopes, ends, and other processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from heeler.brokers.sqlite import SqliteBroker
from heeler.clock import Clock, SystemClock, new_id
from heeler.contracts import QueueShare, Subscription
from heeler.io_thread import IoThread
from heeler.model import Action, Delivery, Envelope, Publication, ResultRecord, Settlement, TaskStatus

NAMESPACE = "heeler"


def make(path: Path, *, clock: Clock | None = None, **options: Any) -> SqliteBroker:
    options.setdefault("namespace", NAMESPACE)
    return SqliteBroker(path=path, io=IoThread(), clock=clock or SystemClock(), **options)


@contextlib.asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[SqliteBroker]:
    broker = make(path, **options)
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


def envelope(**fields: Any) -> Envelope:
    fields = {"id": new_id(), "task": "t", "queue": "q", "body": b"body", "content_type": "m", **fields}
    return Envelope(**fields)


async def publish(broker: SqliteBroker, *envelopes: Envelope) -> None:
    await broker.publish(Publication(envelopes=envelopes))


async def subscribe(broker: SqliteBroker, *queues: str, lease: float = 30.0) -> Subscription:
    return await broker.subscribe([QueueShare(queue) for queue in queues or ("q",)], lease)


def success(delivery: Delivery, value: bytes = b"value") -> Settlement:
    record = ResultRecord(envelope=delivery.envelope, status=TaskStatus.SUCCESSFUL, value=value)
    return Settlement(delivery=delivery, action=Action.ACK, record=record)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that runs the script; it can import this module. Its output is for the test to read."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])},
    )


def line(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and nothing left of it."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
