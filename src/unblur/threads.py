"""How many threads a computation may use."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")

#: Of a thread that `abreast` has started: how many share the cores, itself included, and the pool of its own part.
_sharing = threading.local()


def available_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """The cores that a computation may take: those that are available, or fewer where OMP_NUM_THREADS says so.

    That variable is how launchers and job systems tell one of many processes its share of a machine.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    count = min(available_cores(), int(told)) if told.isdecimal() else available_cores()
    return max(1, count // getattr(_sharing, "threads", 1))


def spread(function: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
    """The function's value for each item, on all cores at a time. The function must not call `spread` itself."""
    if cores() == 1:
        return [function(item) for item in items]
    pool = getattr(_sharing, "pool", None) or _pool(os.getpid(), cores())
    return list(pool.map(function, items))


def abreast(function: Callable[[Item], Value], items: Iterable[Item], workers: int) -> Generator[Value]:
    """The function's value for each item, in order, so many items at a time: each has its part of the cores.

    No more than that are begun before the values of those before them are taken. To be closed by who does not take all.
    """
    if workers == 1:
        yield from map(function, items)
        return

    def begin() -> None:
        _sharing.threads = workers
        _sharing.pool = ThreadPoolExecutor(cores(), thread_name_prefix="step")

    waiting: deque[Future[Value]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="abreast", initializer=begin) as pool:
        try:
            for item in items:
                if len(waiting) == workers:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=8)
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """Threads that stay: to start some for each of the thousand steps of a restoration takes a tenth of its time."""
    return ThreadPoolExecutor(workers, thread_name_prefix="step")
