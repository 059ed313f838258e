"""`heeler worker` and `enqueue` while the broker is away: who waits, who gives up, and what is said."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from command_shell import Shell, read_until, wait_for_file

from rabbitmq_server import RabbitmqServer, rabbitmq_binary
from services import RedisServer, free_port
from tcp_proxy import TcpProxy

Server = RedisServer | RabbitmqServer
SERVERS: dict[str, Callable[[], Server]] = {"redis": RedisServer, "amqp": RabbitmqServer}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of its own, not started yet."""
    if request.param == "amqp":
        rabbitmq_binary()  # skips where there is none
    with contextlib.closing(SERVERS[request.param]()) as server:
        yield server


@pytest.mark.services
def test_a_worker_waits_for_its_broker_says_so_once_and_then_works(shell: Shell, server: Server) -> None:
    with TcpProxy(server.port) as proxy:
        shell.environment["HEELER_URL"] = server.url.replace(str(server.port), str(proxy.port))
        worker = shell.worker()
        said = read_until(worker, "is unavailable")
        while proxy.accepted < 6:
            assert worker.poll() is None
            time.sleep(0.01)
        server.start()
        said += read_until(worker, "running; queues")
    shell.environment["HEELER_URL"] = server.url
    assert said.count("is unavailable") == 1
    assert said.count("is back after") == 1
    assert len(said.splitlines()) < 12


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}", "amqp://127.0.0.1:{port}"])
@pytest.mark.parametrize("arguments", [(), ("--processes", "2")])
def test_a_worker_that_waits_for_its_broker_ends_in_order_at_a_signal(
    shell: Shell, url: str, arguments: tuple[str, ...]
) -> None:
    shell.environment["HEELER_URL"] = url.format(port=free_port())
    worker = shell.worker(*arguments)
    read_until(worker, "is unavailable")
    begin = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("arguments", [(), ("--processes", "2")])
def test_a_worker_whose_attempts_are_used_up_ends_with_3_and_says_which_broker(
    shell: Shell, scheme: str, arguments: tuple[str, ...]
) -> None:
    port = free_port()
    url = f"{scheme}://me:secret@127.0.0.1:{port}?reconnect_attempts=3&reconnect_delay=10ms"
    done = shell.heeler("worker", *arguments, HEELER_URL=url)
    assert done.code == 3
    [error, *_] = [line for line in done.err.splitlines() if line.startswith("heeler: ")]
    assert f"127.0.0.1:{port}" in error
    assert "given up after 3 attempts" in error
    assert "secret" not in done.err


@pytest.mark.services
def test_a_broker_that_goes_away_for_good_lets_what_runs_end_and_ends_the_worker_with_3(
    shell: Shell, server: Server
) -> None:
    server.start()
    shell.environment["HEELER_URL"] = f"{server.url}?reconnect_attempts=3&reconnect_delay=10ms"
    worker = shell.worker("--log-level", "debug")
    shell.enqueue("hold", "--args", f'["{shell.folder}"]')
    wait_for_file(shell.folder / "begun", worker)
    server.kill()
    read_until(worker, "stops when what runs has ended")
    assert worker.poll() is None
    (shell.folder / "enough").touch()
    _, said = worker.communicate(timeout=30)
    assert worker.returncode == 3
    assert "given up after" in said.splitlines()[-1]
    assert f"127.0.0.1:{server.port}" in said.splitlines()[-1]


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_enqueue_without_a_broker_is_an_error_soon(shell: Shell, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}?publish_timeout=500ms"
    begin = time.monotonic()
    done = shell.heeler("enqueue", "add", "--args", "[1, 2]", HEELER_URL=url)
    assert done.code == 3
    assert "connection refused" in done.err.lower()
    assert time.monotonic() - begin < 10


@pytest.mark.services
def test_enqueue_to_a_server_that_falls_silent_is_an_error_soon(shell: Shell, server: Server) -> None:
    server.start()
    with TcpProxy(server.port) as proxy:
        proxy.freeze()
        url = server.url.replace(str(server.port), str(proxy.port)) + "?publish_timeout=500ms&connect_timeout=500ms"
        begin = time.monotonic()
        done = shell.heeler("enqueue", "add", "--args", "[1, 2]", HEELER_URL=url)
    assert done.code == 3
    assert "answer" in done.err
    assert time.monotonic() - begin < 10
