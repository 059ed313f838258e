"""What all tests share: an app on a broker of its own, closed at the end."""

from collections.abc import Iterator

import pytest

from heeler import Heeler
from rabbitmq_server import close_private_rabbitmq
from services import close_private_services


@pytest.fixture
def app() -> Iterator[Heeler]:
    with Heeler("memory://") as app:
        yield app


@pytest.fixture(scope="session", autouse=True)
def _private_services_end_with_the_tests() -> Iterator[None]:
    yield
    close_private_services()
    close_private_rabbitmq()
