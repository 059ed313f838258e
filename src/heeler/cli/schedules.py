"""`heeler schedules …`: what starts by itself, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from heeler.app import Heeler
from heeler.cli.completion import task_names
from heeler.cli.enqueue import choose_task, read_arguments
from heeler.cli.exit_codes import NotDone
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import result_fields, schedule_fields, workflow_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption, group
from heeler.cli.output import Column, note, print_facts, print_json, print_table, say
from heeler.schedules import Schedule
from heeler.task_result import TaskResult
from heeler.triggers import checked_zone, zone_named

__all__ = ["schedules"]

schedules = typer.Typer(
    rich_markup_mode=None,
    help="List, show, add, pause, resume, remove, trigger and preview schedules.",
    invoke_without_command=True,
    callback=group,
)

PAGE = 500  # schedules in one question to the store

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As schedules list shows it.", show_default=False)]
NamesArgument = Annotated[list[str], typer.Argument(metavar="NAME", help="One or more schedules.", show_default=False)]


@schedules.command("list")
def list_schedules(
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = 100,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show all schedules with their last and next run.

    Where the store differs from what the app's code declares, it says so: the next worker that starts settles it.
    """
    with find_app(app) as heeler:
        found = _read(heeler, limit + 1)
        shown = found[:limit]
        if json:
            print_json(schedule_fields(schedule) for schedule in shown)
        elif shown:
            print_table(
                [
                    Column("SCHEDULE", folds=True, style="bold"),
                    Column("WHEN", folds=True),
                    Column("STARTS", folds=True),
                    Column("LAST RUN"),
                    Column("OUTCOME"),
                    Column("NEXT RUN"),
                    Column("STATE"),
                ],
                [_row(schedule) for schedule in shown],
            )
        else:
            say("no schedules: declare one with @app.schedule, or heeler schedules add")
        for drift in heeler.schedules.drift():
            note(f"schedule {drift.name}: {drift}")
        if len(found) > limit:
            note(f"there are more: --limit {limit * 10} shows up to so many")


@schedules.command()
def show(name: NameArgument, app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Show one schedule with its next times."""
    with find_app(app) as heeler:
        schedule = heeler.schedules.get(_full_name(heeler, name))
        if schedule is None:
            raise NotDone(f"there is no schedule {name!r}")
        if json:
            print_json([schedule_fields(schedule)])
            return
        print_facts(_facts(heeler, schedule))


@schedules.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.", show_default=False)],
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="Its name, or a last part of it that is unique.",
            show_default=False,
            autocompletion=task_names,
        ),
    ],
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="EXPRESSION", help="'0 7 * * mon-fri', @daily, '@every 90s'.")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="An interval instead: 90s, 15m, 1h30m.")
    ] = None,
    timezone: Annotated[
        str, typer.Option("--timezone", "-z", metavar="ZONE", help="Of the expression: Europe/Berlin.")
    ] = "UTC",
    args: Annotated[
        str, typer.Option("--args", metavar="JSON", help="Positional arguments: '[\"cat.png\", 320]'.")
    ] = "[]",
    kwargs: Annotated[
        str, typer.Option("--kwargs", metavar="JSON", help="Keyword arguments: '{\"width\": 320}'.")
    ] = "{}",
    queue: Annotated[
        str | None, typer.Option("--queue", "-q", metavar="NAME", help="Instead of the task's own queue.")
    ] = None,
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap", metavar="RULE", help="If the last job goes on: allow, skip, queue_one or cancel_running."
        ),
    ] = "allow",
    catch_up: Annotated[
        str, typer.Option("--catch-up", metavar="RULE", help="For times that were missed: none, one or all.")
    ] = "one",
    start: Annotated[
        str | None, typer.Option("--start", metavar="MOMENT", help="Not before: 2026-03-01T08:00, in that zone.")
    ] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="MOMENT", help="Not after.")] = None,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Add a schedule, or change the one of that name."""
    positional, keywords = read_arguments(args, kwargs)
    options: dict[str, Any] = {"timezone": timezone, "overlap": overlap, "catch_up": catch_up}
    options |= {"cron": cron} if cron is not None else {}
    options |= {"every": every} if every is not None else {}
    options |= {"start": _moment(start, "--start", timezone), "end": _moment(end, "--end", timezone)}
    with find_app(app) as heeler:
        call = choose_task(heeler, task).using(queue_name=queue).s(*positional, **keywords)
        _tell(heeler.schedules.add(name, call, **options), json)


@schedules.command()
def pause(names: NamesArgument, app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Start nothing until the schedules are resumed."""
    with find_app(app) as heeler:
        for name in names:
            _tell(heeler.schedules.pause(_full_name(heeler, name)), json)


@schedules.command()
def resume(names: NamesArgument, app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Let paused schedules go on with their next time."""
    with find_app(app) as heeler:
        for name in names:
            _tell(heeler.schedules.resume(_full_name(heeler, name)), json)


@schedules.command()
def remove(names: NamesArgument, app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Forget schedules; jobs that they have started go on.

    One that the code declares comes back with the next worker that starts: pause it instead.
    """
    with find_app(app) as heeler:
        missing = [name for name in names if not heeler.schedules.remove(_full_name(heeler, name))]
        if json:
            print_json({"name": name, "removed": name not in missing} for name in names)
        else:
            for name in names:
                if name not in missing:
                    say(f"{name}  removed")
        if missing:
            raise NotDone(f"there is no schedule {', '.join(missing)}")


@schedules.command()
def trigger(name: NameArgument, app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Start the job or workflow of a schedule now, out of turn, and print its id."""
    with find_app(app) as heeler:
        result = heeler.schedules.trigger(_full_name(heeler, name))
        if json:
            print_json([result_fields(result) if isinstance(result, TaskResult) else workflow_fields(result)])
        else:
            say(result.id)


@schedules.command()
def preview(
    schedule: Annotated[
        str, typer.Argument(metavar="SCHEDULE", help="A name, or an expression: '0 7 * * mon-fri'.", show_default=False)
    ],
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, max=1000, help="How many times.")] = 5,
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", "-z", metavar="ZONE", help="Else that of the schedule, or UTC.", show_default=False),
    ] = None,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show the next times of a schedule or of an expression."""
    with find_app(app) as heeler:
        times = heeler.schedules.preview(_full_name(heeler, schedule), count, timezone=timezone)
        if json:
            print_json({"at": time.isoformat()} for time in times)
            return
        for time in times:
            say(_zoned(time))


def _full_name(heeler: Heeler, name: str) -> str:
    """A schedule that is called like its task may be named by a last part that is unique, as the task may be."""
    declared = heeler.schedules.declared
    endings = [full for full in declared if full.endswith(f".{name}")]
    if name in declared or len(endings) != 1 or heeler.schedules.get(name) is not None:
        return name
    return endings[0]


def _moment(text: str | None, option: str, zone: str) -> datetime | None:
    """A moment as it is typed; without an offset it is in the zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{option} takes a moment like 2026-03-01T08:00 or 2026-03-01T08:00+01:00, got {text!r}"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone_named(checked_zone(zone)))


def _read(heeler: Heeler, limit: int) -> list[Schedule]:
    found: list[Schedule] = []
    while len(found) < limit:
        page = heeler.schedules.list(min(PAGE, limit - len(found)), found[-1].name if found else None)
        if not page:
            break
        found += page
    return found


def _row(schedule: Schedule) -> list[str]:
    return [
        schedule.name,
        _when(schedule),
        schedule.starts or "-",
        _zoned(schedule.last_run),
        schedule.last_outcome or "-",
        _zoned(schedule.next_run),
        schedule.state,
    ]


def _when(schedule: Schedule) -> str:
    if schedule.problem:
        return schedule.problem
    is_interval = schedule.expression.startswith("@every")
    return schedule.description if is_interval else f"{schedule.description}, {schedule.timezone}"


def _tell(schedule: Schedule, json: bool) -> None:
    if json:
        print_json([schedule_fields(schedule)])
    else:
        run = "" if schedule.next_run is None else f", next run {_zoned(schedule.next_run)}"
        say(f"{schedule.name}  {schedule.state}: {_when(schedule)}{run}")


def _facts(heeler: Heeler, schedule: Schedule) -> list[tuple[str, str]]:
    facts = [("name", schedule.name), ("state", schedule.state)]
    if schedule.problem:
        return [*facts, ("problem", schedule.problem)]
    facts += [
        ("expression", schedule.expression),
        ("in words", _when(schedule)),
        ("starts", schedule.starts),
        ("overlap", schedule.overlap),
        (
            "catch up",
            schedule.catch_up + (f", {schedule.catch_up_limit} at most" if schedule.catch_up == "all" else ""),
        ),
        ("declared by", schedule.declared_by or "nobody: it was added at run time"),
    ]
    if schedule.start is not None:
        facts.append(("start", _zoned(schedule.start)))
    if schedule.end is not None:
        facts.append(("end", _zoned(schedule.end)))
    facts.append(("runs", f"{schedule.runs:,}"))
    if schedule.last_run is not None:
        facts.append(("last run", f"{_zoned(schedule.last_run)}  {schedule.last_outcome}  {schedule.last_id or ''}"))
    if schedule.next_run is not None:
        facts += [
            ("next run" if number == 0 else "", _zoned(time))
            for number, time in enumerate(heeler.schedules.preview(schedule.name, 5))
        ]
    facts += [("drift", str(drift)) for drift in heeler.schedules.drift() if drift.name == schedule.name]
    return facts


def _zoned(moment: datetime | None) -> str:
    """A moment in its own zone, with that zone; a dash where there is none."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S %Z}"
