"""While a process forks, no thread of it is inside SQLite and no connection is open: a child inherits nothing of it.

A mutex of SQLite's that another thread held would stay locked in the child for ever, and the table of file locks that
SQLite keeps for its process tells of locks that a child does not have. So whoever is inside holds a gate, and a fork
takes all gates and closes what is behind them. Both processes open their connections anew at the next use.
(https://sqlite.org/howtocorrupt.html, "Carrying an open database connection across a fork()")
"""

from __future__ import annotations

import os
import threading
import weakref
from abc import ABC, abstractmethod

__all__ = ["Gated"]

_PATIENCE = 0.05  # seconds; then whoever waits gives way: a fork to who holds one gate and wants another, for example

_gates: weakref.WeakSet[Gated] = weakref.WeakSet()
_forking = threading.Lock()
_is_wanted = False  # a fork waits for gates
_held: list[Gated] = []  # by the fork that is under way


class Gated(ABC):
    """Something that is used between `enter` and `leave` only. A thread may enter again."""

    def __init__(self) -> None:
        self._gate = threading.RLock()
        with _forking:
            _gates.add(self)

    def enter(self) -> None:
        if _is_wanted and _forking.acquire(timeout=_PATIENCE):  # else a busy thread might never let it pass
            _forking.release()
        self._gate.acquire()

    def leave(self) -> None:
        self._gate.release()

    @abstractmethod
    def shut(self) -> None:
        """Be closed until the next use; called by a fork that has entered."""


def _before() -> None:
    global _is_wanted
    _forking.acquire()
    _is_wanted = True
    while not _enter_all():
        pass
    for gated in _held:
        gated.shut()


def _enter_all() -> bool:
    for gated in tuple(_gates):
        if not gated._gate.acquire(timeout=_PATIENCE):
            _leave_all()
            return False
        _held.append(gated)
    return True


def _leave_all() -> None:
    while _held:
        _held.pop().leave()


def _after_in_parent() -> None:
    global _is_wanted
    _is_wanted = False
    _leave_all()
    _forking.release()


def _after_in_child() -> None:
    global _forking, _is_wanted
    _forking = threading.Lock()
    _is_wanted = False
    _leave_all()  # by the one thread that there is, which entered them


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
