"""Whether a worker is well: what it tells at its port and in its file."""

import asyncio
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broken_broker import BrokenBroker

from heeler import Heeler
from heeler.contracts import QueueShare
from heeler.errors import ConfigurationError
from heeler.model import Command
from heeler.worker.worker import Worker

PATIENCE = 20.0


def ask(worker: Worker, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", worker.health_port, timeout=PATIENCE)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if answer.headers["Content-Type"] == "application/json" and body else body


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_a_running_worker_is_live_and_ready(app: Heeler):
    with app.worker(name="one", health_port=0, health_host="127.0.0.1") as worker:
        assert worker.wait_ready(5)
        assert ask(worker, "/live")[0] == 200
        status, report = ask(worker, "/ready")
        assert status == 200
        [told] = report["workers"]
        assert (report["live"], report["ready"]) == (True, True)
        assert (told["name"], told["pid"], told["state"], told["reasons"]) == ("one", os.getpid(), "running", [])
    assert worker.health_port is not None


def test_readiness_ends_when_it_is_told_to_be_quiet_and_life_does_not(app: Heeler):
    with app.worker(health_port=0) as worker:
        assert worker.wait_ready(5)
        app.quiet_workers(worker.id)
        until(lambda: ask(worker, "/ready")[0] == 503)
        assert ask(worker, "/ready")[1]["workers"][0]["reasons"] == ["it is quiet"]
        assert ask(worker, "/live")[0] == 200


def test_it_is_live_and_not_ready_while_it_stops(app: Heeler):
    started, go_on = threading.Event(), threading.Event()

    @app.task(name="work")
    def work() -> None:
        started.set()
        go_on.wait(PATIENCE)

    with app.worker(health_port=0) as worker:
        work.enqueue()
        assert started.wait(5)
        worker.stop()
        until(lambda: ask(worker, "/ready")[0] == 503)
        assert ask(worker, "/live")[0] == 200
        go_on.set()


def test_a_blocked_task_loop_is_no_life_until_it_turns_again(app: Heeler):
    go_on = threading.Event()

    @app.task(name="block")
    async def block() -> None:
        go_on.wait(PATIENCE)

    with app.worker(health_port=0, health_patience=0.2) as worker:
        assert worker.wait_ready(5)
        blocked = block.enqueue()
        until(lambda: ask(worker, "/live")[0] == 503)
        [told] = ask(worker, "/live")[1]["workers"]
        assert told["reasons"][0].startswith("its task loop has been silent for")
        go_on.set()
        blocked.join(PATIENCE)
        until(lambda: ask(worker, "/live")[0] == 200)


def test_while_it_starts_it_is_live_and_not_ready():
    entered, go_on = threading.Event(), threading.Event()
    with Heeler("memory://") as app:

        @app.on_startup
        def load() -> None:  # blocks the loop, as the loading of a large model does
            entered.set()
            go_on.wait(PATIENCE)

        with app.worker(health_port=0, health_patience=0.05) as worker:
            assert entered.wait(5)
            until(lambda: ask(worker, "/ready")[0] == 503)
            assert ask(worker, "/live")[0] == 200
            go_on.set()
            assert worker.wait_ready(5)
            until(lambda: ask(worker, "/ready")[0] == 200)


def test_without_its_broker_it_is_live_and_not_ready():
    broker = BrokenBroker()
    broker.down = {"open"}
    with Heeler(broker=broker) as app, app.worker(health_port=0) as worker:
        until(lambda: worker.health_port is not None)
        until(lambda: "the broker is unavailable" in ask(worker, "/ready")[1]["workers"][0]["reasons"])
        assert ask(worker, "/live")[0] == 200
        broker.down = set()
        assert worker.wait_ready(10)
        until(lambda: ask(worker, "/ready")[0] == 200)


def test_leases_that_are_not_renewed_are_no_life_unless_the_broker_is_away(monkeypatch: pytest.MonkeyPatch):
    started, go_on = threading.Event(), threading.Event()
    broker = BrokenBroker()
    with Heeler(broker=broker, lease=0.3) as app:

        @app.task(name="work")
        def work() -> None:
            started.set()
            go_on.wait(PATIENCE)

        with app.worker(concurrency=1, health_port=0) as worker:
            work.enqueue()
            assert started.wait(5)
            extend = broker.extend

            async def late(*arguments: object) -> object:
                await asyncio.to_thread(go_on.wait, PATIENCE)
                return await extend(*arguments)

            monkeypatch.setattr(broker, "extend", late)

            def reasons() -> str:
                return str(ask(worker, "/live")[1]["workers"][0]["reasons"])

            # With another slot free the job would come back here at once, under a new lease, and all would be well.
            until(lambda: "a lease ran out" in reasons())
            go_on.set()
            until(lambda: ask(worker, "/live")[0] == 200)


def test_what_else_is_asked_is_answered_as_http_wants_it(app: Heeler):
    with app.worker(health_port=0) as worker:
        assert worker.wait_ready(5)
        assert ask(worker, "/")[0] == 200
        assert ask(worker, "/live?verbose=1")[0] == 200
        assert ask(worker, "/other")[0] == 404
        assert ask(worker, "/metrics")[0] in (200, 404)
        assert ask(worker, "/live", "HEAD") == (200, b"")
        assert ask(worker, "/live", "POST")[0] == 405
        with socket.create_connection(("127.0.0.1", worker.health_port)) as rude:
            rude.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            assert rude.recv(100).startswith(b"HTTP/1.1 400 ")
        with socket.create_connection(("127.0.0.1", worker.health_port)) as rude:
            rude.sendall(b"GET / HT")
        with socket.create_connection(("127.0.0.1", worker.health_port)) as rude:
            rude.sendall(b"x" * 100_000 + b"\r\n\r\n")
            rude.settimeout(PATIENCE)
            try:
                assert rude.recv(100) == b""
            except ConnectionResetError:
                pass
        assert ask(worker, "/live")[0] == 200


def test_a_port_that_is_taken_is_an_error_that_names_it(app: Heeler):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"--health-port {port}: it cannot be had on 127.0.0.1"):
            app.worker(health_port=port, health_host="127.0.0.1").run(handle_signals=False)


def test_the_file_is_there_while_the_worker_is_and_tells_how_it_is(app: Heeler, tmp_path: Path):
    file = tmp_path / "health.json"
    with app.worker(health_file=str(file), health_patience=0.3) as worker:
        assert worker.wait_ready(5)
        until(lambda: json.loads(file.read_bytes())["ready"])
        written = file.stat().st_mtime_ns
        until(lambda: file.stat().st_mtime_ns > written)
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_blocked_worker_grows_old_and_says_why(app: Heeler, tmp_path: Path):
    file = tmp_path / "health.json"
    go_on = threading.Event()

    @app.task(name="block")
    async def block() -> None:
        go_on.wait(PATIENCE)

    with app.worker(health_file=str(file), health_patience=0.2) as worker:
        assert worker.wait_ready(5)
        blocked = block.enqueue()
        until(lambda: not json.loads(file.read_bytes())["live"])
        old = file.stat().st_mtime_ns
        inode = file.stat().st_ino
        until(lambda: file.stat().st_ino != inode)  # it was written again
        assert file.stat().st_mtime_ns <= old
        go_on.set()
        blocked.join(PATIENCE)


def test_a_file_that_cannot_be_written_keeps_the_worker_from_starting(app: Heeler, tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"--health-file .* cannot be written: No such file"):
        app.worker(health_file=str(tmp_path / "no" / "health.json")).run(handle_signals=False)


def test_nobody_is_asked_where_nobody_wants_to_know(app: Heeler):
    with app.worker() as worker:
        assert worker.wait_ready(5)
        assert worker.health_port is None
        assert not [thread for thread in threading.enumerate() if "health" in thread.name]


def test_overdue_leases_are_counted_from_their_end(app: Heeler):
    from heeler.clock import SystemClock
    from heeler.worker.faults import Faults
    from heeler.worker.lease_keeper import LeaseKeeper
    from heeler.worker.run import Run

    async def held() -> list[float]:
        broker = await app.connections.io.arun(app.connections.opened())
        subscription = await app.connections.io.arun(broker.subscribe([QueueShare("default")], 30.0))
        deliveries = await app.connections.io.arun(subscription.fetch(1))
        keeper = LeaseKeeper(
            broker,
            SystemClock(),
            Faults("w", SystemClock(), app.logger, None),
            app.logger,
            lease=30.0,
            worker_id="w",
            on_interrupt=lambda run, why: None,
            on_marked=lambda runs: None,
            ping=lambda: None,
        )
        run = Run(deliveries[0], 100.0)
        keeper.hold([run], 100.0)
        seen = [keeper.overdue(now) for now in (100.0, 130.0, 135.0)]
        run.renew_until = 131.0  # its timeout is over: nobody renews it, and nobody should
        return [*seen, keeper.overdue(135.0)]

    app.task(lambda: None, name="noop").enqueue()
    assert asyncio.run(held()) == [0.0, 0.0, 5.0, 0.0]


def test_commands_are_heard_while_health_is_told(app: Heeler):
    with app.worker(health_port=0) as worker:
        assert worker.wait_ready(5)
        app.connections.io.run(app.connections.broker.control.send(Command(kind="stop")))
        assert worker.wait(10)
