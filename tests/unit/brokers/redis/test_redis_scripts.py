"""The Lua files: what their heads promise, and that a server which forgets them is told again."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from redis_site import Site

from heeler.brokers.redis.masters import slot_of
from heeler.brokers.redis.scripts import script
from heeler.testing.conformance import make_envelope, publish

LUA = Path(str(files("heeler.brokers.redis") / "lua"))
PARTS = {path.stem for path in LUA.glob("*.lua") if path.read_text("utf-8").startswith("-- Part: ")}
SCRIPTS = {path.stem for path in LUA.glob("*.lua")} - PARTS


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_the_head_of_a_script_says_what_it_takes_and_returns(name: str) -> None:
    head = (LUA / f"{name}.lua").read_text("utf-8").split("\n\n")[0]
    assert "-- Needs: start" in head
    assert re.search(r"^-- takes: ", head, re.MULTILINE)
    assert re.search(r"^-- returns: ", head, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_has_the_functions_of_its_parts_that_it_calls_and_no_others(name: str) -> None:
    text = re.sub(r"--.*", "", script(name).text.decode())
    own = re.sub(r"--.*", "", (LUA / f"{name}.lua").read_text("utf-8"))
    defined = {function for part in PARTS for function in _functions((LUA / f"{part}.lua").read_text("utf-8"))}
    kept = _functions(text)
    called = {function for function in defined if re.search(rf"(?<![.\w])(?<!function ){function}\(", text)}
    assert called <= kept
    named = set(re.findall(r"(?<!local function )\b\w+", text))
    assert kept <= named | _functions(own)


def _functions(text: str) -> set[str]:
    return set(re.findall(r"^ *local function (\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(SCRIPTS))
async def test_a_script_is_lua_that_the_server_understands(site: Site, name: str) -> None:
    broker = await site.open()
    sha = await broker.link().command("SCRIPT", "LOAD", script(name).text)
    assert sha == script(name).sha


async def test_scripts_are_loaded_again_after_the_server_has_forgotten_them(site: Site) -> None:
    worker = await site.worker()
    await publish(worker.broker, make_envelope("before"))
    await worker.broker.link().command("SCRIPT", "FLUSH")
    await publish(worker.broker, make_envelope("after"))
    taken = await worker.take(2)
    await worker.broker.link().command("SCRIPT", "FLUSH")
    await worker.succeed(*taken)


@pytest.mark.parametrize(("key", "slot"), [("{123456789}:", 12739), ("{a}:x", 15495)])
def test_the_slot_of_a_namespace(key: str, slot: int) -> None:
    assert slot_of(key) == slot
