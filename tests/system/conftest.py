"""What the system tests share: a folder with an app in it, on a real SQLite file."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_shell import PATIENCE, Shell

APP = Path(__file__).with_name("shop_app.py")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "shop.py").write_text(APP.read_text())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEELER_")}
    shell = Shell(tmp_path, environment | {"HEELER_APP": "shop:app", "HEELER_URL": f"sqlite:///{tmp_path}/jobs.db"})
    yield shell
    for worker in shell.workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
    for worker in shell.workers:
        worker.communicate(timeout=PATIENCE)
