"""`heeler queues …`: how full they are; pausing, resuming and emptying them."""

from __future__ import annotations

from typing import Annotated

import typer

from heeler.app import Heeler
from heeler.cli.completion import queue_names
from heeler.cli.confirm import confirm
from heeler.cli.durations import duration_text
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import queue_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption, YesOption, group
from heeler.cli.output import Column, count_text, print_facts, print_json, print_table, say
from heeler.cli.progress import followed
from heeler.contracts import QueueSize

__all__ = ["queues"]

queues = typer.Typer(
    rich_markup_mode=None, help="List, pause, resume and purge queues.", invoke_without_command=True, callback=group
)

NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME",
        help="One or more queues.",
        show_default=False,
        autocompletion=queue_names,
    ),
]


@queues.command("list")
def list_queues(app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Show how many jobs of each queue are where."""
    with find_app(app) as heeler:
        sizes = _all_sizes(heeler)
        if json:
            print_json(queue_fields(size) for size in sizes)
            return
        numbers = ("WAITING", "SCHEDULED", "RUNNING", "DEAD", "OLDEST")
        print_table(
            [
                Column("QUEUE", folds=True, style="bold"),
                *(Column(title, right=True) for title in numbers),
                Column("STATE"),
            ],
            [
                [
                    size.queue,
                    f"{size.waiting:,}",
                    f"{size.scheduled:,}",
                    f"{size.running:,}",
                    f"{size.dead:,}",
                    "-" if size.oldest is None else duration_text(size.oldest),
                    "paused" if size.paused else "open",
                ]
                for size in sizes
            ],
        )


@queues.command()
def pause(names: NamesArgument, app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Start no job of the queues until they are resumed."""
    with find_app(app) as heeler:
        for name in names:
            heeler.queues.pause(name)
        _tell(heeler, names, "paused", json)


@queues.command()
def resume(names: NamesArgument, app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Let paused queues go on."""
    with find_app(app) as heeler:
        for name in names:
            heeler.queues.resume(name)
        _tell(heeler, names, "resumed", json)


def _tell(heeler: Heeler, names: list[str], done: str, json: bool) -> None:
    if json:
        print_json(queue_fields(size) for size in heeler.queues.sizes(names))
        return
    print_facts(
        [(size.queue, f"{done}, {count_text(size.waiting, 'job')} waiting") for size in heeler.queues.sizes(names)]
    )


@queues.command()
def purge(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="One or more queues.",
            show_default=False,
            autocompletion=queue_names,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Scheduled jobs too; without a name, of every queue.", show_default=False)
    ] = False,
    yes: YesOption = False,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Drop the waiting jobs of queues; they end CANCELLED.

    With --all also the scheduled ones, and without a name those of every queue. Running jobs go on, dead letters stay.
    """
    if not names and not everything:
        raise typer.BadParameter("name the queues to purge, or give --all for every queue")
    with find_app(app) as heeler:
        sizes = heeler.queues.sizes(names or None)
        jobs = {size.queue: _purgeable(size, everything) for size in sizes}
        total = sum(jobs.values())
        what = "waiting and scheduled" if everything else "waiting"
        if total:
            confirm(f"Drop {count_text(total, f'{what} job')} of {', '.join(q for q in jobs if jobs[q])}?", yes)
        dropped = _purge(heeler, jobs, everything)
        if json:
            print_json({"queue_name": queue, "purged": count} for queue, count in dropped.items())
            return
        told = [(queue, f"{count_text(count, 'job')} dropped") for queue, count in dropped.items() if names or count]
        if told:
            print_facts(told)
        else:
            say("nothing to drop")


def _purge(heeler: Heeler, jobs: dict[str, int], scheduled: bool) -> dict[str, int]:
    """Purge each of these queues; how many jobs were dropped of each."""

    async def purge_all() -> dict[str, int]:
        return {
            queue: await heeler.queues.apurge(queue, scheduled=scheduled) if count else 0
            for queue, count in jobs.items()
        }

    def left() -> int:
        return sum(_purgeable(size, scheduled) for size in heeler.queues.sizes(list(jobs)))

    return followed(heeler.connections.io, "purging", sum(jobs.values()), purge_all(), left)


def _purgeable(size: QueueSize, scheduled: bool) -> int:
    return size.waiting + (size.scheduled if scheduled else 0)


def _all_sizes(heeler: Heeler) -> list[QueueSize]:
    """The queues that the broker knows, and those of the app that nothing was sent to yet."""
    known = heeler.queues.sizes()
    unused = sorted(set(heeler.queue_names) - {size.queue for size in known})
    return sorted([*known, *(heeler.queues.sizes(unused) if unused else [])], key=lambda size: size.queue)
