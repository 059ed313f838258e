"""Words from afar that shall take effect at once: cancel, quiet, stop, announce, follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from heeler.clock import Clock
from heeler.contracts import ControlChannel
from heeler.model import Command
from heeler.worker.faults import Faults

__all__ = ["CommandListener"]


class CommandListener:
    """Lives on the I/O thread. A command that is lost only delays: the store tells of a cancel anyway."""

    def __init__(
        self,
        control: ControlChannel,
        clock: Clock,
        faults: Faults,
        worker_id: str,
        worker_name: str,
        *,
        cancel: Callable[[tuple[str, ...]], None],
        quiet: Callable[[], None],
        stop: Callable[[], None],
        announce: Callable[[], None],
        follow: Callable[[], None],
    ) -> None:
        self._control = control
        self._clock = clock
        self._faults = faults
        self._worker_id = worker_id
        self._names = {worker_id, worker_name}
        self._cancel = cancel
        self._quiet = quiet
        self._stop = stop
        self._announce = announce
        self._follow = follow
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                inbox = await self._control.commands(self._worker_id)
                try:
                    self._faults.recovered("commands")
                    self.listening.set()
                    while True:
                        for command in await inbox.receive():
                            self._obey(command)
                finally:
                    await inbox.close()
            except Exception as error:
                await self._clock.sleep(self._faults.failed("commands", error))

    def _obey(self, command: Command) -> None:
        if command.workers and self._names.isdisjoint(command.workers):
            return
        if command.kind == "cancel":
            self._cancel(command.ids)
        elif command.kind == "quiet":
            self._quiet()
        elif command.kind == "announce":
            self._announce()
        elif command.kind == "follow":
            self._follow()
        elif command.kind == "stop":
            self._stop()
