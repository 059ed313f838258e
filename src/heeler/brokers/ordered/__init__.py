"""What makes a broker of a message server that has no store and a store."""

from heeler.brokers.ordered.broker import OrderedBroker

__all__ = ["OrderedBroker"]
