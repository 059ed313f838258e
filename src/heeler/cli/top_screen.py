"""The picture that `heeler top` draws: as many lines and columns as the terminal has, from 80 × 24 on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from heeler.cli.durations import brief_duration
from heeler.cli.output import size_text, visible
from heeler.cli.top_figures import QueueFigures
from heeler.model import RunningJob, WorkerPresence

__all__ = ["Picture", "draw"]

T = TypeVar("T")

FIXED_LINES = 8  # two of the head, three headings, three empty ones
FEWEST_ROWS = 3  # of each table, however low the terminal
IDS_FROM = 124  # columns from which on there is room for the ids of jobs
BAR = 10
_STATE_STYLES = {"quiet": "yellow", "stopping": "yellow", "starting": "dim"}


@dataclass(frozen=True, slots=True)
class Picture:
    """What there is to draw. `fault`: why it could not be looked at just now; the rest is from before, then."""

    shown_url: str
    at: datetime
    queues: Sequence[QueueFigures] = ()
    workers: Sequence[WorkerPresence] = ()
    fault: str = ""
    keys: str = "q quits"
    jobs: list[tuple[WorkerPresence, RunningJob]] = field(init=False)

    def __post_init__(self) -> None:
        running = [(worker, job) for worker in self.workers for job in worker.jobs]
        object.__setattr__(self, "jobs", sorted(running, key=lambda one: -one[1].age))


def draw(picture: Picture, width: int, height: int) -> RenderableType:
    """The lines for a terminal of this size."""
    wanted = [max(1, len(picture.queues)), max(1, len(picture.workers)), max(1, _running(picture))]
    rows = _share(max(height - FIXED_LINES, 3 * FEWEST_ROWS), wanted)
    return Group(
        _head(picture, width),
        _summary(picture, width),
        Text(),
        _queues(picture.queues, rows[0]),
        Text(),
        _workers(picture.workers, rows[1]),
        Text(),
        _jobs(picture, rows[2], width),
    )


def _share(lines: int, wanted: Sequence[int]) -> list[int]:
    """How many lines each gets: what it wants, if there are enough; else the one that has most gives one away."""
    shares = list(wanted)
    while sum(shares) > lines and max(shares) > 1:
        shares[shares.index(max(shares))] -= 1
    return shares


def _running(picture: Picture) -> int:
    """How many rows the running jobs would take: one more where workers have not named all."""
    return len(picture.jobs) + (_unnamed(picture) > 0)


def _unnamed(picture: Picture) -> int:
    return sum(max(0, worker.running - len(worker.jobs)) for worker in picture.workers)


def _head(picture: Picture, width: int) -> Text:
    left = Text("heeler top  ", style="bold")
    left.append(visible(picture.shown_url), style="")
    right = Text(f"{picture.at:%H:%M:%S}", style="dim")
    if picture.keys:
        right.append(f"  {picture.keys}")
    left.truncate(max(0, width - right.cell_len - 2), overflow="ellipsis")
    return Text.assemble(left, " " * max(2, width - left.cell_len - right.cell_len), right)


def _summary(picture: Picture, width: int) -> Text:
    if picture.fault:
        return _cut(Text(visible(picture.fault), style="bold red"), width)
    sizes = [known.size for known in picture.queues]
    running, most = sum(worker.running for worker in picture.workers), sum(w.concurrency for w in picture.workers)
    parts = [
        f"waiting {sum(size.waiting for size in sizes):,}",
        f"running {running:,}/{most:,}",
        f"scheduled {sum(size.scheduled for size in sizes):,}",
        f"dead {sum(size.dead for size in sizes):,}",
        f"in {_rate(_sum([known.rate_in for known in picture.queues]))}",
        f"out {_rate(_sum([known.rate_out for known in picture.queues]))}",
    ]
    return _cut(Text("   ".join(parts)), width)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _table(*columns: tuple[str, str, int | None]) -> Table:
    """A table without lines; of each column its title, "left" or "right", and how wide it is (None: what is left)."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), expand=True, header_style="bold reverse")
    for title, justify, width in columns:
        table.add_column(
            Text(title),
            justify="right" if justify == "right" else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=width,
            ratio=None if width else 1,
        )
    return table


def _queues(queues: Sequence[QueueFigures], rows: int) -> RenderableType:
    table = _table(
        ("QUEUE", "left", None),
        ("WAITING", "right", 9),
        ("RUNNING", "right", 7),
        ("SCHEDULED", "right", 9),
        ("DEAD", "right", 6),
        ("IN/S", "right", 7),
        ("OUT/S", "right", 7),
        ("OLDEST", "right", 7),
    )
    shown, more = _shown(queues, rows)
    for known in shown:
        size = known.size
        name = Text(visible(size.queue))
        if size.paused:
            name.append(" paused", style="yellow")
        table.add_row(
            name,
            f"{size.waiting:,}",
            f"{size.running:,}",
            f"{size.scheduled:,}",
            Text(f"{size.dead:,}", style="red" if size.dead else ""),
            _rate(known.rate_in),
            _rate(known.rate_out),
            "-" if size.oldest is None else brief_duration(size.oldest),
        )
    return _with_note(table, more, "" if queues else "no queue holds anything yet")


def _workers(workers: Sequence[WorkerPresence], rows: int) -> RenderableType:
    table = _table(
        ("WORKER", "left", None),
        ("HOST", "left", 14),
        ("PID", "right", 7),
        ("STATE", "left", 8),
        ("JOBS", "right", 7),
        ("OUT/S", "right", 7),
        ("MEMORY", "right", 7),
        ("UP", "right", 7),
    )
    ordered = sorted(workers, key=lambda worker: (worker.name, worker.host, worker.pid))
    shown, more = _shown(ordered, rows)
    for worker in shown:
        table.add_row(
            Text(visible(worker.name)),
            Text(visible(worker.host)),
            str(worker.pid),
            Text(worker.state, style=_STATE_STYLES.get(worker.state, "")),
            f"{worker.running}/{worker.concurrency}",
            _rate(worker.rate),
            size_text(worker.memory) if worker.memory else "-",
            brief_duration(max(0.0, worker.at - worker.started_at)),
        )
    return _with_note(table, more, "" if workers else "no worker is live")


def _jobs(picture: Picture, rows: int, width: int) -> RenderableType:
    with_ids = width >= IDS_FROM
    ids: list[tuple[str, str, int | None]] = [("ID", "left", 36)] if with_ids else []
    table = _table(
        ("RUNNING", "left", None), *ids, ("QUEUE", "left", 10), ("WORKER", "left", 10), ("AGE", "right", 7),
        ("PROGRESS", "left", max(28, width // 4)),
    )  # fmt: skip
    unnamed = _unnamed(picture)
    shown, cut_off = _shown(picture.jobs, rows, also=1 if unnamed else 0)
    for worker, job in shown:
        cells = [Text(visible(job.task)), Text(visible(job.queue)), Text(visible(worker.name))]
        if with_ids:
            cells.insert(1, Text(visible(job.id), style="dim"))
        if job.attempt > 1:
            cells[0].append(f" #{job.attempt}", style="yellow")
        table.add_row(*cells, brief_duration(job.age), _progress(job))
    return _with_note(table, cut_off + unnamed, "" if picture.jobs or unnamed else "nothing runs")


def _with_note(table: Table, more: int, nothing: str) -> RenderableType:
    """The table, and below it what is left out or why it is empty."""
    if more:
        return Group(table, Text(f"… and {more:,} more", style="dim"))
    return Group(table, Text(nothing, style="dim")) if nothing else table


def _shown(rows: Sequence[T], most: int, also: int = 0) -> tuple[Sequence[T], int]:
    """Those for which there are lines, and how many are left out; then a line less, to say so."""
    if len(rows) + also <= most:
        return rows, 0
    return rows[: max(0, most - 1)], len(rows) - max(0, most - 1)


def _progress(job: RunningJob) -> Text:
    """A bar, the percentage, and what the job says."""
    text = Text()
    if job.fraction is not None:
        done = round(min(1.0, max(0.0, job.fraction)) * BAR)
        text.append("━" * done, style="cyan").append("─" * (BAR - done), style="bright_black")
        text.append(f" {job.fraction:.0%} ")
    if job.message:
        text.append(visible(" ".join(job.message.split())))
    return text


def _rate(rate: float | None) -> str:
    if rate is None:
        return "-"
    return f"{rate:,.0f}" if rate >= 9.95 else f"{rate:.1f}"


def _sum(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
