"""What the fault tests share: a place of their own for each, left without a process whatever happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from site_of_faults import LEASE, Site


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site(tmp_path, LEASE)
    try:
        yield site
    finally:
        site.close()
        for process in site.processes:  # shown by pytest where the test failed
            print(f"--- {process.name}\n{process.log()}")
