import contextlib
import os
import threading
from pathlib import Path
from typing import Self

import pytest
from sqlite_site import kill, line, start

from heeler.brokers.sqlite.writer_lock import writer_lock
from heeler.errors import BrokerUnavailable

HOLDER = """
    import sys
    from pathlib import Path
    from heeler.brokers.sqlite.writer_lock import writer_lock
    lock = writer_lock(Path(sys.argv[1]))
    for command in sys.stdin:
        if command == "take\\n":
            lock.acquire(30.0)
        else:
            lock.release()
        print(command.strip(), flush=True)
"""


class Holder:
    """Another process that takes and gives back the lock when it is told."""

    def __init__(self, path: Path) -> None:
        self.process = start(HOLDER, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        kill(self.process)

    def tell(self, command: str) -> None:
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def take(self) -> None:
        self.tell("take")
        assert line(self.process) == "take"


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    wanted = path.stat()
    for descriptor in range(1024):
        with contextlib.suppress(OSError):  # not in use
            if os.path.samestat(os.fstat(descriptor), wanted):
                return True
    return False


def test_a_thread_waits_for_another(tmp_path: Path) -> None:
    lock = writer_lock(tmp_path / "lock")
    lock.acquire(1.0)
    order: list[str] = []

    def work() -> None:
        lock.acquire(30.0)
        order.append("second")
        lock.release()

    thread = threading.Thread(target=work)
    thread.start()
    order.append("first")
    lock.release()
    thread.join()
    assert order == ["first", "second"]


def test_who_waits_too_long_is_told_who_holds_it(tmp_path: Path) -> None:
    with Holder(tmp_path / "lock") as holder:
        holder.take()
        with pytest.raises(BrokerUnavailable, match=rf"process {holder.process.pid}.*continue or end it"):
            writer_lock(tmp_path / "lock").acquire(0.01)


def test_a_wait_that_was_given_up_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = writer_lock(tmp_path / "lock")
    with Holder(tmp_path / "lock") as holder:
        holder.take()
        for _ in range(3):
            with pytest.raises(BrokerUnavailable):
                lock.acquire(0.01)
        holder.tell("give back")
        assert line(holder.process) == "give back"
        holder.take()
        holder.tell("give back")
        lock.acquire(30.0)
        lock.release()


def test_a_process_waits_until_the_other_gives_back(tmp_path: Path) -> None:
    lock = writer_lock(tmp_path / "lock")
    with Holder(tmp_path / "lock") as holder:
        lock.acquire(1.0)
        holder.tell("take")
        lock.release()
        assert line(holder.process) == "take"
        holder.tell("give back")
        lock.acquire(30.0)
        lock.release()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with Holder(tmp_path / "lock") as holder:
        holder.take()
        taken = threading.Event()

        def work() -> None:
            writer_lock(tmp_path / "lock").acquire(30.0)
            taken.set()
            writer_lock(tmp_path / "lock").release()

        thread = threading.Thread(target=work)
        thread.start()
        kill(holder.process)
        assert taken.wait(30.0)
        thread.join()


def test_a_forked_child_does_not_hold_what_its_parent_holds(tmp_path: Path) -> None:
    writer_lock(tmp_path / "lock").acquire(1.0)
    child = os.fork()
    if child == 0:
        try:
            writer_lock(tmp_path / "lock").acquire(0.01)
        except BrokerUnavailable:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    writer_lock(tmp_path / "lock").release()


def test_no_writer_starves(tmp_path: Path) -> None:
    """One that writes without a pause lets another in after each turn."""
    lock = writer_lock(tmp_path / "lock")
    turns: list[str] = []
    busy = threading.Event()

    def write_again_and_again() -> None:
        while len(turns) < 2000 and "other" not in turns:
            lock.acquire(30.0)
            turns.append("busy")
            lock.release()
            busy.set()

    thread = threading.Thread(target=write_again_and_again)
    thread.start()
    busy.wait()
    lock.acquire(30.0)
    turns.append("other")
    lock.release()
    thread.join()
    assert "other" in turns
    assert turns.count("busy") < 2000


def test_the_side_file_is_closed_when_its_last_user_has_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = writer_lock(path)
    assert writer_lock(path) is lock
    lock.let_go()
    assert is_open(path)
    lock.acquire(1.0)
    lock.release()
    lock.let_go()
    assert not is_open(path)
    with pytest.raises(BrokerUnavailable, match="open the database again"):
        lock.acquire(1.0)
    again = writer_lock(path)
    again.acquire(1.0)
    again.release()
    again.let_go()
    assert not is_open(path)


def test_the_thread_that_has_waited_ends_with_its_lock(tmp_path: Path) -> None:
    lock = writer_lock(tmp_path / "lock")
    with Holder(tmp_path / "lock") as holder:
        holder.take()
        with pytest.raises(BrokerUnavailable):
            lock.acquire(0.01)
        thread = lock._waiter._thread
        assert thread is not None
        assert thread.is_alive()
    lock.acquire(30.0)
    lock.release()
    lock.let_go()
    thread.join(30.0)
    assert not thread.is_alive()


def test_a_lock_that_a_thread_still_waits_for_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = writer_lock(path)
    with Holder(path) as holder:
        holder.take()
        with pytest.raises(BrokerUnavailable):
            lock.acquire(0.01)  # its waiter thread is in the kernel now
        lock.let_go()
        assert is_open(path)
        assert writer_lock(path) is lock
    lock.acquire(30.0)
    lock.release()
    lock.let_go()
    assert not is_open(path)
