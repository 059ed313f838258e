"""A connection that is made when it is needed, and made again as the policy says."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from heeler.clock import SystemClock
from heeler.errors import BrokerUnavailable, ConfigurationError
from heeler.reconnecting import Reconnecting, ReconnectPolicy


class Server:
    """Can be reached from the attempt of that number on."""

    def __init__(self, reachable_from: int, error: type[Exception] = BrokerUnavailable) -> None:
        self.attempts = 0
        self._reachable_from = reachable_from
        self._error = error

    async def connect(self) -> str:
        self.attempts += 1
        await asyncio.sleep(0)
        if self.attempts < self._reachable_from:
            raise self._error(f"refused {self.attempts}")
        return f"connection {self.attempts}"

    def reached(self, **policy: float | None) -> Reconnecting[str]:
        return Reconnecting(self.connect, ReconnectPolicy(**policy), SystemClock(), "the server")


async def errors_of(connecting: Reconnecting[str]) -> list[BrokerUnavailable]:
    """Ask again and again until there is a connection or no hope."""
    errors: list[BrokerUnavailable] = []
    async with asyncio.timeout(10):
        while True:
            try:
                await connecting.get()
            except BrokerUnavailable as error:
                errors.append(error)
                if error.given_up:
                    return errors
            else:
                return errors
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("failures", "chance", "pause"),
    [(1, 0.0, 0.05), (2, 0.0, 0.1), (5, 0.0, 0.8), (6, 0.0, 1.0), (1000, 0.0, 1.0), (1, 0.999, 0.025), (6, 0.5, 0.75)],
)
def test_pauses_double_up_to_the_longest_and_are_up_to_half_shorter(failures: int, chance: float, pause: float) -> None:
    assert ReconnectPolicy().pause(failures, chance) == pytest.approx(pause, rel=0.01)


async def test_all_who_ask_at_once_share_one_attempt() -> None:
    server = Server(1)
    connecting = server.reached()
    assert await asyncio.gather(*(connecting.get() for _ in range(5))) == ["connection 1"] * 5
    assert server.attempts == 1
    connecting.lost()
    assert await connecting.get() == "connection 2"


async def test_who_gives_a_time_is_made_to_wait_for_the_next_attempts() -> None:
    connecting = Server(4).reached(delay=0.001)
    assert await connecting.get(asyncio.get_running_loop().time() + 10) == "connection 4"


async def test_who_gives_none_gets_the_last_error_during_a_pause() -> None:
    server = Server(3)
    connecting = server.reached(delay=60.0, max_delay=60.0)
    for _ in range(3):
        with pytest.raises(BrokerUnavailable, match="refused 1"):
            await connecting.get()
    with pytest.raises(BrokerUnavailable, match="refused 1"):  # the pause ends after that time
        await connecting.get(asyncio.get_running_loop().time() + 1)
    assert server.attempts == 1


async def test_an_attempt_that_takes_too_long_is_not_waited_for() -> None:
    connecting = Reconnecting(asyncio.Event().wait, ReconnectPolicy(), SystemClock(), "the server")
    with pytest.raises(BrokerUnavailable, match="the server cannot be reached in time"):
        await connecting.get(asyncio.get_running_loop().time() + 0.01)
    await connecting.close()


async def test_after_as_many_attempts_as_are_allowed_it_is_given_up() -> None:
    server = Server(10)
    errors = await errors_of(server.reached(attempts=3, delay=0.001))
    assert server.attempts == 3
    assert str(errors[-1]) == "refused 3; given up after 3 attempts (reconnect_attempts=3)"
    assert not any(error.given_up for error in errors[:-1])


async def test_who_asks_after_that_finds_the_server_when_it_is_back() -> None:
    connecting = Server(4).reached(attempts=2, delay=0.0)
    for attempts in (2, 3):
        assert f"given up after {attempts} attempts" in str((await errors_of(connecting))[-1])
    await errors_of(connecting)
    assert connecting.current == "connection 4"


async def test_a_connection_in_between_starts_the_count_anew() -> None:
    answers = itertools.cycle([True, False, True])

    async def connect() -> str:
        if next(answers):
            raise BrokerUnavailable("refused")
        return "connection"

    connecting = Reconnecting(connect, ReconnectPolicy(attempts=3, delay=0.001), SystemClock(), "the server")
    for _ in range(5):
        assert not any(error.given_up for error in await errors_of(connecting))
        connecting.lost()


async def test_a_wrong_setting_is_said_at_once_also_to_who_would_wait() -> None:
    server = Server(9, ConfigurationError)
    connecting = server.reached(delay=60.0, max_delay=60.0)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="refused 1"):
            await connecting.get(asyncio.get_running_loop().time() + 60)


async def test_after_the_close_there_is_none() -> None:
    connecting = Server(1).reached()
    await connecting.close()
    with pytest.raises(BrokerUnavailable, match="closed in this process"):
        await connecting.get()
