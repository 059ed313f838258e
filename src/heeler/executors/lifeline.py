"""A pipe by whose end a process dies, so that no child outlives its worker, however that one ends.

The worker holds the writing end and never writes. When it closes that end, or the kernel does because the worker is
gone, the kernel itself signals the holder of the reading end: at once, also in the midst of C code that never
returns to Python, and without a process id that might belong to somebody else by then.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal

__all__ = ["die_when_cut"]


def die_when_cut(lifeline: int) -> None:
    """From now on the end of this pipe kills the caller's process group, of which it becomes the leader.

    So what a killed child has started dies with it. Linux sends SIGKILL; elsewhere SIGIO, which ends a process too.
    """
    os.setpgid(0, 0)
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    else:
        signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    ended = select.poll()
    ended.register(lifeline)
    if ended.poll(0):  # it was cut before we asked for the signal
        os._exit(1)
