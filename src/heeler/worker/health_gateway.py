"""`--processes N`: one door for all worker processes, in a process of its own that asks each of them."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from heeler.worker.health_door import HealthDoor, HealthPlace, HealthReport
from heeler.worker.tiny_http import Answer, ask
from heeler.worker.vitals import WorkerHealth

__all__ = ["HealthGateway"]

ANSWERED_WITHIN = 1.0


class HealthGateway:
    """Asks the workers behind the sockets `folder`/1 … `folder`/`count`.

    One that does not answer is not ready; it may just be starting, or be replaced, so it counts as not live only after
    the place's patience. `merge` makes one text of the metrics that several processes tell.
    """

    def __init__(
        self,
        folder: str,
        count: int,
        place: HealthPlace,
        logger: logging.Logger,
        merge: Callable[[Sequence[tuple[str, str]]], bytes] | None,
    ) -> None:
        self._sockets = {number: str(Path(folder, str(number))) for number in range(1, count + 1)}
        self._place = place
        self._merge = merge
        self._logger = logger
        self._heard_at: dict[int, float] = {}

    def run(self) -> int:
        """Serve until SIGTERM; the exit code of this process. Raises ConfigurationError for a place that is taken."""
        asyncio.run(self._serve())
        return 0

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._heard_at = dict.fromkeys(self._sockets, loop.time())
        asked_to_end = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, asked_to_end.set)
        door = HealthDoor(self._place, self._look, self._metrics, self._logger)
        port = await door.open()
        if port is not None:
            self._logger.info("health on port %d", port)
        await asked_to_end.wait()
        await door.close()

    async def _look(self) -> list[WorkerHealth]:
        return list(await asyncio.gather(*(self._look_at(number) for number in self._sockets)))

    async def _look_at(self, number: int) -> WorkerHealth:
        now = asyncio.get_running_loop().time()
        answer = await self._ask(number, "/")
        try:
            if answer is None:
                raise ValueError("no answer")
            [worker] = msgspec.json.decode(answer.body, type=HealthReport).workers
        except (ValueError, msgspec.DecodeError):
            silent = now - self._heard_at[number]
            return WorkerHealth(
                name=f"process {number}",
                pid=0,
                state="silent",
                live=silent <= self._place.patience,
                ready=False,
                reasons=(f"it has not answered for {silent:.0f} s",),
            )
        self._heard_at[number] = now
        return worker

    async def _metrics(self) -> Answer:
        answers = await asyncio.gather(*(self._ask(number, "/metrics") for number in self._sockets))
        told = {number: answer for number, answer in zip(self._sockets, answers, strict=True) if answer is not None}
        good = {number: answer for number, answer in told.items() if answer.status == 200}
        if self._merge is None or not good:
            return next(iter(told.values()), Answer(503, b"no process answers\n", "text/plain"))
        texts = [(str(number), answer.body.decode()) for number, answer in good.items()]
        return Answer(200, self._merge(texts), next(iter(good.values())).content_type)

    async def _ask(self, number: int, path: str) -> Answer | None:
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                reader, writer = await asyncio.open_unix_connection(self._sockets[number])
                return await ask(reader, writer, path)
        except (OSError, TimeoutError, ValueError, IndexError):
            return None
