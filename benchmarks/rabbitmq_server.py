"""A private RabbitMQ server for a benchmark: the same that the tests start."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def private_rabbitmq() -> Iterator[str]:
    """The URL of a server that ends with the `with` block."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    with contextlib.closing(importlib.import_module("rabbitmq_server").RabbitmqServer()) as server:
        yield server.start().url
