"""The suite of publishing, leasing and settling, over the brokers that Heeler ships."""

from heeler.testing.conformance.broker import *  # noqa: F403
