"""The suite of the queue admin, over the brokers that Heeler ships."""

from heeler.testing.conformance.queue_admin import *  # noqa: F403
