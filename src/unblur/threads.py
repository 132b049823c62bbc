"""How many threads a computation may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """The cores that a computation may take: those that are available, or fewer where OMP_NUM_THREADS says so.

    That variable is how launchers and job systems tell one of many processes its share of a machine.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(available_cores(), int(told))) if told.isdecimal() else available_cores()
