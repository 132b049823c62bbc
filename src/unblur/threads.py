"""How many threads a computation may use."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores that this process may run on, or fewer where OMP_NUM_THREADS says so.

    That variable is how launchers and job systems tell one of many processes its share of a machine.
    """
    have = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(have, int(told))) if told.isdecimal() else have
