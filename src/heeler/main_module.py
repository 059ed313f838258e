"""A script that is run directly is `__main__` to itself; this is the name that it has for all others."""

from __future__ import annotations

import functools
import os
import sys

__all__ = ["importable_module"]


@functools.lru_cache(maxsize=256)
def importable_module(name: str) -> str | None:
    """The name under which another process can import the module; None if it cannot.

    A script that is run directly is `__main__` here and elsewhere what `python -m` was given, or its path from
    the working directory (so that a worker started in the same folder finds it), or its file name.
    """
    if name != "__main__":
        return name
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__") if spec.name.endswith(".__main__") else str(spec.name)
    file = getattr(main, "__file__", None)
    if not file or not os.path.exists(file):
        return None
    path = os.path.splitext(os.path.realpath(file))[0]
    parts = os.path.relpath(path, os.getcwd()).split(os.sep)
    if not all(part.isidentifier() for part in parts):
        parts = parts[-1:]
    return ".".join(parts)
