"""Reports made of what a record keeps: the steps that nobody was there to see pushed."""

import pytest

from heeler.model import Envelope, ErrorRecord, ResultRecord, TaskStatus
from heeler.report import Report, moment, report_of_record, steps_between

ENVELOPE = Envelope(id="1", task="t", queue="q", body=b"", content_type="x")
SENT = Report("sent", moment(0.0))


def record(**fields: object) -> ResultRecord:
    return ResultRecord(envelope=ENVELOPE, **fields)  # type: ignore[arg-type]


def failed(attempt: int) -> ErrorRecord:
    return ErrorRecord("ValueError", "no", attempt=attempt, at=10.0 * attempt + 5)


@pytest.mark.parametrize(
    ("known", "kinds"),
    [
        (record(), []),
        (record(status=TaskStatus.CANCELLED, finished_at=9.0), []),
        (
            record(status=TaskStatus.SUCCESSFUL, attempts=1, started_at=10.0, last_attempted_at=10.0, finished_at=11.0),
            [("running", 1, 10.0)],
        ),
        (
            record(
                status=TaskStatus.SUCCESSFUL,
                attempts=3,
                started_at=10.0,
                last_attempted_at=30.0,
                finished_at=31.0,
                errors=(failed(1), failed(2)),
            ),
            [("running", 1, 10.0), ("retrying", 1, 15.0), ("retrying", 2, 25.0), ("running", 3, 30.0)],
        ),
        (
            record(
                status=TaskStatus.FAILED,
                attempts=1,
                started_at=10.0,
                last_attempted_at=10.0,
                finished_at=15.0,
                errors=(failed(1),),
            ),
            [("running", 1, 10.0)],
        ),
    ],
)
def test_a_record_tells_of_the_steps_before_its_state(known: ResultRecord, kinds: list[tuple[str, int, float]]) -> None:
    current = report_of_record(known) or SENT
    steps = list(steps_between(SENT, current, known))

    assert [(step.kind, step.attempt, step.at.timestamp()) for step in steps] == kinds


def test_what_was_told_is_not_told_again() -> None:
    known = record(
        status=TaskStatus.SUCCESSFUL, attempts=2, started_at=10.0, last_attempted_at=20.0, errors=(failed(1),)
    )
    told = Report("retrying", moment(15.0), 1)
    current = report_of_record(known)
    assert current is not None

    assert [step.kind for step in steps_between(told, current, known)] == ["running"]
