"""Traced tasks that a pool child can import."""

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from heeler import Heeler, TaskContext
from heeler.otel import OpenTelemetryMiddleware

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
app = Heeler("memory://", middleware=[OpenTelemetryMiddleware(provider)])


@app.task
def after() -> None: ...


@app.task(executor="process", takes_context=True)
def in_child(context: TaskContext) -> tuple[int, int]:
    """The span that is active here, as (trace, span); a follow-up goes on below it."""
    context.enqueue(after.s())
    active = trace.get_current_span().get_span_context()
    return active.trace_id, active.span_id
