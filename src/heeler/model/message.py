"""One requested run as producers, middleware and workers see it, before it is sealed and after it is opened."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from heeler.model.retry import Retry

__all__ = ["Message", "Reports"]

Reports = Literal["final", "all"]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One requested run. Immutable: middleware changes a copy (`msgspec.structs.replace`) and passes that on.

    `payload` is the arguments as the codec of `content_type` wrote them; `args` and `kwargs` are what the caller
    gave (at enqueue only). The options are None where the task's own apply, which the worker knows.
    """

    id: str
    task: str
    queue_name: str
    payload: bytes
    content_type: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    headers: dict[str, str] = {}
    priority: int = 0
    enqueued_at: float = 0.0
    delay: float = 0.0
    run_at: float | None = None
    expires_in: float | None = None
    expires_at: float | None = None
    timeout: float | None = None
    soft_timeout: float | None = None
    retry: Retry | None = None
    reports: Reports | None = None
    ignore_result: bool = False
    result_ttl: float = 86400.0
    max_crashes: int | None = None
    bound: bool = True  # the payload names each parameter; False: it is [args, kwargs], not bound to a signature
    positional: int | None = None  # how many were given by position, where others that could be were given by name
    fingerprint: bytes = b""  # a digest of task and arguments, where the caller chose the id: the enqueue is idempotent
    routing_key: str | None = None
