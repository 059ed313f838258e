"""The middleware that makes spans: where a job is created, sent, run and settled, all in one trace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from opentelemetry import context as active
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from heeler.contracts import Middleware
from heeler.errors import RetryLater
from heeler.model import EndedRun, Message, RunEnd, Sending
from heeler.otel import conventions as names
from heeler.otel.conventions import attributes_of
from heeler.task_context import TaskContext, running_context

__all__ = ["OpenTelemetryMiddleware"]

_ENDED_WELL = frozenset({RunEnd.SUCCEEDED, RunEnd.RETRIED, RunEnd.RELEASED})


class OpenTelemetryMiddleware(Middleware):
    """Traces jobs by way of `tracer_provider`; `propagator` writes the headers. Not given, both are the global ones.

    A job carries the context in which it was created in its headers (W3C `traceparent`, unless the propagator is
    another one), so that all its attempts, and whatever they enqueue, belong to the same trace.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, propagator: TextMapPropagator | None = None
    ) -> None:
        self._provider = tracer_provider
        self._propagator = propagator
        self._running: dict[tuple[str, int], Context] = {}  # the context of each run, until it is settled

    @property
    def _tracer(self) -> Tracer:
        # Asked each time, because a program may set the global provider after it has made its app.
        return trace.get_tracer("heeler", tracer_provider=self._provider)

    # Where a job is created and sent

    def around_enqueue(self, message: Message, call_next: Callable[[Any], Any]) -> Any:
        """A span of the kind PRODUCER, whose context travels in the job's headers."""
        with self._tracer.start_as_current_span(
            f"create {message.queue_name}",
            _context_of_run(self._extract),
            kind=SpanKind.PRODUCER,
            attributes={
                **attributes_of("enqueue", "create", message.queue_name),
                names.MESSAGE_ID: message.id,
                names.BODY_SIZE: len(message.payload),
                names.TASK: message.task,
            },
        ) as span:
            headers = dict(message.headers)
            self._inject(headers)
            try:
                return call_next(msgspec.structs.replace(message, headers=headers))
            except Exception as error:
                span.set_attribute(names.ERROR_TYPE, _type_of(error))
                raise

    def on_sent(self, sending: Sending) -> None:
        """A span of the kind CLIENT for each publication, with links to what it sent.

        Where nothing else is traced, that of a single job is below the span that created it.
        """
        created = [self._extract(job.headers) for job in sending.jobs]
        parent = _context_of_run(self._extract)
        if parent is None and len(created) == 1 and not trace.get_current_span().get_span_context().is_valid:
            parent = created[0]
        queues = sorted({job.queue for job in sending.jobs})
        queue = queues[0] if len(queues) == 1 else "several queues"
        span = self._tracer.start_span(
            f"send {queue}",
            parent,
            kind=SpanKind.CLIENT,
            attributes={**attributes_of("publish", "send", queue), names.BATCH_SIZE: len(sending.jobs)},
            links=[Link(_span_context(context)) for context in created],
            start_time=_nanoseconds(sending.began),
        )
        if len(sending.jobs) == 1:
            span.set_attribute(names.MESSAGE_ID, sending.jobs[0].id)
        if sending.error is not None:
            span.record_exception(sending.error)
            span.set_attribute(names.ERROR_TYPE, _type_of(sending.error))
            span.set_status(Status(StatusCode.ERROR, str(sending.error)))
        span.end(_nanoseconds(sending.ended))

    # Where it runs

    async def around_run(self, context: TaskContext, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        """A span of the kind CONSUMER, below the one in which the job was created."""
        with self._tracer.start_as_current_span(
            f"process {context.queue_name}",
            self._extract(context.headers),
            kind=SpanKind.CONSUMER,
            attributes={
                **attributes_of("run", "process", context.queue_name),
                names.MESSAGE_ID: context.id,
                names.CLIENT_ID: context.worker_id,
                names.TASK: context.name,
                names.ATTEMPT: context.attempt,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            self._running[context.id, context.attempt] = active.get_current()
            carried: dict[str, str] = {}
            self._inject(carried)
            context.carry(carried)
            try:
                return await call_next(context)
            except RetryLater as signal:
                span.add_event("retry requested", {"heeler.retry.after": signal.after})
                raise
            except BaseException as error:
                _fail(span, error)
                raise

    def in_child(self, context: TaskContext) -> None:
        """In a pool child the span of the run, which the worker has, is the one that others are below."""
        active.attach(self._extract(context.headers))

    # Where it ends

    def on_settled(self, runs: Sequence[EndedRun]) -> None:
        """A span of the kind CLIENT for each run, below that of the run.

        A lost lease is an error, and so is what keeps a job from running at all; a run's own failure is in its span.
        """
        for run in runs:
            known = self._running.pop((run.id, run.attempt), None)
            span = self._tracer.start_span(
                f"settle {run.queue}",
                self._extract(run.headers) if known is None else known,
                kind=SpanKind.CLIENT,
                attributes={
                    **attributes_of("settle", "settle", run.queue),
                    names.MESSAGE_ID: run.id,
                    names.CLIENT_ID: run.worker_id,
                    names.TASK: run.task,
                    names.ATTEMPT: run.attempt,
                    names.OUTCOME: run.end.value,
                },
                start_time=_nanoseconds(run.settling_at),
            )
            if run.end is RunEnd.LOST or (known is None and run.end not in _ENDED_WELL):
                path = run.error.exception_class_path.removeprefix("builtins.") if run.error else run.end.value
                span.set_attribute(names.ERROR_TYPE, path)
                span.set_status(Status(StatusCode.ERROR, run.error.message if run.error else run.end.value))
            span.end(_nanoseconds(run.settled_at))

    # Headers

    def _inject(self, headers: dict[str, str]) -> None:
        (self._propagator or propagate.get_global_textmap()).inject(headers)

    def _extract(self, headers: Mapping[str, str]) -> Context:
        return (self._propagator or propagate.get_global_textmap()).extract(headers, Context())


def _context_of_run(extract: Callable[[Mapping[str, str]], Context]) -> Context | None:
    """Where a task enqueues and no span is active, that in which it was itself created; else the active one."""
    if trace.get_current_span().get_span_context().is_valid:
        return None
    run = running_context.get()
    return None if run is None else extract(run.headers)


def _span_context(context: Context) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()


def _fail(span: Span, error: BaseException) -> None:
    span.record_exception(error)
    span.set_attribute(names.ERROR_TYPE, _type_of(error))
    span.set_status(Status(StatusCode.ERROR, str(error) or type(error).__name__))


def _type_of(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
