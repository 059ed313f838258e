"""What the shell completes besides commands and options: names of tasks, queues and live workers of the app."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterable

import typer

from heeler.app import Heeler
from heeler.cli.find_app import find_app

__all__ = ["queue_names", "task_names", "worker_names"]

PATIENCE = 1.0  # the broker is asked while somebody waits at a prompt


def task_names(context: typer.Context, incomplete: str) -> list[str]:
    """The app's tasks, also by their last part where that is unique, as commands take them."""
    return _complete(context, incomplete, lambda app: [*app.tasks, *_unique_endings(app.tasks)])


def queue_names(context: typer.Context, incomplete: str) -> list[str]:
    """The queues that the app names."""
    return _complete(context, incomplete, lambda app: app.queue_names)


def worker_names(context: typer.Context, incomplete: str) -> list[str]:
    """The workers that are live now."""
    return _complete(context, incomplete, _live)


def _live(app: Heeler) -> list[str]:
    return [worker.name for worker in app.connections.io.run(app.alive_workers(0), timeout=PATIENCE)]


def _unique_endings(names: Iterable[str]) -> list[str]:
    endings = Counter(name.rpartition(".")[2] for name in names)
    return [ending for ending, count in endings.items() if count == 1]


def _complete(context: typer.Context, incomplete: str, names_of: Callable[[Heeler], Iterable[str]]) -> list[str]:
    """Names that fit. Where the app cannot be had there are none: a prompt is no place for errors."""
    silence = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(silence),
            contextlib.redirect_stderr(silence),
            find_app(_app_asked_for(context)) as app,
        ):
            names = sorted(set(names_of(app)))
    except Exception:
        return []
    return [name for name in names if name.startswith(incomplete)]


def _app_asked_for(context: typer.Context | None) -> str | None:
    while context is not None:
        said = context.params.get("app")
        if isinstance(said, str):
            return said
        context = context.parent  # type: ignore[assignment]
    return None
