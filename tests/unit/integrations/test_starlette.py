"""The lifespan of web applications: connected before the first request, closed after the last, and again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from heeler import BrokerUnavailable, Heeler
from heeler.integrations import fastapi as of_fastapi
from heeler.integrations.starlette import lifespan


def site(queue: Heeler, **options: object) -> FastAPI:
    web = FastAPI(lifespan=lifespan(queue, **options))

    @queue.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    @web.get("/sum/{a}/{b}")
    async def sum_(a: int, b: int) -> int:
        return await (await add.aenqueue(a, b)).aget(timeout=10)

    @web.get("/same")
    async def same(request: Request) -> bool:
        return request.state.heeler is queue

    return web


def test_fastapi_has_the_same() -> None:
    assert of_fastapi.lifespan is lifespan


def test_a_site_with_a_worker_can_be_started_again_and_again(tmp_path: Path) -> None:
    queue = Heeler(f"sqlite:///{tmp_path}/jobs.db")
    web = site(queue, worker=True)
    for _ in range(3):
        with TestClient(web) as client:
            assert queue.connections.is_open
            assert client.get("/sum/1/2").json() == 3
            assert client.get("/same").json() is True
        assert not queue.connections.is_open
        assert not queue.connections.io.started
        assert not queue.workers


def test_without_a_worker_nothing_runs_here() -> None:
    queue = Heeler("memory://")
    with TestClient(site(queue)) as client:
        assert client.get("/same").json() is True
        assert not queue.workers


def test_the_options_of_the_worker_are_taken() -> None:
    queue = Heeler("memory://")
    with TestClient(site(queue, worker={"concurrency": 3, "name": "inside"})):
        assert queue.workers["inside"].concurrency == 3


def test_a_lifespan_of_ones_own_comes_inside() -> None:
    queue = Heeler("memory://")
    told: list[object] = []

    @asynccontextmanager
    async def inner(application: FastAPI) -> AsyncIterator[dict[str, str]]:
        told.append(queue.connections.is_open)
        yield {"word": "hello"}
        told.append(queue.connections.is_open)

    web = FastAPI(lifespan=lifespan(queue, inner=inner))

    @web.get("/word")
    async def word(request: Request) -> str:
        return f"{request.state.word} {request.state.heeler is queue}"

    with TestClient(web) as client:
        assert client.get("/word").json() == "hello True"
    assert told == [True, True]


def test_a_broker_that_is_away_stops_the_start() -> None:
    queue = Heeler("sqlite:////nowhere/to/be/found/jobs.db")
    with pytest.raises(BrokerUnavailable, match="/nowhere/to/be/found does not exist"), TestClient(site(queue)):
        pass
    queue.close()
