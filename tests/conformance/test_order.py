"""The suite of order, over the brokers that Heeler ships."""

from heeler.testing.conformance.order import *  # noqa: F403
