"""`heeler top`: the rates it works out, and that its picture fits the terminal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console

from heeler.cli.top_figures import QueueFigures, QueueRates
from heeler.cli.top_screen import Picture, draw
from heeler.contracts import QueueSize
from heeler.model import RunningJob, WorkerPresence

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def worker(name: str = "one", **fields: object) -> WorkerPresence:
    given: dict[str, object] = {
        "id": f"{name}@vm:7",
        "name": name,
        "host": "vm",
        "pid": 7,
        "queues": ("a",),
        "tasks": (),
        "version": "0.1.0",
        "started_at": 1000.0,
        "at": 1075.0,
        "concurrency": 20,
    }
    return WorkerPresence(**{**given, **fields})


def lines_of(picture: Picture, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(draw(picture, width, height))
    return captured.get().splitlines()


def rates(*looks: tuple[float, list[QueueSize], list[WorkerPresence]]) -> list[tuple[str, object, object]]:
    known = QueueRates()
    figures: list[QueueFigures] = []
    for look in looks:
        figures = known.figures(*look)
    return [(one.size.queue, one.rate_in, one.rate_out) for one in figures]


def test_one_look_has_no_rates() -> None:
    assert rates((0.0, [QueueSize(queue="a", waiting=3)], [])) == [("a", None, None)]


def test_what_came_in_follows_from_what_left_and_how_the_queue_has_grown() -> None:
    first = (0.0, [QueueSize(queue="a", waiting=10)], [worker(done={"a": 5}), worker("two", done={"a": 1})])
    then = (2.0, [QueueSize(queue="a", waiting=4, running=2)], [worker(done={"a": 25}), worker("two", done={"a": 1})])
    assert rates(first, then) == [("a", 8.0, 10.0)]


def test_a_worker_that_begins_anew_is_counted_from_zero_and_a_purge_is_no_negative_rate() -> None:
    first = (0.0, [QueueSize(queue="a", waiting=100)], [worker(done={"a": 50})])
    then = (2.0, [QueueSize(queue="a")], [worker(done={"a": 4}), worker("new", done={"a": 7})])
    assert rates(first, then) == [("a", 0.0, 2.0)]


def test_rates_are_of_the_last_ten_seconds() -> None:
    known = QueueRates()
    for second in range(30):
        done = 100 * min(second, 10)
        [figures] = known.figures(float(second), [QueueSize(queue="a")], [worker(done={"a": done})])
    assert figures.rate_out == 0.0


def test_busy_queues_come_first() -> None:
    sizes = [QueueSize(queue="a"), QueueSize(queue="b", waiting=1), QueueSize(queue="c", dead=4)]
    assert [name for name, _, _ in rates((0.0, sizes, []))] == ["b", "a", "c"]


def full_picture(queues: int = 30, workers: int = 30, jobs: int = 20) -> Picture:
    running = tuple(
        RunningJob(
            id=f"01a2017a-61d0-7ac7-89b3-793ff6f5ca{number:02}",
            task=f"a.very.long.package.of.tasks.number_{number}",
            queue="a-queue-with-a-long-name",
            age=3600.0 + number,
            attempt=1 + number % 2,
            fraction=number / 20,
            message="a long message of what the job does just now\nin two lines",
        )
        for number in range(jobs)
    )
    return Picture(
        "redis://:***@a.very.long.host.name.example.org:6379/15?wait_replicas=1&publish_timeout=20s",
        NOON,
        [
            QueueFigures(
                QueueSize(queue=f"queue-{n}-of-a-long-name", waiting=1_234_567, oldest=86400.0 * 3), 12345.6, 9.9
            )
            for n in range(queues)
        ],
        [worker(f"worker-{n}-with-a-long-name", jobs=running, running=25, memory=1 << 31) for n in range(workers)],
    )


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 50), (100, 30), (132, 43), (200, 60)])
@pytest.mark.parametrize(
    "picture",
    [full_picture(), full_picture(2, 1, 0), full_picture(1, 40), full_picture(40, 1, 2), Picture("memory://", NOON)],
    ids=["full", "small", "workers", "queues", "empty"],
)
def test_the_picture_fits_the_terminal(picture: Picture, width: int, height: int) -> None:
    lines = lines_of(picture, width, height)
    assert len(lines) <= height
    assert max(len(line.rstrip()) for line in lines) <= width
    titles = [line.split()[0] for line in lines if line and line.split()[0] in ("QUEUE", "WORKER", "RUNNING")]
    assert titles == ["QUEUE", "WORKER", "RUNNING"]


def test_everything_is_said_of_queues_workers_and_jobs() -> None:
    job = RunningJob(id="x", task="shop.count", queue="a", age=75.0, fraction=0.5, message="at 5 of 10", attempt=2)
    picture = Picture(
        "sqlite:///jobs.db",
        NOON,
        [
            QueueFigures(QueueSize(queue="a", waiting=1200, scheduled=3, running=2, dead=4, oldest=5.0), 12.3, 0.5),
            QueueFigures(QueueSize(queue="b", paused=True)),
        ],
        [worker(jobs=(job,), running=2, rate=0.5, memory=53_000_000, state="quiet")],
    )
    text = "\n".join(line.rstrip() for line in lines_of(picture))
    assert text.splitlines()[0].split() == ["heeler", "top", "sqlite:///jobs.db", "12:00:00", "q", "quits"]
    assert text.splitlines()[1] == "waiting 1,200   running 2/20   scheduled 3   dead 4   in 12   out 0.5"
    for row in (
        "a 1,200 2 3 4 12 0.5 5s",
        "b paused 0 0 0 0 - - -",
        "one vm 7 quiet 2/20 0.5 53 MB 1m15s",
        "shop.count #2 a one 1m15s ━━━━━───── 50% at 5 of 10",
        "… and 1 more",
    ):
        assert row.split() in [line.split() for line in text.splitlines()], row


def test_a_wide_terminal_shows_the_ids_of_jobs() -> None:
    job = RunningJob(id="01a2017a-61d0-7ac7-89b3-793ff6f5ca3f", task="shop.count", queue="a")
    picture = Picture("memory://", NOON, [], [worker(jobs=(job,), running=1)])
    assert job.id in "\n".join(lines_of(picture, 132, 24))
    assert job.id not in "\n".join(lines_of(picture, 80, 24))


def test_a_fault_is_said_and_what_was_known_stays() -> None:
    picture = Picture(
        "memory://", NOON, [QueueFigures(QueueSize(queue="a", waiting=7))], fault="the broker is \x1b[2J away"
    )
    lines = lines_of(picture)
    assert lines[1] == "the broker is \\x1b[2J away"
    assert lines[4].split()[:2] == ["a", "7"]
