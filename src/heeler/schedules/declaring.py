"""What `app.schedule(…)` was written above, or called with: a task, or a workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from heeler.errors import ConfigurationError
from heeler.schedules.declared import Place
from heeler.startables import Startable
from heeler.task import Task
from heeler.workflow import Composite, Signature, Workflow

__all__ = ["Declaration", "declaration"]


class Declaration(NamedTuple):
    """What is started, what the schedule is called, and how its place in the code is told from others."""

    starts: Startable
    name: str
    place: Place


def declaration(starts: Any, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Declaration:
    """Raises ConfigurationError."""
    if isinstance(starts, Task):
        spec = starts.spec
        place = Place(spec.module, spec.qualname, spec.function)
        return Declaration(starts.s(*args, **kwargs), starts.name if name is None else name, place)
    if not isinstance(starts, (Signature, Composite, Workflow)):
        raise ConfigurationError(
            f"app.schedule(…) is for tasks and workflows: write it above @app.task, or call it with a chain, group, "
            f"chord or Workflow; it got {type(starts).__name__}"
        )
    if args or kwargs:
        raise ConfigurationError("app.schedule(…): args and kwargs are for a task; a workflow has its own")
    given = name or (starts.name if isinstance(starts, Workflow) else "")
    if not given:
        raise ConfigurationError('app.schedule(…): a workflow needs a name here: app.schedule(…, name="nightly")')
    return Declaration(starts, given, Place("", starts._shown))
