"""The suite of what can be read of latches and done to them, over the brokers that Heeler ships."""

from heeler.testing.conformance.latches import *  # noqa: F403
