"""How many threads a computation may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def available_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """The cores that a computation may take: those that are available, or fewer where OMP_NUM_THREADS says so.

    That variable is how launchers and job systems tell one of many processes its share of a machine.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(available_cores(), int(told))) if told.isdecimal() else available_cores()


def spread(function: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
    """The function's value for each item, on all cores at a time. The function must not call `spread` itself."""
    return list(_pool(os.getpid(), cores()).map(function, items))


@lru_cache(maxsize=8)
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """Threads that stay: to start some for each of the thousand steps of a restoration takes a tenth of its time."""
    return ThreadPoolExecutor(workers, thread_name_prefix="step")
