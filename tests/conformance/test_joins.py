"""The suite of joins, over the brokers that Heeler ships."""

from heeler.testing.conformance.joins import *  # noqa: F403
