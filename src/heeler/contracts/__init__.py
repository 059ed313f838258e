"""The contracts between Heeler's parts: abstract classes. Read these and you have understood the system."""

from heeler.contracts.broker import Broker, Needs, Queue, QueueShare, Subscription
from heeler.contracts.codec import Codec, TypedCodec
from heeler.contracts.control_channel import CommandInbox, ControlChannel, EventInbox
from heeler.contracts.executor import Call, CallChannel, Executor, Finished, KillAnswer
from heeler.contracts.features import Features
from heeler.contracts.middleware import Middleware
from heeler.contracts.ordered_store import (
    Applied,
    BeginAnswer,
    Begun,
    Cancelled,
    Candidate,
    OrderedStore,
    Reserved,
    Unsent,
)
from heeler.contracts.plain_broker import (
    DeadLetterBox,
    Outgoing,
    PlainBroker,
    PlainDelivery,
    PlainSubscription,
    ReplyBox,
)
from heeler.contracts.queue_admin import JobState, QueueAdmin, QueueSize
from heeler.contracts.result_store import CancelAnswer, Inbox, ResultStore, nothing_known_of_page_end
from heeler.contracts.schedule_store import DueSchedules, ScheduleChange, ScheduleEntry, ScheduleStore
from heeler.contracts.wire_format import WireFormat

__all__ = [
    "Applied",
    "BeginAnswer",
    "Begun",
    "Broker",
    "Call",
    "CallChannel",
    "CancelAnswer",
    "Cancelled",
    "Candidate",
    "Codec",
    "CommandInbox",
    "ControlChannel",
    "DeadLetterBox",
    "DueSchedules",
    "EventInbox",
    "Executor",
    "Features",
    "Finished",
    "Inbox",
    "JobState",
    "KillAnswer",
    "Middleware",
    "Needs",
    "OrderedStore",
    "Outgoing",
    "PlainBroker",
    "PlainDelivery",
    "PlainSubscription",
    "Queue",
    "QueueAdmin",
    "QueueShare",
    "QueueSize",
    "ReplyBox",
    "Reserved",
    "ResultStore",
    "ScheduleChange",
    "ScheduleEntry",
    "ScheduleStore",
    "Subscription",
    "TypedCodec",
    "Unsent",
    "WireFormat",
    "nothing_known_of_page_end",
]
