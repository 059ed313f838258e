"""`heeler dead …`: the jobs that were given up."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from heeler.app import Heeler
from heeler.cli.completion import queue_names, task_names
from heeler.cli.confirm import confirm
from heeler.cli.exit_codes import NotDone
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import dead_letter_fields
from heeler.cli.options import AllOption, AppOption, DebugOption, JsonOption, YesOption, group
from heeler.cli.output import Column, ago, count_text, local_time, note, print_facts, print_json, print_table, say
from heeler.cli.progress import followed
from heeler.cli.result import arguments_text
from heeler.cli.task_name import full_name
from heeler.errors import ConfigurationError, ResultNotFound
from heeler.model import DeadLetter

__all__ = ["dead"]

dead = typer.Typer(
    rich_markup_mode=None,
    help="List, show, redrive and purge dead letters.",
    invoke_without_command=True,
    callback=group,
)

ID_WIDTH = 36  # of a UUID, which is to stay in one piece
PAGE = 500  # dead letters in one question to the broker

IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="One or more dead letters.", show_default=False)
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task", "-t", metavar="NAME", help="Those of this task.", show_default=False, autocompletion=task_names
    ),
]
QueueOption = Annotated[
    str | None,
    typer.Option(
        "--queue", "-q", metavar="NAME", help="Those of this queue.", show_default=False, autocompletion=queue_names
    ),
]


@dead.command("list")
def list_dead(
    queue: QueueOption = None,
    task: TaskOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = 50,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show the dead letters, newest first."""
    with find_app(app) as heeler:
        letters = _read(heeler, queue, full_name(heeler, task), limit + 1)
        shown = letters[:limit]
        if json:
            print_json(dead_letter_fields(letter) for letter in shown)
        elif shown:
            now = time.time()
            print_table(
                [Column("ID, TASK", folds=True, width=ID_WIDTH), Column("DIED"), Column("REASON", folds=True)],
                [[f"{letter.id}\n{letter.task or '-'}", ago(now - letter.died_at), letter.reason] for letter in shown],
            )
        else:
            say("no dead letters")
        if len(letters) > limit:
            note(f"there are more: --limit {limit * 10} shows up to so many")


@dead.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="As dead list shows it.", show_default=False)],
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show one dead letter with the traceback of every attempt."""
    with find_app(app) as heeler:
        letter = heeler.dead_letters.show(id)
        if letter is None:
            raise NotDone(f"there is no dead letter {id}")
        if json:
            print_json([dead_letter_fields(letter)])
            return
        print_facts(_facts(heeler, letter))
        for error in letter.errors:
            say("")
            say(f"attempt {error.attempt}, {local_time(error.at)}", style="bold")
            say(error.traceback.rstrip() or error.line)


@dead.command()
def redrive(
    ids: IdsArgument = None,
    everything: AllOption = False,
    task: TaskOption = None,
    queue: QueueOption = None,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Put dead letters back on their queues, counters at zero."""
    _check_choice(ids, everything, task, queue)
    with find_app(app) as heeler:
        work = heeler.dead_letters.aredrive(ids or None, queue=queue, task=full_name(heeler, task))
        done = _followed(heeler, "redriving", everything, work)
        _tell("redriven", done, ids, json)


@dead.command()
def purge(
    ids: IdsArgument = None,
    everything: AllOption = False,
    task: TaskOption = None,
    queue: QueueOption = None,
    yes: YesOption = False,
    app: AppOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Drop dead letters for good."""
    _check_choice(ids, everything, task, queue)
    with find_app(app) as heeler:
        name = full_name(heeler, task)
        if not ids and _read(heeler, queue, name, 1):
            which = [f" of task {name}" if name else "", f" of queue {queue}" if queue else ""]
            confirm(f"Drop all dead letters{''.join(which)} for good?", yes)
        work = heeler.dead_letters.apurge(ids or None, queue=queue, task=name)
        done = _followed(heeler, "purging", everything, work)
        _tell("purged", done, ids, json)


def _check_choice(ids: list[str] | None, everything: bool, task: str | None, queue: str | None) -> None:
    chosen = bool(task or queue)
    if not (ids or everything or chosen):
        raise typer.BadParameter("which dead letters? Give ids, --task, --queue or --all")
    if ids and (everything or chosen):
        raise typer.BadParameter("give either ids, or --task, --queue or --all")


def _followed(heeler: Heeler, what: str, everything: bool, work: Coroutine[Any, Any, int]) -> int:
    def left() -> int:
        return sum(size.dead for size in heeler.queues.sizes())

    return followed(heeler.connections.io, what, left() if everything else None, work, left)


def _tell(done_word: str, done: int, ids: list[str] | None, json: bool) -> None:
    if json:
        print_json([{done_word: done}])
    else:
        say(f"{count_text(done, 'dead letter')} {done_word}")
    if ids and done < len(set(ids)):
        raise NotDone(f"{len(set(ids)) - done} of {len(set(ids))} were not there, or are bytes that are no job")


def _read(heeler: Heeler, queue: str | None, task: str | None, limit: int) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    while len(letters) < limit:
        after = letters[-1].id if letters else None
        page = heeler.dead_letters.list(queue, task, min(PAGE, limit - len(letters)), after)
        if not page:
            break
        letters.extend(page)
    return letters


def _facts(heeler: Heeler, letter: DeadLetter) -> list[tuple[str, str]]:
    facts = [
        ("id", letter.id),
        ("task", letter.task or "-"),
        ("queue", letter.queue),
        ("reason", letter.reason),
        ("died", local_time(letter.died_at)),
        ("attempts", str(letter.attempts)),
    ]
    if letter.crashes:
        facts.append(("crashes", str(letter.crashes)))
    if letter.raw:
        facts.append(("bytes", repr(letter.raw[:200]) + (" …" if len(letter.raw) > 200 else "")))
    try:
        facts.append(("arguments", arguments_text(heeler.get_result(letter.id))))
    except (ResultNotFound, ConfigurationError):
        facts.append(("arguments", "not readable any more: the job's record is gone"))
    return facts
