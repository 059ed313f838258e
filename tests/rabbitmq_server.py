"""The RabbitMQ that tests need: the one of RABBITMQ_URL, or a private one with port, node name and folder of its own.

A private server is small, forgets nothing while its folder is there, and may be stopped, killed and started again.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services import free_port

if TYPE_CHECKING:
    from heeler.brokers.rabbitmq.broker import RabbitmqBroker

__all__ = [
    "RabbitmqServer",
    "close_private_rabbitmq",
    "rabbitmq_binary",
    "rabbitmq_server",
    "rabbitmq_url",
    "remove_all",
]

_PATIENCE = 60.0
# A message on its way through the delays that finds the next queue not ready, while a server starts, is handed on after
# three minutes unless this says otherwise; milliseconds.
_ADVANCED = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 1000}]}].\n"
_BINARIES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")  # the first one does not change the user


def rabbitmq_binary() -> str:
    for candidate in (os.environ.get("RABBITMQ_SERVER", ""), *_BINARIES):
        if candidate and (found := shutil.which(candidate)):
            return found
    text = "no rabbitmq-server here; install it, or name a server by RABBITMQ_URL"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


class RabbitmqServer:
    """A private server; `settings` are lines of its rabbitmq.conf."""

    def __init__(self, *settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="heeler-rabbitmq-"))
        self.port = free_port()
        self.node = f"heeler-test-{self.port}@localhost"
        self.url = f"amqp://127.0.0.1:{self.port}"
        self._dist_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        conf = (f"listeners.tcp.1 = 127.0.0.1:{self.port}", *settings)
        (self.folder / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in conf))
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "advanced.config").write_text(_ADVANCED)

    @property
    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            **os.environ,
            "HOME": folder,  # the Erlang cookie
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }

    def start(self) -> RabbitmqServer:
        with (self.folder / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                [rabbitmq_binary()], env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + _PATIENCE
        while not self._greets():
            if self._process.poll() is not None or time.monotonic() > until:
                words = (self.folder / "output.log").read_text("utf-8", "replace")[-2000:]
                raise AssertionError(f"rabbitmq-server did not start:\n{words}")
            time.sleep(0.1)
        return self

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _greets(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as sock:
            sock.settimeout(2.0)
            sock.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(sock.recv(1))
        return False

    def control(self, *words: str) -> str:
        """What rabbitmqctl says."""
        done = subprocess.run(
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-n", self.node, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
        return done.stdout

    def kill(self) -> None:
        """End it as a loss of power would.

        First the names of its quorum queues are written down, as they are by themselves when they have not changed for
        half a second: a server alone starts a younger queue anew after its death, without its messages.
        """
        self.control("eval", "[dets:sync(Table) || Table <- dets:all()].")
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)  # the server's own group: the script and the virtual machine
            self._process.wait(_PATIENCE)
        self._process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


_private: list[RabbitmqServer] = []


@functools.cache
def rabbitmq_server() -> RabbitmqServer:
    """A private server that tests share, where they leave it as it was."""
    rabbitmq_binary()
    server = RabbitmqServer()
    _private.append(server)
    return server.start()


def rabbitmq_url() -> str:
    """The URL of a server for tests that only need one."""
    return os.environ.get("RABBITMQ_URL") or rabbitmq_server().url


async def remove_all(broker: RabbitmqBroker) -> None:
    """Delete the queues and exchanges of the broker's namespace."""
    from pika import spec  # not everybody who imports this file needs them

    from heeler.brokers.rabbitmq.delays import PLACES, all_stops

    topology = broker._topology
    names = [topology.on_server(queue) for queue in topology.known] + [topology.dead_queue]
    names += [topology.delays.queue(stop) for stop in all_stops()]
    channel = await (await broker._link.connection()).channel()
    await channel.call_all([spec.Queue.Delete(queue=name) for name in names])
    exchanges = [topology.exchange, topology.delays.due, topology.delays.astray]
    exchanges += [f"{broker.namespace}.delay.{place}" for place in range(PLACES)]
    await channel.call_all([spec.Exchange.Delete(exchange=name) for name in exchanges])
    await channel.close()


def close_private_rabbitmq() -> None:
    while _private:
        _private.pop().close()
