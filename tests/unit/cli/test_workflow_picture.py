"""Workflows as the terminal shows them."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from rich.console import Console

from heeler.cli.workflow_picture import draw
from heeler.workflow_outline import Outline, PartState

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
AT = NOW.timestamp()


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """The moments are shown as this machine's clock has them."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def job(name: str, state: PartState = PartState.WAITS, **more: object) -> Outline:
    return Outline(id=f"w/{name}", name=name, kind="job", state=state, total=1, **more)  # type: ignore[arg-type]


def picture(whole: Outline, width: int | None = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width or 200, highlight=False, markup=False, emoji=False)
    console.print(draw(whole, NOW, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def flow() -> Outline:
    resized = Outline(
        id="w/1",
        name="resized",
        kind="group",
        state=PartState.RUNNING,
        done=40,
        total=5000,
        started_at=AT - 5,
        after=("extract",),
        counts={"READY": 4959, "SUCCESSFUL": 39, "RUNNING": 1, "FAILED": 1},
        left_out=4998,
        parts=[
            job("resize 17", PartState.FAILED, attempts=2, started_at=AT - 4, finished_at=AT - 3, error="OSError:\nno"),
            job("resize 41", PartState.RUNNING, started_at=AT - 2, fraction=0.5, message="half"),
        ],
    )
    return Outline(
        id="w",
        name="nightly",
        kind="graph",
        state=PartState.RUNNING,
        done=41,
        total=5002,
        started_at=AT - 10,
        parts=[
            job("extract", PartState.SUCCESSFUL, attempts=1, started_at=AT - 10, finished_at=AT - 8.5),
            resized,
            job("publish", after=("resized",), when="always"),
            job("later", PartState.READY, next_at=AT + 90),
        ],
        callbacks=[job("tell", role="then"), job("sorry", role="catch")],
    )


def test_every_part_has_a_line_and_large_groups_are_counted() -> None:
    assert picture(flow()) == [
        "● nightly  graph  RUNNING",
        "  w  started 2026-03-01 12:00:20",
        "  ──────────────────────── 0 %  41 of 5,002 jobs  for 10s",
        "",
        "PART                                       STATE        STARTED      TOOK  TRIES",
        "├─ ✓ extract                               SUCCESSFUL  12:00:20      1.5s      1",
        "├─ ● resized group 40/5,000 ← extract      RUNNING     12:00:25        5s",
        "│  ├─ ✗ resize 17                          FAILED      12:00:26        1s      2",
        "│  │     OSError: no",
        "│  ├─ ● resize 41                          RUNNING     12:00:28        2s      -",
        "│  │     50% half",
        "│  └─ … of 5,000 members: 4,959 ready, 39 successful, 1 running, 1 failed",
        "├─ · publish ⇐ resized                     WAITS              -         -      -",
        "├─ ○ later                                 READY              -  in 1m30s      -",
        "├─ · then: tell                            WAITS              -         -      -",
        "└─ · catch: sorry                          WAITS              -         -      -",
    ]


def test_no_line_is_wider_than_the_terminal() -> None:
    whole = flow()
    whole.name = "a name " * 40
    whole.parts[0].name = "extract" * 30
    whole.parts[1].parts[0].error = "an error " * 40
    for width in (60, 80, 120):
        assert max(map(len, picture(whole, width))) <= width


def test_what_jobs_say_cannot_steer_the_terminal() -> None:
    whole = flow()
    whole.parts[1].parts[0].error = "\x1b[2Jgone"
    assert any("\\x1b[2Jgone" in line for line in picture(whole))


def test_a_stream_that_goes_on_has_no_end_yet() -> None:
    whole = Outline(id="w", name="group", kind="group", state=PartState.RUNNING, done=7, total=None)
    assert picture(whole)[2] == "  7 jobs done, more are being added"


def test_one_that_succeeded_is_full() -> None:
    whole = flow()
    whole.state, whole.done, whole.finished_at = PartState.SUCCESSFUL, 5002, AT
    assert picture(whole)[2] == f"  {'━' * 24} 100 %  5,002 of 5,002 jobs  took 10s"
