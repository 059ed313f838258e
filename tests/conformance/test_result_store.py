"""The suite of the result store, over the brokers that Heeler ships."""

from heeler.testing.conformance.result_store import *  # noqa: F403
