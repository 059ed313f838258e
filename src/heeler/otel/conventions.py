"""The names of OpenTelemetry's semantic conventions for messaging, as far as they apply to jobs.

https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

from typing import Final

__all__ = ["attributes_of"]

SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
MESSAGE_ID: Final = "messaging.message.id"
BODY_SIZE: Final = "messaging.message.body.size"
BATCH_SIZE: Final = "messaging.batch.message_count"
CLIENT_ID: Final = "messaging.client.id"
ERROR_TYPE: Final = "error.type"

# Ours, where the conventions have no name.
TASK: Final = "heeler.task.name"
ATTEMPT: Final = "heeler.task.attempt"
OUTCOME: Final = "heeler.outcome"


def attributes_of(operation: str, kind: str, queue: str) -> dict[str, str | int]:
    """What every span has. `kind` is create, send, process or settle; `operation` what Heeler calls it."""
    return {SYSTEM: "heeler", OPERATION_NAME: operation, OPERATION_TYPE: kind, DESTINATION: queue}
