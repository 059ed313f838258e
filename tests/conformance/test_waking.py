"""The suite of waking, over the brokers that Heeler ships."""

from heeler.testing.conformance.waking import *  # noqa: F403
