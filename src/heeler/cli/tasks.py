"""`heeler tasks`: what the app can run, and with which options."""

from __future__ import annotations

from heeler.cli.durations import duration_text
from heeler.cli.find_app import find_app
from heeler.cli.json_fields import task_fields
from heeler.cli.options import AppOption, DebugOption, JsonOption
from heeler.cli.output import Column, print_json, print_table, say
from heeler.model import Retry
from heeler.task_spec import TaskOptions

__all__ = ["options_text", "tasks"]


def tasks(app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the tasks of the app with their signatures."""
    with find_app(app) as heeler:
        known = [heeler.tasks[name] for name in sorted(heeler.tasks)]
        if json:
            print_json(task_fields(task) for task in known)
        elif known:
            print_table(
                [
                    Column("TASK", folds=True, style="bold"),
                    Column("SIGNATURE", folds=True),
                    Column("QUEUE"),
                    Column("OPTIONS", folds=True),
                ],
                [
                    [
                        task.name,
                        task.spec.parameters.signature_text if task.spec.parameters is not None else "declared only",
                        task.options.queue_name,
                        options_text(task.options),
                    ]
                    for task in known
                ],
            )
        else:
            say("no tasks: decorate a function with @app.task, or name the module that does in Heeler(imports=[…])")


def options_text(options: TaskOptions) -> str:
    """The options that differ from what a task has by itself."""
    said: list[str] = []
    if options.priority:
        said.append(f"priority {options.priority}")
    if options.retry != Retry():
        said.append(_retry_text(options.retry))
    if options.timeout is not None:
        said.append(f"timeout {duration_text(options.timeout)}")
    if options.soft_timeout is not None:
        said.append(f"soft timeout {duration_text(options.soft_timeout)}")
    if options.executor != "thread":
        said.append(options.executor if isinstance(options.executor, str) else type(options.executor).__name__)
    if options.concurrency is not None:
        said.append(f"{options.concurrency} at a time")
    if options.ignore_result:
        said.append("no result")
    if options.max_crashes == 0:
        said.append("at most once")
    return ", ".join(said)


def _retry_text(retry: Retry) -> str:
    return "tries for ever" if retry.max_attempts is None else f"{retry.max_attempts} attempts"
