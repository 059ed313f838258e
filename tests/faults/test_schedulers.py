"""Each time of a schedule starts one job, with eight schedulers in processes of their own that stop and die."""

from __future__ import annotations

import itertools
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from heeler import Heeler, TaskContext
from heeler.clock import new_id
from rabbitmq_server import rabbitmq_url
from services import RedisServer, wait_until

HERE = Path(__file__).parent
PATIENCE = 60.0


class Scheduler:
    """One process; its lines are read as they come."""

    def __init__(self, **told: Any) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed at its end
        self._popen = subprocess.Popen(
            [sys.executable, str(HERE / "scheduler_process.py"), json.dumps(told)],
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.lines.put(line.strip())

    def until(self, wanted: str) -> None:
        """Read lines until this one."""
        while self.next_line() != wanted:
            pass

    def next_line(self) -> str:
        return self.lines.get(timeout=PATIENCE)

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """End it; what it said on stderr."""
        if self._popen.poll() is None:
            self.send(signal.SIGCONT)
            self.send(number)
        self._popen.wait(PATIENCE)
        self._reader.join()
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        self._said.seek(0)
        with self._said:
            return self._said.read()

    def dies(self) -> None:
        """Wait for its end by its own hand."""
        self._popen.wait(PATIENCE)


class Place:
    """Where they meet, and a worker that notes what runs."""

    def __init__(self, url: str, results: str | None = None, **options: Any) -> None:
        self.told = {"url": url, "results": results, "namespace": f"test-{new_id()}"}
        self.app = Heeler(url, results=results, namespace=self.told["namespace"], **options)
        self.ran: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.ids: list[str] = []
        self.schedulers: list[Scheduler] = []

        def tick(context: TaskContext) -> None:
            self.ran.put(context.id)

        self.tick = self.app.task(name="tick", takes_context=True)(tick)
        self.worker = self.app.worker(scheduler=False)

    def start(self, count: int = 1, **options: Any) -> list[Scheduler]:
        made = [Scheduler(**self.told, **options) for _ in range(count)]
        self.schedulers += made
        for one in made:
            one.until("ready")
        return made

    def runs(self, count: int) -> None:
        """Wait for so many more runs."""
        self.ids += [self.ran.get(timeout=PATIENCE) for _ in range(count)]

    def check(self, period: float) -> None:
        """One run for each time, from the first to the last, and none that was there already."""
        said = "".join(one.end() for one in self.schedulers)
        self.schedulers.clear()
        while True:
            try:
                self.ids.append(self.ran.get(timeout=1.0))
            except queue.Empty:
                break
        times = sorted(datetime.fromisoformat(id.partition("@")[2]).timestamp() for id in self.ids)
        assert len(set(times)) == len(times), "a time came twice"
        gaps = {round(later - earlier, 3) for earlier, later in itertools.pairwise(times)}
        assert gaps == {period}, "a time was left out"
        known = self.app.schedules.get("tick")
        assert known is not None
        assert known.runs == len(times)
        assert "there is a job" not in said
        assert "Traceback" not in said, said

    def close(self) -> None:
        for one in self.schedulers:
            one.end(signal.SIGKILL)
        self.app.close()

    def replace(self) -> None:
        """Kill the oldest scheduler and start another one."""
        self.schedulers.pop(0).end(signal.SIGKILL)
        self.schedulers.append(Scheduler(**self.told))


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    url = f"sqlite:///{tmp_path}/jobs.db" if request.param == "sqlite" else request.getfixturevalue("redis_server").url
    place = Place(url)
    yield place
    place.close()


def test_one_of_eight_is_stopped_across_its_firing_and_goes_on_ten_times_later(place: Place) -> None:
    place.app.schedules.add("tick", place.tick.s(), every=1, catch_up="all")
    [stopped] = place.start(stops_at=2)
    with place.worker:
        stopped.until("stopping")
        place.start(7)
        place.runs(1 + 10)
        stopped.send(signal.SIGCONT)
        assert stopped.next_line() == "REFUSED REFUSED", "its time was started by another one long ago"
        place.runs(3)
        place.check(1.0)


def test_schedulers_that_are_killed_lose_no_time_and_start_none_twice(place: Place) -> None:
    place.app.schedules.add("tick", place.tick.s(), every=0.25, catch_up="all")
    place.start(4)
    with place.worker:
        for _ in range(8):
            place.runs(3)
            place.replace()
        place.runs(3)
        place.check(0.25)


def test_clocks_of_schedulers_that_are_wrong_change_nothing_where_the_server_has_one(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    place = Place(redis_server.url)
    try:
        place.app.schedules.add("tick", place.tick.s(), every=0.5, catch_up="all")
        for options in ({"offset": 5.0}, {"offset": -5.0}, {"jump": 3600.0}, {"offset": -5.0, "jump": -3600.0}):
            place.start(2, **options)
        with place.worker:
            place.runs(12)
            place.check(0.5)
    finally:
        place.close()


def test_one_dies_between_moving_the_schedule_and_sending_its_job(tmp_path: Path) -> None:
    """On RabbitMQ with a store: what it has taken down is sent by another scheduler, or by a worker."""
    place = Place(rabbitmq_url(), f"sqlite:///{tmp_path}/results.db", lease=1.0)
    try:
        place.app.schedules.add("tick", place.tick.s(), every=0.5, catch_up="all")
        for one in place.start(2, dies_at=2):
            one.dies()
        place.start(2, lease=1.0)

        def all_are_sent() -> bool:
            [size] = place.app.queues.sizes(["default"])
            known = place.app.schedules.get("tick")
            return known is not None and size.waiting == known.runs

        wait_until(all_are_sent, "the jobs of all times that have been are in the queue, without a worker")
        with place.worker:
            for _ in range(3):
                place.runs(2)
                place.replace()
            place.runs(4)
            place.check(0.5)
    finally:
        place.close()
