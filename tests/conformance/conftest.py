"""Each suite of this folder runs over every broker that Heeler ships."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from shipped_brokers import MemoryHarness, RedisHarness, SqliteHarness

from heeler.testing.conformance import Harness

MAKERS: dict[str, Callable[[Path], Harness]] = {
    "memory": lambda _: MemoryHarness(),
    "sqlite": SqliteHarness,
    "redis": lambda _: RedisHarness(),
}


@pytest.fixture(params=MAKERS)
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    harness = MAKERS[request.param](tmp_path)
    yield harness
    await harness.close()
