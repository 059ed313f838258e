"""The SQL of this broker, read from the `.sql` files beside it; a head there says what each statement is for."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

from heeler.errors import ConfigurationError

__all__ = ["LATEST_VERSION", "Statements", "migration", "statements_of"]

Statements = dict[str, str]

_HEAD = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_NAMESPACE = re.compile(r"(?!sqlite)[a-z0-9][a-z0-9_.:-]{0,79}", re.IGNORECASE)
_TABLE = re.compile(r"\{ns\}_(\w+)")
LATEST_VERSION = 6


@lru_cache
def statements_of(namespace: str) -> Statements:
    """Every statement by its name, for the tables of this namespace.

    Raises ConfigurationError for a namespace that cannot begin a table's name.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise ConfigurationError(
            f"namespace {namespace!r} cannot be used on SQLite: it begins the names of tables, so it takes up to 80 "
            f"letters, digits and _ . : -, begins with a letter or digit, and not with sqlite"
        )
    statements: Statements = {}
    for file in (files(__package__) / "statements").iterdir():
        if file.name.endswith(".sql"):
            parts = _HEAD.split(file.read_text("utf-8"))
            for name, text in zip(parts[1::2], parts[2::2], strict=True):
                statements[name] = _named(_bare(text), namespace)
    return statements


def migration(version: int, namespace: str) -> str:
    """The script that brings the tables of a namespace from the version before to this one."""
    return _named((files(__package__) / "schema" / f"{version:04}.sql").read_text("utf-8"), namespace)


def _named(text: str, namespace: str) -> str:
    return _TABLE.sub(rf'"{namespace}_\1"', text)


def _bare(text: str) -> str:
    """The statement without its comments, so that SQLite and its statement cache read no more than they need."""
    return "\n".join(line for line in text.splitlines() if line and not line.lstrip().startswith("--"))
