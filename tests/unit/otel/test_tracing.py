"""Spans of jobs, read from an exporter in memory."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest
import traced_tasks
from opentelemetry import trace
from opentelemetry.propagators.textmap import DefaultGetter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from heeler import BrokerUnavailable, Heeler, PayloadTooLarge, Retry, RetryLater, TaskContext, current_context
from heeler.brokers.memory import MemoryBroker
from heeler.model import EndedRun, RunEnd
from heeler.otel import OpenTelemetryMiddleware


class Spans:
    """The finished spans, by what they are about."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("of the user")

    def named(self, name: str, task: str | None = None) -> list[ReadableSpan]:
        return [
            span
            for span in sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)
            if span.name == name and task in (None, span.attributes.get("heeler.task.name"))
        ]

    def only(self, name: str, task: str | None = None) -> ReadableSpan:
        [span] = self.named(name, task)
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def app(spans: Spans) -> Iterator[Heeler]:
    with Heeler("memory://", middleware=[OpenTelemetryMiddleware(spans.provider)]) as app:
        yield app


def work_all(app: Heeler) -> None:
    app.worker(burst=True).run()


def is_below(span: ReadableSpan, other: ReadableSpan) -> bool:
    return (span.parent.span_id, span.context.trace_id) == (other.context.span_id, other.context.trace_id)


def test_a_job_is_one_trace_from_its_creation_to_its_settlement(app: Heeler, spans: Spans):
    @app.task(name="add")
    async def add(a: int, b: int) -> int:
        with spans.tracer.start_as_current_span("inside"):
            return a + b

    with spans.tracer.start_as_current_span("request"):
        result = add.enqueue(1, 2)
    work_all(app)
    request, inside = spans.only("request"), spans.only("inside")
    create, send, process, settle = (spans.only(f"{what} default") for what in ("create", "send", "process", "settle"))
    assert [span.kind for span in (create, send, process, settle)] == [
        SpanKind.PRODUCER,
        SpanKind.CLIENT,
        SpanKind.CONSUMER,
        SpanKind.CLIENT,
    ]
    assert is_below(create, request)
    assert is_below(send, request)
    assert is_below(process, create)
    assert is_below(inside, process)
    assert is_below(settle, process)
    assert [link.context.span_id for link in send.links] == [create.context.span_id]
    assert dict(create.attributes) == {
        "messaging.system": "heeler",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "create",
        "messaging.destination.name": "default",
        "messaging.message.id": result.id,
        "messaging.message.body.size": create.attributes["messaging.message.body.size"],
        "heeler.task.name": "add",
    }
    assert dict(process.attributes) == {
        "messaging.system": "heeler",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": result.id,
        "messaging.client.id": result.worker_ids[0] if result.refresh() is None else "",
        "heeler.task.name": "add",
        "heeler.task.attempt": 1,
    }
    assert (settle.attributes["messaging.operation.type"], settle.attributes["heeler.outcome"]) == (
        "settle",
        "succeeded",
    )
    assert send.attributes["messaging.batch.message_count"] == 1
    assert send.start_time <= send.end_time
    assert process.end_time <= settle.end_time
    assert {span.status.status_code for span in (create, send, process, settle)} == {StatusCode.UNSET}


def test_the_headers_are_those_of_w3c_beside_the_user_s_own(app: Heeler, spans: Spans):
    @app.task(name="headers")
    def headers() -> dict[str, str]:
        return dict(current_context().headers)

    result = headers.using(headers={"tenant": "acme", "traceparent": "mine"}).enqueue()
    work_all(app)
    seen = result.get(timeout=5)
    create = spans.only("create default").context
    assert seen["tenant"] == "acme"
    assert seen["traceparent"].startswith(f"00-{create.trace_id:032x}-{create.span_id:016x}-")


def test_every_attempt_is_a_span_of_the_same_trace(app: Heeler, spans: Spans):
    @app.task(name="flaky", retry=Retry(3, delay=0.01))
    def flaky() -> int:
        attempt = current_context().attempt
        if attempt == 1:
            raise ConnectionError("not yet")
        if attempt == 2:
            raise RetryLater(0.01)
        return attempt

    with app.worker():
        flaky.enqueue().get(timeout=10)
    create, runs = spans.only("create default"), spans.named("process default")
    assert [run.attributes["heeler.task.attempt"] for run in runs] == [1, 2, 3]
    assert all(is_below(run, create) for run in runs)
    failed, asked, done = runs
    assert (failed.status.status_code, failed.attributes["error.type"]) == (StatusCode.ERROR, "ConnectionError")
    assert [event.name for event in failed.events] == ["exception"]
    assert (asked.status.status_code, [event.name for event in asked.events]) == (
        StatusCode.UNSET,
        ["retry requested"],
    )
    assert done.status.status_code is StatusCode.UNSET
    settled = spans.named("settle default")
    assert [span.attributes["heeler.outcome"] for span in settled] == ["retried", "retried", "succeeded"]
    assert all(is_below(span, run) for span, run in zip(settled, runs, strict=True))


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
def test_what_a_run_enqueues_is_below_it(app: Heeler, spans: Spans, kind: str):
    @app.task(name="after")
    async def after() -> None: ...

    def first(context: TaskContext) -> None:
        context.enqueue(after.s())
        after.enqueue()

    async def first_coroutine(context: TaskContext) -> None:
        context.enqueue(after.s())
        await after.aenqueue()

    task = app.task(first if kind == "thread" else first_coroutine, name="first", takes_context=True)
    task.enqueue()
    work_all(app)
    run = spans.only("process default", "first")
    created = spans.named("create default", "after")
    assert len(created) == 2
    assert all(is_below(span, run) for span in created)
    assert {span.parent.span_id for span in spans.named("process default", "after")} == {
        span.context.span_id for span in created
    }
    assert len({span.context.trace_id for span in spans.exporter.get_finished_spans()}) == 1


def test_a_run_in_a_pool_child_goes_on_with_the_trace():
    exporter = traced_tasks.exporter
    exporter.clear()
    with traced_tasks.app.worker():
        result = traced_tasks.in_child.enqueue()
        trace_id, span_id = result.get(timeout=60)
        follow_up = traced_tasks.app.jobs(task="traced_tasks.after")[0]
        follow_up.join(10)
    [run] = [
        span for span in exporter.get_finished_spans() if span.name == "process default" and is_of(span, result.id)
    ]
    assert (run.context.trace_id, run.context.span_id) == (trace_id, span_id)
    found = TraceContextTextMapPropagator().extract(follow_up.headers, getter=DefaultGetter())
    assert trace.get_current_span(found).get_span_context().trace_id == trace_id
    [after] = [span for span in exporter.get_finished_spans() if is_of(span, follow_up.id) and "process" in span.name]
    assert after.context.trace_id == trace_id


def is_of(span: ReadableSpan, id: str) -> bool:
    return span.attributes.get("messaging.message.id") == id


def test_a_batch_is_sent_once_with_a_link_to_each_of_its_jobs(app: Heeler, spans: Spans):
    @app.task(name="add", queue_name="q")
    def add(a: int) -> int:
        return a

    add.enqueue_many([(1,), (2,), (3,)])
    send, created = spans.only("send q"), spans.named("create q")
    assert send.attributes["messaging.batch.message_count"] == 3
    assert {link.context.span_id for link in send.links} == {span.context.span_id for span in created}


def test_what_cannot_be_sent_is_an_error_of_its_span(spans: Spans):
    class Away(MemoryBroker):
        def publish_blocking(self, publication: object) -> list[object]:
            raise BrokerUnavailable("the cable is out")

    from heeler.clock import SystemClock
    from heeler.io_thread import IoThread

    broker = Away(io=IoThread(), clock=SystemClock(), namespace="heeler")
    with Heeler(broker=broker, middleware=[OpenTelemetryMiddleware(spans.provider)]) as app:

        @app.task(name="take")
        def take(data: bytes) -> None: ...

        with pytest.raises(BrokerUnavailable):
            take.enqueue(b"x")
        with pytest.raises(PayloadTooLarge):
            take.enqueue(bytes(3_000_000))
    send = spans.only("send default")
    assert (send.status.status_code, send.attributes["error.type"]) == (
        StatusCode.ERROR,
        "heeler.errors.BrokerUnavailable",
    )
    _, too_large = spans.named("create default")
    assert (too_large.status.status_code, too_large.attributes["error.type"]) == (
        StatusCode.ERROR,
        "heeler.errors.PayloadTooLarge",
    )


def test_a_job_that_never_ran_has_a_span_that_says_why(app: Heeler, spans: Spans):
    app.task(lambda: None, name="late", expires=0).enqueue()
    work_all(app)
    settle = spans.only("settle default")
    assert is_below(settle, spans.only("create default"))
    assert (settle.status.status_code, settle.attributes["heeler.outcome"]) == (StatusCode.ERROR, "expired")
    assert settle.attributes["error.type"] == "heeler.errors.Expired"


def test_a_lost_lease_is_an_error_below_its_run(spans: Spans):
    middleware = OpenTelemetryMiddleware(spans.provider)
    lost = EndedRun(id="x", task="t", queue="q", attempt=1, end=RunEnd.LOST, worker_id="w", enqueued_at=0.0)
    middleware.on_settled([lost])
    settle = spans.only("settle q")
    assert (settle.status.status_code, settle.attributes["error.type"]) == (StatusCode.ERROR, "lost")


def test_a_timeout_is_an_error_of_its_run(app: Heeler, spans: Spans):
    @app.task(name="slow", timeout=0.05)
    async def slow() -> None:
        await asyncio.sleep(60)

    with app.worker():
        slow.enqueue().join(10)
    assert spans.only("process default").status.status_code is StatusCode.ERROR
    assert spans.only("settle default").attributes["heeler.outcome"] == "failed"


def test_without_a_provider_the_global_one_is_asked_and_nothing_is_in_the_way():
    with Heeler("memory://", middleware=[OpenTelemetryMiddleware()]) as app:
        result = app.task(lambda: 3, name="three").enqueue()
        work_all(app)
        assert result.get(timeout=5) == 3


def test_no_context_is_kept_of_runs_that_are_settled(app: Heeler):
    [middleware] = app.middleware
    app.task(lambda: None, name="noop").enqueue_many([()] * 20)
    work_all(app)
    assert middleware._running == {}


def test_nothing_of_it_is_loaded_by_who_does_not_ask_for_it():
    code = "import sys, heeler; heeler.Heeler('memory://').worker(); print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
