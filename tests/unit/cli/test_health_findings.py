"""What `heeler health` makes of a file and of what workers announce."""

import json
import os
from pathlib import Path

import msgspec

from heeler.cli.health import judge_file, judge_presences
from heeler.model import WorkerPresence
from heeler.worker.health_door import HealthReport
from heeler.worker.vitals import WorkerHealth

WELL = WorkerHealth(name="night", pid=7, state="running", live=True, ready=True)


def written(folder: Path, *workers: WorkerHealth, at: float) -> Path:
    file = folder / "health.json"
    file.write_bytes(msgspec.json.encode(HealthReport.of(list(workers))))
    os.utime(file, (at, at))
    return file


def test_a_young_file_is_believed(tmp_path: Path) -> None:
    report = judge_file(written(tmp_path, WELL, at=1000.0), 30.0, 1020.0)
    assert (report.live, report.ready, report.workers) == (True, True, (WELL,))


def test_an_old_file_means_that_nobody_writes_it_any_more(tmp_path: Path) -> None:
    report = judge_file(written(tmp_path, WELL, at=1000.0), 30.0, 1040.0)
    assert not report.live
    assert report.workers[0].reasons[0].startswith("it was written 40 s ago: the worker is gone")


def test_what_a_file_says_of_a_worker_that_is_not_well_counts_at_any_age(tmp_path: Path) -> None:
    ill = msgspec.structs.replace(WELL, live=False, ready=False, reasons=("its task loop is silent",))
    assert judge_file(written(tmp_path, ill, WELL, at=1000.0), 30.0, 9000.0).workers == (ill, WELL)


def test_a_missing_or_foreign_file_is_no_life(tmp_path: Path) -> None:
    assert "no worker has written it" in judge_file(tmp_path / "none", 30.0, 0.0).workers[0].reasons[0]
    (tmp_path / "other").write_text(json.dumps([1]))
    assert "it is no health file" in judge_file(tmp_path / "other", 1e12, 0.0).workers[0].reasons[0]


def test_no_worker_at_all_is_not_ready() -> None:
    assert HealthReport.of([]) == HealthReport(live=True, ready=False, workers=())


def test_who_does_not_answer_is_not_live_and_who_is_quiet_is_not_ready() -> None:
    worker = WorkerPresence(
        id="a", name="a", host="h", pid=1, queues=(), tasks=(), version="1", started_at=0.0, state="quiet", running=3
    )
    report = judge_presences([(worker, True), (worker, False)])
    assert [(told.live, told.ready, told.running) for told in report.workers] == [(True, False, 3), (False, False, 3)]
    assert report.workers[1].reasons == ("it does not answer", "it is quiet")
