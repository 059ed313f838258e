"""`heeler workers`: what its tables say."""

from heeler.cli.output import size_text
from heeler.cli.workers import job_rows, progress_text, worker_rows
from heeler.model import RunningJob, WorkerPresence


def presence(**fields: object) -> WorkerPresence:
    given: dict[str, object] = {
        "id": "shop@vm:7:abc",
        "name": "shop",
        "host": "vm",
        "pid": 7,
        "queues": ("default", "images"),
        "tasks": (),
        "version": "0.1.0",
        "started_at": 1000.0,
    }
    return WorkerPresence(**{**given, **fields})


def test_a_worker_is_one_row():
    worker = presence(concurrency=20, running=3, rate=1234.4, memory=48_100_000)
    assert worker_rows([worker], 4600.0) == [
        ["shop", "vm", "7", "running", "3/20", "1,234/s", "48 MB", "1h", "0.1.0", "default, images"]
    ]
    assert worker_rows([presence(rate=0.25)], 1000.0)[0][4:8] == ["0/0", "0.2/s", "-", "0.0ms"]


def test_jobs_that_a_worker_has_not_named_are_counted():
    job = RunningJob(id="x", task="shop.add", queue="default", age=75.0, fraction=0.4, message="resizing")
    assert job_rows([presence(running=3, jobs=(job,)), presence()]) == [
        ["x", "shop.add", "shop", "1 min 15 s", "40% resizing"],
        ["… and 2 more", "", "shop", "", ""],
    ]


def test_progress_is_a_fraction_words_both_or_a_dash():
    def said(**fields: object) -> str:
        return progress_text(RunningJob(id="x", task="t", queue="q", **fields))

    assert [said(), said(fraction=1.0), said(message="half")] == ["-", "100%", "half"]


def test_sizes_have_the_largest_unit_that_fits():
    sizes = [0, 999, 1000, 48_100_000, 999_499_999, 999_600_000, 1_200_000_000, 5 * 10**15]
    assert list(map(size_text, sizes)) == ["0 B", "999 B", "1 kB", "48 MB", "999 MB", "1.0 GB", "1.2 GB", "5000 TB"]
