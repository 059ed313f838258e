"""Where others learn whether workers are well: a port with /live, /ready and /metrics, and a file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from heeler.errors import ConfigurationError
from heeler.worker.tiny_http import Answer, serve
from heeler.worker.vitals import WorkerHealth

__all__ = ["HealthDoor", "HealthPlace", "HealthReport", "Metrics", "MetricsSource"]

Metrics = Callable[[], Awaitable[Answer]]
NO_METRICS = b"no metrics: install heeler[prometheus] where the worker runs\n"


class MetricsSource(msgspec.Struct, frozen=True):
    """What counts (as middleware, where the app has none that does), and what tells it."""

    middleware: tuple[Any, ...]
    tell: Metrics


class HealthPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where to tell it. `socket` is the path of a Unix socket, which a process beside this one asks."""

    port: int | None = None
    host: str | None = None  # None: on all addresses of the machine
    socket: str | None = None
    file: str | None = None
    patience: float = 30.0

    @property
    def is_anywhere(self) -> bool:
        return self.port is not None or self.socket is not None or self.file is not None


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """All workers behind one door: live, or ready, only if each of them is."""

    live: bool
    ready: bool
    workers: tuple[WorkerHealth, ...]

    @classmethod
    def of(cls, workers: list[WorkerHealth]) -> HealthReport:
        return cls(
            live=all(worker.live for worker in workers),
            ready=bool(workers) and all(worker.ready for worker in workers),
            workers=tuple(workers),
        )


class HealthDoor:
    """Lives on one loop. `look` tells how the workers are, `metrics` what there is to count, where something does."""

    def __init__(
        self,
        place: HealthPlace,
        look: Callable[[], Awaitable[list[WorkerHealth]]],
        metrics: Metrics | None,
        logger: logging.Logger,
    ) -> None:
        self._place = place
        self._logger = logger
        self._look = look
        self._metrics = metrics
        self._servers: list[asyncio.Server] = []
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> int | None:
        """Be there from now on; the port, where there is one. Raises ConfigurationError for a place that is taken."""
        place = self._place
        handle = serve(self._respond)
        port = None
        if place.port is not None:
            try:
                server = await asyncio.start_server(handle, place.host, place.port, family=_family(place.port))
            except OSError as error:
                raise ConfigurationError(
                    f"--health-port {place.port}: it cannot be had on {place.host or 'this machine'} "
                    f"({error.strerror or error}); give another one"
                ) from error
            self._servers.append(server)
            port = int(server.sockets[0].getsockname()[1])
        if place.socket is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place.socket)  # of a process that was here before
            self._servers.append(await asyncio.start_unix_server(handle, place.socket))
        if place.file is not None:
            await self._write(Path(place.file))
            self._writer = asyncio.create_task(self._keep_writing(Path(place.file)), name="heeler-health-file")
        return port

    async def close(self) -> None:
        """Be there no more; the file goes, too."""
        for server in self._servers:
            server.close()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        for path in (self._place.file, self._place.socket):
            if path is not None:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    async def _respond(self, path: str) -> Answer:
        if path == "/metrics":
            return Answer(404, NO_METRICS, "text/plain") if self._metrics is None else await self._metrics()
        if path not in ("/", "/live", "/ready"):
            return Answer(404, b"there is /live, /ready and /metrics\n", "text/plain")
        report = HealthReport.of(await self._look())
        good = {"/": True, "/live": report.live, "/ready": report.ready}[path]
        return Answer(200 if good else 503, msgspec.json.encode(report) + b"\n")

    async def _keep_writing(self, file: Path) -> None:
        while True:
            await asyncio.sleep(self._place.patience / 6)
            try:
                await self._write(file)
            except ConfigurationError as error:  # a full disk, say: it may pass, and the old file tells that it is old
                self._logger.error("%s", error)

    async def _write(self, file: Path) -> None:
        _replace(file, HealthReport.of(await self._look()))


def _replace(file: Path, report: HealthReport) -> None:
    """Write the report; the file's time of change is that of the last moment when all were live."""
    made = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        before = file.stat().st_mtime if not report.live and file.exists() else 0.0
        made.write_bytes(msgspec.json.encode(report) + b"\n")
        if not report.live:
            os.utime(made, (time.time(), before))
        made.replace(file)
    except OSError as error:
        raise ConfigurationError(f"--health-file {file} cannot be written: {error.strerror or error}") from error


def _family(port: int) -> int:
    """One kind of address only where the system chooses the port: it would be another one for each kind."""
    return socket.AF_UNSPEC if port else socket.AF_INET
