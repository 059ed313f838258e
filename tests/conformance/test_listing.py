"""The suite of listing jobs, over the brokers that Heeler ships."""

from heeler.testing.conformance.listing import *  # noqa: F403
