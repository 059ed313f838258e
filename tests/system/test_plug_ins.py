"""The example of plug-ins, installed as a stranger's package would be."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from heeler import ConfigurationError, Heeler

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugin"
PATIENCE = 120

SHOP = """
from heeler import Heeler
from heeler_tray import FreshThreads

app = Heeler()


@app.task(executor=FreshThreads())
def add(a: int, b: int) -> int:
    return a + b


if __name__ == "__main__":
    with app.worker(), Heeler() as other:
        print(type(app.connections.broker.plain).__name__, type(app.connections.broker.results).__name__)
        result = add.enqueue(1, 2)
        print(result.get(timeout=10), len(result.id), other.get_result(result.id).return_value)
    app.close()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site") / "packages"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(EXAMPLE)],
        check=True,
        timeout=PATIENCE,
        capture_output=True,
    )
    return target


def run(installed: Path, folder: Path, *command: str, **variables: str) -> str:
    known = {name: value for name, value in os.environ.items() if not name.startswith("HEELER_")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=known | {"PYTHONPATH": str(installed)} | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_its_urls_id_maker_and_codec_work_in_an_app_that_knows_nothing_of_it(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP, "utf-8")
    settings = {"URL": "tray://shop", "RESULTS": "tray://shop"}
    settings |= {"CODEC": "heeler_tray:ZippedJson", "ID_MAKER": "heeler_tray:dated_id"}
    variables = {f"HEELER_{name}": value for name, value in settings.items()}
    assert run(installed, tmp_path, "shop.py", **variables) == "TrayBroker TrayStore\n3 43 3\n"
    assert "shop.add" in run(installed, tmp_path, "-m", "heeler", "tasks", "--app", "shop:app", **variables)


def test_it_keeps_what_the_conformance_suites_ask_for_and_so_does_the_test_that_the_how_to_shows(
    installed: Path, tmp_path: Path
) -> None:
    how_to = (ROOT / "docs" / "how-to" / "plug-ins.md").read_text("utf-8")
    shown = re.search(r'```python title="test_tray.py"\n(.*?)```', how_to, re.DOTALL)
    assert shown is not None
    (tmp_path / "test_how_to.py").write_text(shown[1], "utf-8")
    (tmp_path / "test_tray.py").write_text((EXAMPLE / "tests" / "test_tray.py").read_text("utf-8"), "utf-8")
    (tmp_path / "pyproject.toml").write_text((EXAMPLE / "pyproject.toml").read_text("utf-8"), "utf-8")
    files = ("test_tray.py", "test_how_to.py")
    told = run(installed, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None
    assert int(passed[1]) > 300
    assert "failed" not in told


def plug_in(folder: Path, group: str, value: str, code: str = "") -> None:
    """A distribution in that folder, with one entry point `odd`."""
    (folder / "odd_broker.py").write_text(code, "utf-8")
    (folder / "odd-1.0.dist-info").mkdir()
    (folder / "odd-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n", "utf-8")
    (folder / "odd-1.0.dist-info" / "entry_points.txt").write_text(f"[{group}]\nodd = {value}\n", "utf-8")


@pytest.mark.parametrize(
    ("value", "code", "told"),
    [
        (
            "odd_broker:from_ulr",
            "",
            "odd://: the entry point odd_broker:from_ulr of the package odd cannot be loaded: AttributeError: "
            "module 'odd_broker' has no attribute 'from_ulr'",
        ),
        (
            "odd_broker:from_url",
            "import no_such_driver",
            "odd://: the entry point odd_broker:from_url of the package odd cannot be loaded: ModuleNotFoundError: "
            "No module named 'no_such_driver'",
        ),
        (
            "odd_broker:from_url",
            "from_url = 1",
            "odd://: the entry point odd_broker:from_url of the package odd is of type int, and must be a function "
            "that makes one of a URL",
        ),
        (
            "odd_broker:from_url",
            "def from_url(url, **others): return url",
            "odd://: its entry point made a BrokerUrl, and must make a Broker or a PlainBroker (heeler.contracts)",
        ),
    ],
)
def test_a_plug_in_that_cannot_be_loaded_says_which_and_why(
    value: str, code: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(tmp_path, "heeler.brokers", value, code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "odd_broker", raising=False)
    assert "odd" in {point.name for point in importlib.metadata.entry_points(group="heeler.brokers")}
    try:
        with pytest.raises(ConfigurationError) as raised:
            Heeler("odd://here")
    finally:
        sys.modules.pop("odd_broker", None)
    assert str(raised.value) == told
