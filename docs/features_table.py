"""A hook of mkdocs: puts the table of what each broker promises where a page says `<!-- features -->`.

The rows are the fields of `heeler.contracts.Features`, explained by the comments that stand beside them in the
source; the columns are the brokers' own `features`. So the table cannot say anything that the code does not.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from heeler import Features, Heeler

BROKERS: dict[str, tuple[str, str | None]] = {
    "`memory://`": ("memory://", None),
    "`sqlite:///`": ("sqlite:///jobs.db", None),
    "`redis://`": ("redis://", None),
    "`amqp://` with results in `redis://`": ("amqp://", "redis://"),
    "`amqp://` with results in `sqlite:///`": ("amqp://", "sqlite:///results.db"),
    "`amqp://` with `rpc://` or `none://`": ("amqp://", "rpc://"),
}
MARK = "<!-- features -->"
FIELD = re.compile(r"^    (?P<name>\w+): bool = \w+(?:  # (?P<meaning>.*))?$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    return markdown.replace(MARK, features_table()) if MARK in markdown else markdown


def features_table() -> str:
    lines: list[str] = []
    # Nothing is opened by that.
    said = [Heeler(url, results=results).connections.broker.features for url, results in BROKERS.values()]
    for line in inspect.getsource(Features).splitlines():
        field = FIELD.match(line)
        if line.strip() in ("# promises", "# preferences"):
            lines += _head(line.strip().removeprefix("# ").capitalize())
        elif field is not None:
            answers = ["yes" if getattr(features, field["name"]) else "no" for features in said]
            lines.append(f"| `{field['name']}` | {field['meaning'] or ''} | {' | '.join(answers)} |")
    assert len([line for line in lines if line.startswith("| `")]) == len(Features.__struct_fields__)
    return "\n".join(lines)


def _head(kind: str) -> list[str]:
    return ["", f"## {kind}", "", f"| | meaning | {' | '.join(BROKERS)} |", "|---|---|" + "---|" * len(BROKERS)]
