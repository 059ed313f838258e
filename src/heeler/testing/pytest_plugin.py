"""The pytest plugin "heeler": keeps tests away from real brokers, and gives them an app and a clock of their own.

`heeler_url = memory://` (or `eager://`) in pytest's configuration is what an app without a URL of its own uses while
tests run, wherever it is made, in place of the environment's HEELER_URL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from heeler.app import Heeler
from heeler.config import URL_VARIABLE
from heeler.testing.manual_clock import ManualClock

__all__ = ["heeler_app", "heeler_clock"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("heeler_url", f"The {URL_VARIABLE} that tests see, for example memory:// or eager://.", default="")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before anything of the project is imported, because that may make an app."""
    url = early_config.getini("heeler_url")
    if url:
        os.environ[URL_VARIABLE] = url


@pytest.fixture
def heeler_clock() -> ManualClock:
    """The clock of the apps that `heeler_app` makes: it stands still until the test calls `advance`."""
    return ManualClock()


@pytest.fixture
def heeler_app(heeler_clock: ManualClock) -> Iterator[Callable[..., Heeler]]:
    """Makes apps for one test: `heeler_app()` is on `memory://`, with the test's clock, and closed at the end.

    Takes what `Heeler` takes.
    """
    apps: list[Heeler] = []

    def make(url: str = "memory://", **options: Any) -> Heeler:
        app = Heeler(url, **({"clock": heeler_clock} | options))
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()
