"""The contracts between Heeler's parts: abstract classes. Read these and you have understood the system."""

from heeler.contracts.broker import Broker, Queue, QueueShare, Subscription
from heeler.contracts.codec import Codec, TypedCodec
from heeler.contracts.control_channel import CommandInbox, ControlChannel
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
from heeler.contracts.plain_broker import DeadLetterBox, Outgoing, PlainBroker, PlainDelivery, PlainSubscription
from heeler.contracts.queue_admin import JobState, QueueAdmin, QueueSize
from heeler.contracts.result_store import CancelAnswer, Inbox, ResultStore
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
    "Executor",
    "Features",
    "Finished",
    "Inbox",
    "JobState",
    "KillAnswer",
    "Middleware",
    "OrderedStore",
    "Outgoing",
    "PlainBroker",
    "PlainDelivery",
    "PlainSubscription",
    "Queue",
    "QueueAdmin",
    "QueueShare",
    "QueueSize",
    "Reserved",
    "ResultStore",
    "Subscription",
    "TypedCodec",
    "Unsent",
    "WireFormat",
]
