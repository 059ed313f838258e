"""Log records made inside a task carry its id, name and attempt; nothing is paid where nothing is logged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from heeler.task_context import running_context

__all__ = ["tag_records", "tagged_records"]

_lock = threading.Lock()
_users = 0
_before: Callable[..., logging.LogRecord] = logging.LogRecord


def tag_records() -> None:
    """Do so from now on."""
    global _users, _before
    with _lock:
        if _users == 0:
            _before = logging.getLogRecordFactory()
            logging.setLogRecordFactory(_tagged)
        _users += 1


@contextmanager
def tagged_records() -> Iterator[None]:
    """Give all records the attributes `task_id`, `task_name` and `task_attempt` (empty outside a task) meanwhile."""
    global _users
    tag_records()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and logging.getLogRecordFactory() is _tagged:
                logging.setLogRecordFactory(_before)


def _tagged(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = _before(*args, **kwargs)
    context = running_context.get()
    record.task_id = "" if context is None else context.id
    record.task_name = "" if context is None else context.name
    record.task_attempt = "" if context is None else context.attempt
    return record
