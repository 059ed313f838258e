"""The two onions of the user's middleware, composed once; where nobody installed a hook nothing is paid."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from heeler.contracts import Middleware
from heeler.errors import ConfigurationError

__all__ = ["all_ready", "check_middleware", "compose_enqueue", "compose_run", "report_error"]

logger = logging.getLogger("heeler.middleware")

_HOOKS = ("around_enqueue", "around_run", "on_error", "ready")

Send = Callable[[Any], Any]
Run = Callable[[Any], Awaitable[Any]]


def check_middleware(middleware: Sequence[Any]) -> None:
    """Raise ConfigurationError for an entry that cannot be a middleware."""
    for entry in middleware:
        if isinstance(entry, type):
            raise ConfigurationError(f"middleware: pass an object, {entry.__name__}(), not the class {entry.__name__}")
        if not any(callable(getattr(entry, name, None)) for name in _HOOKS):
            raise ConfigurationError(f"middleware {entry!r} has none of the hooks {', '.join(_HOOKS)}")
        if inspect.iscoroutinefunction(getattr(entry, "around_enqueue", None)):
            raise ConfigurationError(
                f"middleware {_name(entry)}: around_enqueue must be a plain function, since enqueue calls it, too; "
                "it is a coroutine function"
            )


def compose_enqueue(middleware: Sequence[Any], innermost: Send) -> Send:
    """`innermost` with all `around_enqueue` hooks about it, the first middleware outermost.

    Raises ConfigurationError for an entry that cannot be a middleware.
    """
    check_middleware(middleware)
    send = innermost
    for entry in reversed(middleware):
        hook = _hook(entry, "around_enqueue")
        if hook is not None:
            send = _enqueue_layer(hook, f"{_name(entry)}.around_enqueue", send)
    return send


def compose_run(middleware: Sequence[Any], innermost: Run) -> Run:
    """`innermost` with all `around_run` hooks about it, the first middleware outermost.

    Raises ConfigurationError for an entry that cannot be a middleware.
    """
    check_middleware(middleware)
    run = innermost
    for entry in reversed(middleware):
        hook = _hook(entry, "around_run")
        if hook is not None:
            run = _run_layer(hook, f"{_name(entry)}.around_run", run)
    return run


def report_error(middleware: Sequence[Any], exc: BaseException, where: str) -> None:
    """Tell every `on_error` hook of a fault; what such a hook raises is logged and stops nothing."""
    for entry in middleware:
        hook = _hook(entry, "on_error")
        if hook is not None:
            try:
                hook(exc, where)
            except Exception:
                logger.exception(
                    "middleware %s.on_error failed while it was told of a fault in %s", _name(entry), where
                )


def all_ready(middleware: Sequence[Any], worker: Any) -> bool:
    """Whether every `ready` hook lets the worker fetch; one that raises is logged and counts as a no."""
    for entry in middleware:
        hook = _hook(entry, "ready")
        if hook is not None:
            try:
                if not hook(worker):
                    return False
            except Exception:
                logger.exception("middleware %s.ready failed; nothing is fetched until it answers", _name(entry))
                return False
    return True


def _hook(entry: Any, name: str) -> Callable[..., Any] | None:
    """The entry's own method of that name; None where it has none or only inherits the one that does nothing."""
    method = getattr(entry, name, None)
    if method is None or getattr(method, "__func__", None) is getattr(Middleware, name):
        return None
    return method  # type: ignore[no-any-return]


def _name(entry: Any) -> str:
    return type(entry).__name__


def _enqueue_layer(hook: Callable[..., Any], name: str, inner: Send) -> Send:
    def layer(message: Any) -> Any:
        from_within: BaseException | None = None

        def call_next(passed_on: Any = None) -> Any:
            nonlocal from_within
            try:
                return inner(message if passed_on is None else passed_on)
            except BaseException as error:
                from_within = error
                raise

        try:
            return hook(message, call_next)
        except Exception as error:
            if error is not from_within:
                error.add_note(f"raised by the middleware hook {name}")
            raise

    return layer


def _run_layer(hook: Callable[..., Awaitable[Any]], name: str, inner: Run) -> Run:
    async def layer(context: Any) -> Any:
        from_within: BaseException | None = None

        async def call_next(passed_on: Any = None) -> Any:
            nonlocal from_within
            try:
                return await inner(context if passed_on is None else passed_on)
            except BaseException as error:
                from_within = error
                raise

        try:
            return await hook(context, call_next)
        except Exception as error:
            if error is not from_within:
                error.add_note(f"raised by the middleware hook {name}")
            raise

    return layer
