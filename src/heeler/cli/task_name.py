"""The name of a task, as short as it is clear."""

from __future__ import annotations

from heeler.app import Heeler
from heeler.errors import ConfigurationError

__all__ = ["full_name"]


def full_name(heeler: Heeler, task: str | None) -> str | None:
    """The task whose name ends so. An unknown name stays as it is: jobs may be of tasks that no app knows any more."""
    if task is None or task in heeler.tasks:
        return task
    endings = [name for name in heeler.tasks if name.endswith(f".{task}")]
    if len(endings) > 1:
        raise ConfigurationError(f"--task {task} is the end of several task names: {', '.join(sorted(endings))}")
    return endings[0] if endings else task
