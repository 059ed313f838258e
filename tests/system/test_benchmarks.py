"""The benchmarks still run: what they time is nobody's public name, so nothing else would tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SQLITE = "sqlite:///jobs.db?synchronous=normal"


def measured(case: str, url: str, folder: Path, options: dict[str, Any]) -> dict[str, float]:
    """What the case prints, as `make bench` runs it: in a process of its own, in an empty folder."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cases", case, json.dumps(options)],
        env=os.environ | {"HEELER_URL": url, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


@pytest.mark.parametrize("url", ["memory://", SQLITE])
@pytest.mark.parametrize(
    ("case", "options", "names"),
    [
        ("drain", {"kind": "coroutine", "jobs": 300}, "jobs/s,CPU µs/job"),
        ("enqueue_many", {"jobs": 300}, "jobs/s"),
        ("by_stage", {"batches": 2, "drained": 300}, "encode,publish,fetch,decode,run,decide,settle"),
    ],
)
def test_each_prints_its_figures(case: str, options: dict[str, Any], names: str, url: str, tmp_path: Path) -> None:
    figures = measured(case, url, tmp_path, options)
    assert list(figures) == names.split(",")
    assert all(figure >= 0.0 for figure in figures.values())


def test_enqueueing_one_by_one_is_compared_with_bare_sqlite(tmp_path: Path) -> None:
    figures = measured("enqueue_beside_bare_sqlite", SQLITE, tmp_path, {"jobs": 200, "synchronous": "normal"})
    assert list(figures) == ["Heeler/s", "bare/s", "share"]
