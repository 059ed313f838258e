"""Two settings of the interpreter that a working process needs, and that nobody should notice afterwards."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["tuned_interpreter"]

SWITCH_INTERVAL = 0.001  # at Python's default of 5 ms a busy task loop makes the I/O thread wait that long
COLLECT_AFTER = 10_000  # at the default of 700 the collector looks at the same few thousand jobs in hand over and over

_lock = threading.Lock()
_workers = 0
_switch_interval = 0.0
_thresholds = (0, 0, 0)


@contextmanager
def tuned_interpreter() -> Iterator[None]:
    """Set them while a worker works; the last of several in a process restores what was before."""
    global _workers, _switch_interval, _thresholds
    with _lock:
        if _workers == 0:
            _switch_interval, _thresholds = sys.getswitchinterval(), gc.get_threshold()
            sys.setswitchinterval(min(_switch_interval, SWITCH_INTERVAL))
            if 0 < _thresholds[0] < COLLECT_AFTER:  # 0: the program has switched it off
                gc.set_threshold(COLLECT_AFTER, *_thresholds[1:])
        _workers += 1
    try:
        yield
    finally:
        with _lock:
            _workers -= 1
            if _workers == 0:
                sys.setswitchinterval(_switch_interval)
                gc.set_threshold(*_thresholds)
