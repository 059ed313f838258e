"""All tasks of an app by name."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from heeler.errors import ConfigurationError, UnknownTask
from heeler.task import Task
from heeler.task_spec import TaskSpec

__all__ = ["TaskRegistry", "find_task"]

_registries: weakref.WeakSet[TaskRegistry] = weakref.WeakSet()


class TaskRegistry(Mapping[str, Task[Any, Any]]):
    """Task names → tasks. `registry["resize"]` also finds `images.resize` while no other name ends so."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[Any, Any]] = {}
        _registries.add(self)

    __hash__ = object.__hash__

    def __getitem__(self, name: str) -> Task[Any, Any]:
        task = self._tasks.get(name)
        if task is not None:
            return task
        endings = [full for full in self._tasks if full.endswith(f".{name}")]
        if len(endings) == 1:
            return self._tasks[endings[0]]
        if endings:
            raise UnknownTaskName(f"{name!r} is the end of several task names: {', '.join(sorted(endings))}")
        raise UnknownTaskName(
            f"no task {name!r}; known are "
            f"{', '.join(sorted(self._tasks)) or 'none'}; is the module that registers it imported?"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def spec(self, name: str) -> TaskSpec | None:
        """The spec under exactly this name."""
        task = self._tasks.get(name)
        return None if task is None else task.spec

    def add(self, task: Task[Any, Any]) -> None:
        """Register a task. A name that is taken is an error, unless module and qualname are the same as well (a
        reload, a notebook cell run again) or the task there is only declared: then it is replaced.
        """
        there = self._tasks.get(task.name)
        if there is not None and there.spec.function is not None:
            old, new = there.spec, task.spec
            if (old.module, old.qualname) != (new.module, new.qualname):
                raise ConfigurationError(
                    f"the task name {task.name!r} is taken by {old.module}.{old.qualname}; give {new.module}."
                    f'{new.qualname} another one with task(name="…")'
                )
        self._tasks[task.name] = task


class UnknownTaskName(UnknownTask, KeyError):
    """A task name that is not registered, or the end of several."""

    def __str__(self) -> str:
        return str(self.args[0])


def find_task(name: str) -> Task[Any, Any] | None:
    """The task of that name in any app of this process: how a pool child finds what its imports registered."""
    for registry in list(_registries):
        task = registry._tasks.get(name)
        if task is not None and task.spec.function is not None:
            return task
    return None
