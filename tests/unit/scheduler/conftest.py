from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from scheduler_site import Site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    yield site
    await site.close()
