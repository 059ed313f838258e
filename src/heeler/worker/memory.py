"""How much memory this process takes, as far as the standard library can tell."""

from __future__ import annotations

import os
import resource
import sys

__all__ = ["resident_bytes"]

_STATM = "/proc/self/statm"  # sizes in pages: total, resident, …; see proc(5)


def resident_bytes() -> int:
    """The bytes resident now; where the system tells only that, the most there ever were."""
    try:
        with open(_STATM, encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
