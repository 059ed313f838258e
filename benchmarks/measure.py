"""Running one case in a process of its own, several times, and saying what the machine is."""

import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.redis_server import private_redis


def machine() -> str:
    """One paragraph: what ran where."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    try:
        loop = f"uvloop {version('uvloop')}"
    except ModuleNotFoundError:
        loop = "asyncio"
    return (
        f"heeler {version('heeler')}, Python {platform.python_version()}, {loop}, msgspec {version('msgspec')}, "
        f"SQLite {sqlite3.sqlite_version}; {os.cpu_count()} × {model}, {platform.system()} {platform.release()}"
    )


def in_process(case: str, url: str, results: str = "", **options: Any) -> dict[str, float]:
    """Run `benchmarks.cases:<case>` in a fresh interpreter; `results` is the store, where it is not the broker's own.

    `{dir}` in the URL is an empty temporary folder, `{redis}` in either a fresh private server.
    """
    if "{redis}" in url + results:
        with private_redis() as server:
            return in_process(case, url.replace("{redis}", server), results.replace("{redis}", server), **options)
    with tempfile.TemporaryDirectory(prefix="heeler-bench-") as folder:
        env = os.environ | {"HEELER_URL": url.format(dir=folder), "PYTHONPATH": str(Path(__file__).parent.parent)}
        if results:
            env["HEELER_RESULTS"] = results
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled modules are kept, as on the machine of a user
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.cases", case, json.dumps(options)],
            env=env,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"benchmark case {case} failed:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def medians(runs: int, once: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The median of each figure over several runs."""
    results = [once() for _ in range(runs)]
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
