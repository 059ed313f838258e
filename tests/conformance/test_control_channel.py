"""The suite of the control channel, over the brokers that Heeler ships."""

from heeler.testing.conformance.control_channel import *  # noqa: F403
