"""The jobs of the fault tests, as a worker process imports them. The environment says where everything is."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from gate import pass_through
from ledger import LedgerWriter

from heeler import Heeler, Reject, TaskContext
from heeler.brokers.ordered import OrderedBroker
from heeler.contracts import Broker
from heeler.model import Action, CallId, Settlement, SettleResult
from heeler.worker import decide

GATE = os.environ["FAULT_GATE"]
ledger = LedgerWriter(os.environ["FAULT_LEDGER"])
app = Heeler(
    os.environ["HEELER_URL"],
    results=os.environ.get("FAULT_RESULTS"),
    namespace=os.environ["FAULT_NAMESPACE"],
    lease=float(os.environ["FAULT_LEASE"]),
)
_numbers = itertools.count()


class _Phases(logging.Handler):
    """Notes in the ledger when this worker begins to stop, so that a test can send the next signal after the first."""

    def emit(self, record: logging.LogRecord) -> None:
        if ": stopping" in record.getMessage():
            ledger.write("stopping", "-")


logging.getLogger("heeler.worker").addHandler(_Phases())


class _Run:
    """One run in the ledger: its start, its end, and by a follow-up whether that end was accepted."""

    def __init__(self, context: TaskContext) -> None:
        self.job = context.id
        self.name = f"{os.getpid()}-{next(_numbers)}"
        ledger.write("started", self.job, self.name)
        context.enqueue(accepted.s(self.job, self.name))

    def end(self) -> str:
        ledger.write("ended", self.job, self.name)
        return self.name


@app.task
async def accepted(job: str, run: str) -> None:
    ledger.write("accepted", job, run)


@app.task
async def work(context: TaskContext) -> str:
    return _Run(context).end()


@app.task
async def refuse(context: TaskContext) -> None:
    ledger.write("started", context.id)
    raise Reject("not wanted")


@app.task
def hold(context: TaskContext) -> str:
    run = _Run(context)
    pass_through(GATE)
    return run.end()


@app.task
async def hold_in_coroutine(context: TaskContext) -> str:
    run = _Run(context)
    await asyncio.to_thread(pass_through, GATE)
    return run.end()


@app.task
async def hold_a_moment(context: TaskContext) -> str:
    """Blocks its loop for a moment; in a worker that is told to hold, until the gate opens."""
    run = _Run(context)
    time.sleep(1.0)  # noqa: ASYNC251
    if "FAULT_HOLD" in os.environ:
        pass_through(GATE)
    return run.end()


@app.task
async def block_the_loop(context: TaskContext, seconds: float) -> str:
    run = _Run(context)
    time.sleep(seconds)  # noqa: ASYNC251 what a careless coroutine does
    return run.end()


@app.task
async def die_if(context: TaskContext, deadly: bool) -> str:
    run = _Run(context)
    if deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return run.end()


@app.task(max_crashes=0)
async def die_at_most_once(context: TaskContext) -> str:
    run = _Run(context)
    os.kill(os.getpid(), signal.SIGKILL)
    return run.end()


@app.task(max_crashes=0)
async def work_at_most_once(context: TaskContext) -> str:
    return _Run(context).end()


@app.task(executor="process")
def die_in_pool_if(context: TaskContext, deadly: bool) -> str:
    run = _Run(context)
    if deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return run.end()


@app.task(executor="process")
def hold_in_pool(context: TaskContext) -> str:
    run = _Run(context)
    pass_through(GATE)
    return run.end()


@app.task(max_crashes=10_000)
async def survive(context: TaskContext) -> str:
    """For tests that kill at random: which job was running alone just then is none of its fault."""
    return _Run(context).end()


@app.task(max_crashes=10_000)
def survive_in_thread(context: TaskContext) -> str:
    return _Run(context).end()


def die_when_settling(broker: Broker, moment: str) -> None:
    """Have this worker killed by its first successful ends: just before they are settled, or just after."""
    settle = broker.settle

    async def deadly(settlements: Sequence[Settlement], call: CallId | None = None) -> list[SettleResult]:
        if not any(settlement.action is Action.ACK for settlement in settlements):
            return await settle(settlements, call)
        if moment == "after":
            await settle(settlements, call)
        ledger.write("killed", "-")
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    broker.settle = deadly  # type: ignore[method-assign]


if moment := os.environ.get("FAULT_DIE_WHEN_SETTLING"):
    die_when_settling(app.connections.broker, moment)


def die_at_step(broker: OrderedBroker, at: str) -> None:
    """Have this process killed when it first takes that step, just before it or just after."""
    step, _, moment = at.partition("-")
    places = [type(place) for place in (broker.results, broker.plain, broker.plain.dead_letters)]
    place = next(place for place in places if hasattr(place, step))
    take = getattr(place, step)

    async def deadly(self: object, *arguments: Any, **named: Any) -> None:
        if moment == "after":
            await take(self, *arguments, **named)
        ledger.write("killed", "-")
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, step, deadly)


if at := os.environ.get("FAULT_DIE_AT"):
    die_at_step(app.connections.broker, at)  # type: ignore[arg-type]

if delay := os.environ.get("FAULT_UNKNOWN_DELAY"):
    decide.UNKNOWN_TASK_DELAY = float(delay)
