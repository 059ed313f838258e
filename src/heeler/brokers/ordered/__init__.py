"""What makes a broker of a message server that has no store: with a store in ordered steps, or without one."""

from heeler.brokers.ordered.broker import OrderedBroker
from heeler.brokers.ordered.rpc import RpcBroker
from heeler.brokers.ordered.unstored import UnstoredBroker

__all__ = ["OrderedBroker", "RpcBroker", "UnstoredBroker"]
