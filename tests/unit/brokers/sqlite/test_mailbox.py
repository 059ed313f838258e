import asyncio
import os
from pathlib import Path

import pytest

from heeler.brokers.sqlite.mailbox import Mailbox, Sender


@pytest.fixture(params=[True, False], ids=["abstract", "file"])
def abstract(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return request.param


async def test_what_is_sent_arrives(tmp_path: Path, abstract: bool) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    mailbox = Mailbox(tmp_path / "jobs.db", arrived.put_nowait, abstract=abstract)
    sender = Sender(asyncio.get_running_loop())
    assert sender.send(mailbox.address, b"hello")
    assert await arrived.get() == b"hello"
    sender.close()
    mailbox.close()
    mailbox.close()
    assert os.listdir(tmp_path) == [] or os.listdir(tmp_path / os.listdir(tmp_path)[0]) == []


async def test_a_sender_learns_that_nobody_is_there(tmp_path: Path, abstract: bool) -> None:
    mailbox = Mailbox(tmp_path / "jobs.db", lambda _: None, abstract=abstract)
    mailbox.close()
    sender = Sender(None)
    assert not sender.send(mailbox.address, b"hello")
    assert not sender.send(mailbox.address, b"hello")
    sender.close()


@pytest.mark.parametrize("address", ["", "memory:1", "/nowhere/at/all", "@" + "x" * 500, "x" * 500])
async def test_an_address_of_somebody_else_is_nobody(address: str) -> None:
    sender = Sender(asyncio.get_running_loop())
    assert not sender.send(address, b"hello")
    sender.close()


async def test_a_receiver_that_is_overrun_gets_all_in_the_end_and_in_order(tmp_path: Path, abstract: bool) -> None:
    arrived: list[int] = []
    everything = asyncio.Event()

    def take(data: bytes) -> None:
        arrived.append(int(data))
        if len(arrived) == 900:
            everything.set()

    mailbox = Mailbox(tmp_path / "jobs.db", take, abstract=abstract)
    sender = Sender(asyncio.get_running_loop())
    for number in range(900):  # no turn of the loop in between: the socket's queue runs full
        assert sender.send(mailbox.address, str(number).encode())
    async with asyncio.timeout(20):
        await everything.wait()
    assert arrived == list(range(900))
    sender.close()
    mailbox.close()
