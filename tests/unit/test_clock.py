import os
import re
import threading
import time
import uuid
from types import SimpleNamespace

import pytest

from heeler import clock
from heeler.clock import SystemClock, new_id, new_ids


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_it() -> None:
    before = time.time_ns() // 1_000_000
    text = new_id()
    after = time.time_ns() // 1_000_000
    value = uuid.UUID(text)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert before <= value.int >> 80 <= after + 1


def test_ids_of_one_process_sort_in_the_order_they_were_made() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_made_many_at_once_are_such_ids_and_sort_between_those_before_and_after() -> None:
    ids = [new_id(), *new_ids(20_000), new_id(), *new_ids(3)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 20_005
    for text in ids:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
    digits = {digit for text in ids for digit in text[19:].replace("-", "")}
    assert digits == set("0123456789abcdef")
    assert {text[19] for text in ids} == set("89ab")


def test_ids_sort_even_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_id()
    monkeypatch.setattr(clock, "time", SimpleNamespace(time_ns=lambda: 1_000_000_000))
    second, third = new_id(), new_id()
    assert first < second < third


def test_ids_made_by_many_threads_differ() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(into: list[str]) -> None:
        into.extend(new_id() for _ in range(5_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each for into in made for each in into}) == 20_000
    assert all(into == sorted(into) for into in made)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_ids_are_made_after_a_fork_while_another_thread_held_the_lock() -> None:
    reading, writing = os.pipe()
    with clock._id_lock:
        child = os.fork()
        if child == 0:  # here the lock is held by nobody who could give it back, unless it was renewed
            try:
                os.write(writing, new_id().encode())
            finally:
                os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert uuid.UUID(pipe.read()).version == 7
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_ids_of_a_forked_child_end_in_chance_of_its_own() -> None:
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, new_id().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read()[19:] != new_id()[19:]
    assert os.waitpid(child, 0)[1] == 0


async def test_the_system_clock_tells_time_waits_and_draws() -> None:
    system = SystemClock()
    assert abs(system.time() - time.time()) < 5
    before = system.monotonic()
    await system.sleep(0.01)
    assert system.monotonic() - before >= 0.009
    draws = [system.random() for _ in range(1_000)]
    assert all(0 <= draw < 1 for draw in draws)
    assert len(set(draws)) > 900
