"""Traces for OpenTelemetry (the extra `heeler[otel]`): from who enqueues a job to the end of all that it sets off."""

from heeler.otel.tracing import OpenTelemetryMiddleware

__all__ = ["OpenTelemetryMiddleware"]
