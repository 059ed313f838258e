"""The suite of schedules, over the brokers that Heeler ships."""

from heeler.testing.conformance.schedules import *  # noqa: F403
