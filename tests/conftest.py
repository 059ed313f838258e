"""What all tests share: an app on a broker of its own, closed at the end."""

from collections.abc import Iterator

import pytest

from heeler import Heeler


@pytest.fixture
def app() -> Iterator[Heeler]:
    with Heeler("memory://") as app:
        yield app
