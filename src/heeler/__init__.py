"""Heeler: a distributed task queue. Start with `Heeler`, `@app.task`, `task.enqueue(…)` and `result.get()`."""

from heeler.app import Heeler
from heeler.contracts import Broker, Codec, Executor, Features, Middleware, Queue, ResultStore
from heeler.errors import (
    BrokerUnavailable,
    ConfigurationError,
    EnqueueManyError,
    Expired,
    HeelerError,
    IdConflict,
    InvalidArguments,
    PayloadTooLarge,
    Reject,
    Rejected,
    ResultExpired,
    ResultLost,
    ResultNotFound,
    ResultTimeout,
    RetryLater,
    Skipped,
    SoftTimeout,
    TaskCancelled,
    TaskFailed,
    TaskTimedOut,
    UnknownTask,
    Unroutable,
    WorkerCrashed,
)
from heeler.gather import aas_completed, agather, as_completed, gather
from heeler.model import Message, Retry, TaskStatus
from heeler.report import Report
from heeler.task import Task
from heeler.task_context import TaskContext, current_context
from heeler.task_result import TaskResult
from heeler.workflow import Signature

__all__ = [
    "Broker",
    "BrokerUnavailable",
    "Codec",
    "ConfigurationError",
    "EnqueueManyError",
    "Executor",
    "Expired",
    "Features",
    "Heeler",
    "HeelerError",
    "IdConflict",
    "InvalidArguments",
    "Message",
    "Middleware",
    "PayloadTooLarge",
    "Queue",
    "Reject",
    "Rejected",
    "Report",
    "ResultExpired",
    "ResultLost",
    "ResultNotFound",
    "ResultStore",
    "ResultTimeout",
    "Retry",
    "RetryLater",
    "Signature",
    "Skipped",
    "SoftTimeout",
    "Task",
    "TaskCancelled",
    "TaskContext",
    "TaskFailed",
    "TaskResult",
    "TaskStatus",
    "TaskTimedOut",
    "UnknownTask",
    "Unroutable",
    "WorkerCrashed",
    "aas_completed",
    "agather",
    "as_completed",
    "current_context",
    "gather",
]

__version__ = "0.1.0"
