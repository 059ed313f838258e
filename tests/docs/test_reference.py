"""What the reference lists by hand is what the code has."""

from __future__ import annotations

import asyncio
import inspect
import re
import runpy
from pathlib import Path

from prometheus_client import CollectorRegistry

from heeler import Task
from heeler.app import TaskKeywords
from heeler.config import SETTINGS, variable
from heeler.contracts import QueueSize
from heeler.prometheus import Exposition, PrometheusMetrics

DOCS = Path(__file__).parents[2] / "docs"


def test_every_option_of_a_task_is_in_the_table_and_marked_if_using_takes_it() -> None:
    rows = re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| (✓?) ?\|", (DOCS / "reference/api.md").read_text("utf-8"), re.MULTILINE
    )
    listed = {name: bool(mark) for names, mark in rows for name in re.findall(r"\w+", names)}
    options = {*TaskKeywords.__annotations__, "takes_context", "id_as_first_arg"}
    assert listed.keys() == options
    overridable = set(inspect.signature(Task.using).parameters)
    assert {name for name, mark in listed.items() if mark} == options & overridable


def test_what_using_takes_besides_is_named() -> None:
    sentence = re.search(r"`using` further takes\n(.*?)\.", (DOCS / "reference/api.md").read_text("utf-8"), re.DOTALL)
    assert sentence is not None
    named = set(re.findall(r"`(\w+)`", sentence[1]))
    options = {*TaskKeywords.__annotations__, "takes_context", "id_as_first_arg"}
    assert named == set(inspect.signature(Task.using).parameters) - {"self"} - options


def test_every_how_to_page_is_in_its_index() -> None:
    index = (DOCS / "how-to/index.md").read_text("utf-8")
    for page in (DOCS / "how-to").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index


def test_every_decision_is_in_its_index_and_has_its_parts() -> None:
    index = (DOCS / "decisions/index.md").read_text("utf-8")
    for page in (DOCS / "decisions").glob("0*.md"):
        text = page.read_text("utf-8")
        assert f"({page.name})" in index
        assert text.startswith(f"# {page.name[:4]} ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_words_of_the_glossary_are_in_order() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE)
    assert words == sorted(words)


def test_every_setting_is_in_one_of_the_tables_of_the_configuration() -> None:
    hook = runpy.run_path(str(DOCS / "settings_table.py"))
    text = hook["on_page_markdown"]((DOCS / "reference/configuration.md").read_text("utf-8"))
    assert "<!--" not in text
    for name in SETTINGS:
        assert f"| `{name}` | `{variable(name)}` |" in text


def test_every_metric_is_in_the_table_with_its_labels() -> None:
    registry = CollectorRegistry()
    PrometheusMetrics(registry)
    sizes = [QueueSize(queue="q", oldest=1.0)]

    async def queues() -> list[QueueSize]:
        return sizes

    text = asyncio.run(Exposition(registry, queues).text()).decode()
    there = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    page = (DOCS / "how-to/metrics.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(heeler_\w+)` \|", page, re.MULTILINE)) == there
