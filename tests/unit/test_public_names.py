"""The names that users import, and the shape of the error tree."""

from __future__ import annotations

import inspect

import pytest

import heeler
import heeler.errors
import heeler.types
from heeler import Heeler, Task, TaskResult, TaskStatus, WorkflowResult
from heeler.errors import HeelerError

ERRORS = {
    "BrokerUnavailable",
    "ConfigurationError",
    "EnqueueManyError",
    "Expired",
    "IdConflict",
    "InvalidArguments",
    "InvalidOption",
    "InvalidWorkflow",
    "PayloadTooLarge",
    "Rejected",
    "ResultExpired",
    "ResultLost",
    "ResultNotFound",
    "ResultTimeout",
    "ScheduleNotFound",
    "Skipped",
    "SoftTimeout",
    "TaskCancelled",
    "TaskFailed",
    "TaskTimedOut",
    "UnknownTask",
    "Unroutable",
    "WorkerCrashed",
    "WorkflowUnfinished",
}
SIGNALS = {"Reject", "RetryLater"}
OTHERS = {
    "Event",
    "FailedRun",
    "Failure",
    "Heeler",
    "Message",
    "Middleware",
    "Queue",
    "Report",
    "Retry",
    "Signature",
    "Task",
    "TaskContext",
    "TaskResult",
    "TaskStatus",
    "Workflow",
    "WorkflowResult",
    "aas_completed",
    "agather",
    "as_completed",
    "chain",
    "chord",
    "current_context",
    "gather",
    "group",
}
TWINS = {
    Task: ["enqueue", "enqueue_many", "enqueue_iter", "call", "get_result"],
    TaskResult: ["get", "join", "refresh", "reports", "cancel", "forget"],
    WorkflowResult: ["get", "join", "refresh", "cancel", "retry_failed", "forget"],
    Heeler: ["get_result", "get_workflow", "enqueue_by_name", "jobs", "close"],
}


@pytest.mark.parametrize("name", sorted(ERRORS | SIGNALS | {"HeelerError"}))
def test_every_error_is_in_its_module_and_exported(name: str) -> None:
    assert getattr(heeler, name) is getattr(heeler.errors, name)
    assert name in heeler.__all__
    assert name in heeler.errors.__all__


def test_the_module_of_errors_has_no_others() -> None:
    assert set(heeler.errors.__all__) == ERRORS | SIGNALS | {"HeelerError"}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_error_is_under_the_one_root(name: str) -> None:
    assert issubclass(getattr(heeler.errors, name), HeelerError)


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_a_signal_is_not_caught_by_who_catches_errors(name: str) -> None:
    assert getattr(heeler.errors, name).__bases__ == (Exception,)


def test_a_result_that_is_late_is_a_timeout_error() -> None:
    assert issubclass(heeler.ResultTimeout, TimeoutError)


def test_an_expired_result_is_a_result_not_found() -> None:
    assert issubclass(heeler.ResultExpired, heeler.ResultNotFound)


def test_a_skipped_job_is_a_cancelled_one() -> None:
    assert issubclass(heeler.Skipped, heeler.TaskCancelled)


def test_a_failed_task_carries_what_is_known_of_its_error() -> None:
    failed = heeler.TaskFailed("shop.OutOfStock", "no cats left", "Traceback …", 3)
    assert failed.exception_class_path == "shop.OutOfStock"
    assert failed.message == "no cats left"
    assert failed.traceback == "Traceback …"
    assert failed.attempts == 3


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_every_public_name_is_exported(name: str) -> None:
    assert hasattr(heeler, name)
    assert name in heeler.__all__


def test_everything_that_is_exported_is_there_in_order() -> None:
    assert all(hasattr(heeler, name) for name in heeler.__all__)
    assert heeler.__all__ == sorted(heeler.__all__)


def test_a_status_equals_its_name() -> None:
    assert [status.value for status in TaskStatus] == [status.name for status in TaskStatus]
    assert {status.name for status in TaskStatus} == {"READY", "RUNNING", "FAILED", "SUCCESSFUL", "CANCELLED"}


def test_the_three_ends_are_finished_and_nothing_else_is() -> None:
    ends = {status for status in TaskStatus if status.is_finished}
    assert ends == {TaskStatus.FAILED, TaskStatus.SUCCESSFUL, TaskStatus.CANCELLED}


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in TWINS.items() for name in names])
def test_what_waits_or_does_io_has_an_async_twin(owner: type, name: str) -> None:
    assert callable(getattr(owner, name))
    twin = getattr(owner, f"a{name}")
    asynchronous = inspect.iscoroutinefunction(twin) or inspect.isasyncgenfunction(twin)
    assert asynchronous or "AsyncIterator" in str(inspect.signature(twin).return_annotation)


@pytest.mark.parametrize("name", ["Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32"])
def test_sized_numbers_are_there_for_annotations(name: str) -> None:
    assert hasattr(heeler.types, name)


def test_signatures_of_using_name_every_option() -> None:
    options = set(inspect.signature(Task.using).parameters) - {"self"}
    assert options >= {
        "queue_name",
        "priority",
        "run_after",
        "expires",
        "timeout",
        "retry",
        "headers",
        "id",
        "ignore_result",
        "result_ttl",
        "codec",
        "reports",
    }
