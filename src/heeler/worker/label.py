"""How log lines and errors call a worker, so that none says "worker worker-1"."""

from __future__ import annotations

__all__ = ["label_of"]


def label_of(name: str) -> str:
    """The name, with the word "worker" before it where it does not begin with that itself."""
    return name if name.lower().startswith("worker") else f"worker {name}"
