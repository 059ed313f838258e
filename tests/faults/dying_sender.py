"""A process that sends a stream, says how far it is, and goes on until it is killed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import Any

from heeler import Heeler, chord, group, workflow_sender

url, namespace, id, deadline = sys.argv[1:]
workflow_sender.STREAM_DEADLINE = float(deadline)
app = Heeler(url, namespace=namespace)
member, body, refund = (app.declare(f"stream.{name}") for name in ("member", "body", "refund"))


def members() -> Iterator[Any]:
    for number in range(1_700):
        yield member.s(number)
    print("three batches are out", flush=True)
    signal.pause()


with app:
    chord(group(members()), body.s()).catch(refund.s()).using(id=id).enqueue()
