"""The map of the code shows the code: the layers in their order, and files that are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
FILE = re.compile(r"`((?:[a-z_]+/)*(?:[a-z_]+\.py|[a-z_]+/|\*\.sql))`")
LAYER = re.compile(r"^([a-z_]+(?: \| [a-z_]+)*)", re.MULTILINE)


def test_it_fits_on_two_hundred_lines() -> None:
    assert len(TEXT.splitlines()) <= 200


def test_the_layers_are_those_that_are_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    shown = LAYER.findall(TEXT.split("```text\n")[1].split("```")[0])
    assert shown == layers


def test_every_file_that_it_names_is_there() -> None:
    named = [name for name in FILE.findall(TEXT) if "*" not in name]
    assert len(named) > 20
    for name in named:
        assert (ROOT / "src" / "heeler" / name).exists() or (ROOT / name).exists(), name
