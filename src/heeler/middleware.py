"""The two onions of the user's middleware, composed once; where nobody installed a hook nothing is paid."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

from heeler.clock import Clock
from heeler.contracts import Middleware
from heeler.errors import ConfigurationError
from heeler.model import RELAY_TASK, Publication, PublishAnswer, PublishResult, Sending, SentJob

__all__ = [
    "LoneHook",
    "WatchedSending",
    "all_ready",
    "check_middleware",
    "compose_enqueue",
    "compose_run",
    "hooks_called",
    "report_error",
    "sent_jobs",
    "tell_all",
]

logger = logging.getLogger("heeler.middleware")

_HOOKS = ("around_enqueue", "around_run", "in_child", "on_sent", "on_started", "on_settled", "on_error", "ready")

Send = Callable[[Any], Any]
Run = Callable[[Any], Awaitable[Any]]


class LoneHook:
    """One function as a middleware of its own: what `@app.on_error` and `@app.ready` register."""

    def __init__(self, hook: str, function: Callable[..., Any]) -> None:
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ConfigurationError(f"@app.{hook} is for plain functions, got {function!r}")
        setattr(self, hook, function)
        self.__name__ = getattr(function, "__qualname__", type(function).__name__)


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


def hooks_called(name: str, middleware: Sequence[Any]) -> list[Callable[..., Any]]:
    """The hooks of that name, in order; where nobody has one, nothing needs to be told."""
    found = [_hook(entry, name) for entry in middleware]
    return [hook for hook in found if hook is not None]


def tell_all(hooks: Sequence[Callable[..., Any]], said: Any) -> None:
    """Tell every hook; what one of them raises is logged and stops nothing."""
    for hook in hooks:
        try:
            hook(said)
        except Exception:
            logger.exception("middleware %s failed", getattr(hook, "__qualname__", hook))


class WatchedSending:
    """One publication under the eyes of the `on_sent` hooks: they are told when it is `answered`, or has `failed`.

    Used as a context, it fails with what is raised inside.
    """

    __slots__ = ("_began", "_clock", "_hooks", "_publication")

    def __init__(self, hooks: Sequence[Callable[..., Any]], clock: Clock, publication: Publication) -> None:
        self._hooks = hooks
        self._clock = clock
        self._publication = publication
        self._began = clock.time()

    def answered(self, answers: Sequence[PublishResult]) -> None:
        """The broker has answered for each envelope, and perhaps for more."""
        self._tell(sent_jobs(self._publication, [answer.answer is PublishAnswer.ACCEPTED for answer in answers]))

    def failed(self, error: BaseException) -> None:
        """There will be no answer."""
        self._tell(sent_jobs(self._publication, [False] * len(self._publication.envelopes)), error)

    def _tell(self, jobs: tuple[SentJob, ...], error: BaseException | None = None) -> None:
        if jobs:
            tell_all(self._hooks, Sending(jobs, self._began, self._clock.time(), error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.failed(error)


def sent_jobs(publication: Publication, accepted: Sequence[bool] | None = None) -> tuple[SentJob, ...]:
    """What is told of a publication: its jobs, without relays of workflows, and without those that wait in its latches.

    The worker that fetches these first tells of them. `accepted` is for the envelopes; all are, where it is not given.
    """
    envelopes = publication.envelopes
    taken = [True] * len(envelopes) if accepted is None else accepted
    jobs = [
        SentJob(envelope.id, envelope.task, envelope.queue, envelope.headers, was_taken)
        for envelope, was_taken in zip(envelopes, taken, strict=True)
        if envelope.task != RELAY_TASK
    ]
    return tuple(jobs)


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
    return str(getattr(entry, "__name__", type(entry).__name__))


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
