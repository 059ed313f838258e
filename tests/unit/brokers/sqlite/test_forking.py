"""A fork waits until nobody is inside, shuts what is open, and lets everybody go on."""

import os
import threading
import time
from pathlib import Path

import pytest
from sqlite_site import envelope, make

from heeler.brokers.sqlite import forking
from heeler.brokers.sqlite.forking import Gated
from heeler.errors import BrokerUnavailable
from heeler.model import Publication


class Door(Gated):
    def __init__(self) -> None:
        super().__init__()
        self.shut_times = 0

    def shut(self) -> None:
        self.shut_times += 1


def fork() -> int:
    """Fork a child that is inside and out once; its exit code."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            door = Door()
            door.enter()
            door.leave()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_waits_for_the_thread_that_is_inside() -> None:
    door, inside, order = Door(), threading.Event(), []

    def stay() -> None:
        door.enter()
        inside.set()
        threading.Event().wait(0.2)  # longer than a fork would take that does not wait
        order.append("left")
        door.leave()

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait()
    assert fork() == 0
    order.append("forked")
    thread.join()
    assert order == ["left", "forked"]
    assert door.shut_times == 1


def test_busy_threads_let_a_fork_pass() -> None:
    doors, done = [Door(), Door()], threading.Event()

    def go_in_and_out(door: Door) -> None:
        while not done.is_set():
            door.enter()
            done.wait(0.001)
            door.leave()

    threads = [threading.Thread(target=go_in_and_out, args=(door,)) for door in doors]
    for thread in threads:
        thread.start()
    codes = [fork() for _ in range(20)]
    done.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 20
    assert [door.shut_times for door in doors] == [20, 20]


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_a_fork_gives_way_to_who_is_inside_and_wants_another_gate(first: int, second: int) -> None:
    doors, inside = [Door(), Door()], threading.Event()

    def cross() -> None:
        doors[first].enter()
        inside.set()
        while not forking._is_wanted:
            time.sleep(0.001)
        doors[second].enter()
        doors[second].leave()
        doors[first].leave()

    thread = threading.Thread(target=cross)
    thread.start()
    inside.wait()
    assert fork() == 0
    thread.join()


def test_two_threads_may_fork_at_once() -> None:
    Door()
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(fork())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 4


def test_a_connection_is_opened_anew_on_both_sides(tmp_path: Path) -> None:
    connection = make(tmp_path / "jobs.db")._database.connect(durable=True)
    connection.migrate()
    with connection.used() as raw:
        before = raw
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = 0 if connection._raw is None else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert connection._raw is None
    with connection.step() as step:
        step.queue("q")
    with connection.used() as raw:
        assert raw is not before
    connection.close()


def test_a_fork_within_a_step_undoes_it_and_does_not_hang(tmp_path: Path) -> None:
    """As where a signal handler forks."""
    broker = make(tmp_path / "jobs.db")
    connection = broker._database.connect(durable=True)
    connection.migrate()
    codes = []

    def fork_within() -> None:
        with connection.step() as step:
            step.queue("q")
            codes.append(fork())

    with pytest.raises(BrokerUnavailable):
        fork_within()
    assert codes == [0]
    with connection.step() as step:
        assert step.run("all_queues").fetchall() == []
    broker.publish_blocking(Publication(envelopes=(envelope(),)))
    connection.close()


def test_a_closed_connection_stays_closed(tmp_path: Path) -> None:
    connection = make(tmp_path / "jobs.db")._database.connect(durable=True)
    connection.close()
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match="is closed"):
            connection.step().__enter__()
        assert fork() == 0
