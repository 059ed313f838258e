"""A hook of mkdocs: puts the tables of all settings where a page says `<!-- settings of app -->` and the like.

The rows are `heeler.config.SETTINGS`, which is also what reads the environment and the files.
"""

from __future__ import annotations

from typing import Any

from heeler.config import SETTINGS, Owner, Setting, variable


def on_page_markdown(markdown: str, **_: Any) -> str:
    for owner in Owner:
        mark = f"<!-- settings of {owner.name.lower()} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, settings_table(owner))
    return markdown


def settings_table(owner: Owner) -> str:
    rows = [_row(name, setting) for name, setting in SETTINGS.items() if setting.owner is owner]
    return "\n".join(["| Setting | Environment | Value | Default | |", "|---|---|---|---|---|", *rows])


def _row(name: str, setting: Setting) -> str:
    default = setting.shown_default or setting.default
    meaning = setting.meaning + (f" (The argument is called `{setting.argument}`.)" if setting.argument else "")
    return f"| `{name}` | `{variable(name)}` | {setting.kind.expected} | {default} | {meaning} |"
