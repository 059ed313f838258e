"""Apps on every kind of broker that has a store, with the tasks that workflows here are made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from workflow_tasks import Shop

from heeler import Heeler
from heeler.clock import SystemClock, new_id
from heeler.io_thread import IoThread
from heeler.testing.plain_memory import MemoryPlainBroker
from rabbitmq_server import rabbitmq_url, remove_all
from services import forget_namespace, redis_url


def _app(kind: str, folder: Path) -> Heeler:
    namespace = f"test-{new_id()}"
    if kind == "ordered":
        plain = MemoryPlainBroker(io=IoThread(), clock=SystemClock(), namespace="heeler", name=new_id())
        return Heeler(broker=plain, results=f"sqlite:///{folder}/results.db", namespace=namespace)
    if kind == "rabbitmq":
        return Heeler(rabbitmq_url(), results=redis_url(), namespace=namespace)
    urls = {"sqlite": f"sqlite:///{folder}/jobs.db", "redis": redis_url()}
    return Heeler(urls.get(kind, "memory://"), namespace=namespace)


@pytest.fixture(params=["memory", "sqlite", "redis", "ordered", "rabbitmq"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heeler]:
    with _app(request.param, tmp_path) as app:
        yield app
        if request.param == "rabbitmq":
            app.connections.io.run(remove_all(app.connections.opened_blocking().plain))
        if request.param in ("redis", "rabbitmq"):
            forget_namespace(redis_url(), app.namespace)


@pytest.fixture
def memory_app() -> Iterator[Heeler]:
    with Heeler("memory://") as app:
        yield app


@pytest.fixture
def shop(app: Heeler) -> Shop:
    return Shop(app)
