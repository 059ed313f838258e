"""Each suite of this folder runs over every broker that Heeler ships."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from shipped_brokers import MemoryHarness, SqliteHarness

from heeler.testing.conformance import Harness


@pytest.fixture(params=["memory", "sqlite"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    harness = MemoryHarness() if request.param == "memory" else SqliteHarness(tmp_path)
    yield harness
    await harness.close()
