"""A task's own callbacks, from on_processing to on_failure: what they raise is logged and changes nothing."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

__all__ = ["call_back"]


async def call_back(callback: Callable[..., Any] | None, which: str, logger: logging.Logger, *args: Any) -> None:
    """Call it, if there is one, and await it if it is a coroutine function."""
    if callback is None:
        return
    try:
        value = callback(*args)
        if inspect.isawaitable(value):
            await value
    except (Exception, asyncio.CancelledError):  # its await is cancelled when the run's lease is lost meanwhile
        logger.exception("%s of task %s failed; the run goes on as if it had not", which, args[0].name)
