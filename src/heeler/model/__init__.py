"""The values that Heeler's parts exchange: frozen, without I/O."""

from heeler.model.copies import copy_of, letter_of, revived
from heeler.model.delivery import (
    Action,
    DeadLetter,
    Delivery,
    Receipt,
    Renewal,
    RenewalAnswer,
    SettleAnswer,
    Settlement,
    SettleResult,
)
from heeler.model.envelope import NATIVE_FORMAT, Envelope, Member
from heeler.model.latch import Arrival, ArrivalKind, Latch, LatchRule, LatchState, judge
from heeler.model.message import Message, Reports
from heeler.model.presence import Command, WorkerPresence
from heeler.model.publication import CallId, Guard, Publication, PublishAnswer, PublishResult
from heeler.model.records import cancelled_record, with_report
from heeler.model.result import ErrorRecord, Notice, ResultRecord, RunInfo, RunNote, RunReport, TaskStatus
from heeler.model.retry import Backoff, Retry, class_path, seconds_of

__all__ = [
    "NATIVE_FORMAT",
    "Action",
    "Arrival",
    "ArrivalKind",
    "Backoff",
    "CallId",
    "Command",
    "DeadLetter",
    "Delivery",
    "Envelope",
    "ErrorRecord",
    "Guard",
    "Latch",
    "LatchRule",
    "LatchState",
    "Member",
    "Message",
    "Notice",
    "Publication",
    "PublishAnswer",
    "PublishResult",
    "Receipt",
    "Renewal",
    "RenewalAnswer",
    "Reports",
    "ResultRecord",
    "Retry",
    "RunInfo",
    "RunNote",
    "RunReport",
    "SettleAnswer",
    "SettleResult",
    "Settlement",
    "TaskStatus",
    "WorkerPresence",
    "cancelled_record",
    "class_path",
    "copy_of",
    "judge",
    "letter_of",
    "revived",
    "seconds_of",
    "with_report",
]
