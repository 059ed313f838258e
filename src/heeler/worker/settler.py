"""Tells the broker how deliveries ended: in batches, one call in flight, each repeated until it is answered."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable

from heeler.clock import Clock, new_id
from heeler.contracts import Broker
from heeler.model import CallId, SettleAnswer, Settlement, SettleResult
from heeler.worker.decide import CANNOT_STORE, as_dead_letter
from heeler.worker.faults import Faults

__all__ = ["Settler"]

FULL_BATCH = 128  # so many are worth a call at once
LINGER = 0.001  # how long fewer wait for company
LARGEST_BATCH = 512
LARGEST_BYTES = 1 << 20
CONGESTED = 4 * LARGEST_BATCH  # with more unsettled than this nothing new is fetched


class Settler:
    """Lives on the I/O thread.

    `idle` says whether nothing else runs, so that waiting for company would be in vain. `on_answered` is told of
    the settlements that are done with: accepted, or refused because the lease was lost; `on_settled` before that of
    all answers, and when they were asked for.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        faults: Faults,
        logger: logging.Logger,
        *,
        idle: Callable[[], bool],
        on_answered: Callable[[list[Settlement]], None],
        on_settled: Callable[[list[Settlement], list[SettleResult], float], None] | None = None,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._faults = faults
        self._logger = logger
        self._idle = idle
        self._on_answered = on_answered
        self._on_settled = on_settled
        self._loop = asyncio.get_running_loop()
        self._session = f"{os.getpid()}-{new_id()}"
        self._calls = 0
        self._waiting: deque[Settlement] = deque()
        self._in_flight = 0
        self._sender: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def unsettled(self) -> int:
        """How many settlements the broker has not answered yet."""
        return len(self._waiting) + self._in_flight

    @property
    def congested(self) -> bool:
        return self.unsettled > CONGESTED

    def add(self, settlements: list[Settlement]) -> None:
        """Take settlements in; they are sent soon."""
        self._waiting.extend(settlements)
        if self._sender is not None:
            return  # it goes on until nothing waits
        if len(self._waiting) >= FULL_BATCH or self._idle():
            self._send()
        elif self._timer is None:
            self._timer = self._loop.call_later(LINGER, self._send)

    async def drain(self, timeout: float) -> bool:
        """Send what waits and see it answered; False if that took longer than `timeout` seconds."""
        self._send()
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=timeout)
        return not self.unsettled

    async def close(self) -> None:
        """Give up what the broker would not answer: those leases run out by themselves."""
        if self._timer is not None:
            self._timer.cancel()
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sender is None and self._waiting:
            self._sender = self._loop.create_task(self._send_all(), name="heeler-settler")

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch = self._cut()
                self._in_flight = len(batch)
                began = self._clock.time()
                answers = await self._settle(batch)
                self._in_flight = 0
                if self._on_settled is not None:
                    self._on_settled(batch, answers, began)
                self._take_in(batch, answers)
        finally:
            self._sender = None

    def _cut(self) -> list[Settlement]:
        """The next batch: as many as one call should carry."""
        waiting = self._waiting
        batch: list[Settlement] = []
        size = 0
        while waiting and len(batch) < LARGEST_BATCH:
            size += _size(waiting[0])
            if size > LARGEST_BYTES and batch:
                break
            batch.append(waiting.popleft())
        return batch

    async def _settle(self, batch: list[Settlement]) -> list[SettleResult]:
        self._calls += 1
        call = CallId(self._session, self._calls)
        while True:
            try:
                answers = await self._broker.settle(batch, call)
            except Exception as error:
                await self._clock.sleep(self._faults.failed("settle", error))
            else:
                self._faults.recovered("settle")
                return answers

    def _take_in(self, batch: list[Settlement], answers: list[SettleResult]) -> None:
        answered = batch
        accepted = SettleAnswer.ACCEPTED
        if [True for result in answers if result.answer is not accepted]:
            answered = []
            for settlement, result in zip(batch, answers, strict=True):
                if result.answer is SettleAnswer.INVALID:
                    self._refused(settlement, result.reason, answered)
                    continue
                if result.answer is SettleAnswer.LOST:
                    envelope = settlement.delivery.envelope
                    self._logger.info(
                        "%s %s: its lease was lost before it ended, so its end does not count; it runs elsewhere",
                        envelope.task,
                        envelope.id,
                    )
                answered.append(settlement)
        self._on_answered(answered)

    def _refused(self, settlement: Settlement, reason: str, answered: list[Settlement]) -> None:
        """Settle again as a dead letter what the broker cannot store; drop what it cannot store even so."""
        envelope = settlement.delivery.envelope
        if settlement.reason.startswith(CANNOT_STORE):
            self._logger.error("%s %s: not even its dead letter can be stored: %s", envelope.task, envelope.id, reason)
            answered.append(settlement)
            return
        self._logger.error(
            "%s %s: the broker cannot store how it ended; it goes to the dead letters: %s",
            envelope.task,
            envelope.id,
            reason,
        )
        self._waiting.append(as_dead_letter(settlement, reason))


def _size(settlement: Settlement) -> int:
    """About how many bytes the settlement adds to a call."""
    size = 256 + len(settlement.note)
    record = settlement.record
    if record is not None:
        if record.value is not None:
            size += len(record.value)
        if record.saved is not None:
            size += len(record.saved)
    if settlement.follow_ups is not None:
        size += sum(len(envelope.body) for envelope in settlement.follow_ups.envelopes)
    return size
