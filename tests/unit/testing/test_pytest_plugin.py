"""The pytest plugin, as a project that has Heeler installed meets it."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def project(tmp_path):
    """Runs pytest in a folder of its own, with the plugin found by its entry point."""

    def run(tests: str, settings: str = "", **environment: str) -> str:
        (tmp_path / "test_it.py").write_text(tests)
        (tmp_path / "pytest.ini").write_text(f"[pytest]\n{settings}\n")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_an_app_and_a_clock_of_its_own_for_each_test(project):
    output = project(
        """
from heeler import Retry
from heeler.testing import drain

def test_retries(heeler_app, heeler_clock):
    app = heeler_app(retry=Retry(2, delay=60, jitter=False))

    @app.task(name="flaky")
    def flaky() -> None:
        raise ValueError("no")

    flaky.enqueue()
    assert drain(app) == 1
    assert drain(app) == 0
    heeler_clock.advance(60)
    assert drain(app) == 1
    test_retries.app = app

def test_that_app_is_closed_now():
    assert test_retries.app.connections.io.started is False
"""
    )

    assert "2 passed" in output


def test_an_app_without_a_url_is_kept_away_from_the_real_broker(project):
    project(
        """
from heeler import Heeler

def test_url():
    assert Heeler().connections.shown_url == "eager://"
""",
        settings="heeler_url = eager://",
        HEELER_URL="sqlite:////somewhere/production.db",
    )


def test_without_the_setting_the_environment_holds(project):
    project(
        """
from heeler import Heeler

def test_url():
    assert Heeler().connections.shown_url == "memory://theirs"
""",
        HEELER_URL="memory://theirs",
    )
