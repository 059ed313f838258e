"""Each example checks itself: it exits with 0 only when everything was as it should be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(example: Path, folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEELER_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(example)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_example_runs_and_finds_itself_right(example: Path, tmp_path: Path) -> None:
    run(example, tmp_path)
    assert list(tmp_path.iterdir()) == [], "an example leaves nothing behind in the working directory"


def test_tasks_of_a_script_in_a_folder_below_reach_child_processes() -> None:
    run(ROOT / "examples" / "thumbnails.py", ROOT)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_example_fits_on_a_screen(example: Path) -> None:
    assert len(example.read_text("utf-8").splitlines()) < 60
