"""Asks for SIGTERM when the parent dies, whatever kills it, so that no worker process is left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

__all__ = ["end_with_parent"]

PR_SET_PDEATHSIG = 1
LOOK_EVERY = 1.0


def end_with_parent(parent: int) -> None:
    """Called in a forked child. If `parent` is dead already, the child ends here."""
    if sys.platform == "linux":
        # The kernel's own way, which also works while Python code does not.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), name="heeler-parent-watch", daemon=True).start()
    if os.getppid() != parent:
        os._exit(0)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
