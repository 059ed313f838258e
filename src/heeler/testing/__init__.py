"""What tests of tasks and of brokers need: a clock to drive, a way to run jobs in place, and suites for brokers."""

from heeler.testing.assertions import assert_enqueued, assert_not_enqueued, enqueued
from heeler.testing.drain import adrain, drain
from heeler.testing.manual_clock import ManualClock

__all__ = ["ManualClock", "adrain", "assert_enqueued", "assert_not_enqueued", "drain", "enqueued"]
