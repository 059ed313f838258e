"""`heeler events`: one line for each event."""

from heeler import Event
from heeler.cli.events import event_line
from heeler.cli.json_fields import event_fields


def said(*given: object, **fields: object) -> str:
    """The line without its time."""
    return event_line(Event(*given, **fields)).plain[len("00:00:00.000  ") :]


def test_a_job_is_named_by_task_and_id():
    job = {"queue": "default", "task": "shop.add", "id": "x", "worker": "w@vm:7"}
    assert said("job.enqueued", 1.0, **job) == "job.enqueued     shop.add x"
    assert said("job.succeeded", 1.0, attempt=1, ran=0.25, **job) == "job.succeeded    shop.add x, ran 250 ms"
    assert said("job.progress", 1.0, fraction=0.5, message="half", **job) == "job.progress     shop.add x, 50%  half"


def test_why_it_failed_and_when_it_comes_again():
    failed = Event("job.retrying", 1.0, "q", "t", "x", "w", 2, "no\nsuch file", "builtins.OSError", next_at=4.0)
    assert event_line(failed).plain.endswith("job.retrying     t x, attempt 2, due in 3 s  OSError: no such file")
    dead = Event("job.failed", 1.0, "q", "t", "x", "w", 1, "OSError: gone", "OSError")
    assert event_line(dead).plain.endswith("job.failed       t x  OSError: gone")


def test_a_worker_is_named_and_control_characters_are_spelled_out():
    assert said("worker.started", 1.0, worker="one@vm:7:abc") == "worker.started   one@vm:7:abc"
    assert said("error", 1.0, worker="w", message="\x1b[2J", error="E") == "error            w  E: \\x1b[2J"


def test_the_fields_of_json_leave_out_what_is_not_said():
    fields = event_fields(Event("job.enqueued", 1.0, "q", "t", "x"))
    assert list(fields) == ["kind", "level", "at", "queue", "task", "id"]
    assert fields["level"] == "info"
    assert fields["at"].year == 1970
