"""What a forked child has to forget: threads, loops and connections that are its parent's."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

__all__ = ["call_in_child"]

_methods: list[weakref.WeakMethod[Callable[[], None]]] = []


def call_in_child(method: Callable[[], None]) -> None:
    """Call the bound method in every child forked from now on while its object lives, in the order of registration."""
    _methods[:] = [known for known in _methods if known() is not None]
    _methods.append(weakref.WeakMethod(method))


def _call_all() -> None:
    for known in _methods:
        method = known()
        if method is not None:
            method()


os.register_at_fork(after_in_child=_call_all)
