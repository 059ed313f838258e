"""How a run in a child process ended: as an outcome, and as what its middleware and callbacks see of that."""

from __future__ import annotations

from heeler.error_records import rebuild_error
from heeler.errors import InvalidArguments, Reject, RetryLater, TaskFailed, WorkerCrashed
from heeler.worker.outcome import (
    Crashed,
    Outcome,
    Raised,
    RejectedByTask,
    RetryRequested,
    Returned,
    Unreadable,
)
from heeler.worker.remote_messages import (
    RemoteRaised,
    RemoteRejected,
    RemoteRetryLater,
    RemoteReturned,
    parse_reply,
)
from heeler.worker.run import Run

__all__ = ["error_of", "outcome_of_reply"]


def outcome_of_reply(run: Run, data: bytes) -> Outcome:
    """The outcome in the words of this process; what shall follow a success goes into the run."""
    reply = parse_reply(data)
    if isinstance(reply, RemoteReturned):
        run.follow_ups = reply.follow_ups
        run.follow_latches = reply.follow_latches
        return Returned(reply.value)
    if isinstance(reply, RemoteRaised):
        return Raised(reply.error)
    if isinstance(reply, RemoteRetryLater):
        return RetryRequested(reply.after, reply.count, reply.error)
    if isinstance(reply, RemoteRejected):
        return RejectedByTask(reply.error)
    return Unreadable(reply.error)


def error_of(outcome: Outcome) -> Exception:
    """The exception that the function would have raised here."""
    match outcome:
        case Raised(error):
            rebuilt = rebuild_error(error)
            if isinstance(rebuilt, Exception):
                return rebuilt
            return TaskFailed(error.exception_class_path, error.message, error.traceback, error.attempt)
        case RetryRequested(after, count, _):
            return RetryLater(after, count)
        case RejectedByTask(error):
            return Reject(error.message)
        case Crashed(how, _):
            return WorkerCrashed(f"the process that ran the job died ({how})")
        case Unreadable(error):
            return InvalidArguments(error.message)
        case _:
            raise TypeError(f"{type(outcome).__name__} is not an error of a run")
