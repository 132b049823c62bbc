"""Who restores what: jobs out, rows in, workers replaced. Knows neither processes nor clusters, only a `Fleet`.

A worker has at most two jobs, one at work and one at hand, so that none waits for the other and nothing piles up.
A job that fails, or whose worker dies or takes too long, goes to the end of the queue until it has been tried often
enough; a job that only waited behind it is given to another worker as if nothing had been.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from unblur.corpus.manifest import Job, Row
from unblur.errors import FileError, OptionError, OutputError, UnblurError

#: Jobs that a worker has at once.
AHEAD = 2

#: So many workers in a row may die before they are ready.
_STILLBORN = 5

#: After so many pictures in a row that cannot be read it is the store that cannot.
_UNREADABLE = 50

#: Seconds between looks at the clock.
_TICK = 0.5


class Worker(Protocol):
    """Something that does the jobs that it is given, in order."""

    def give(self, job: Job) -> None:
        """Hand over a job, without waiting."""


class Event(NamedTuple):
    """What a worker has to say: that it is `ready`, `refused` to start, the `row` of its first job, or `died`."""

    worker: Worker
    kind: str
    row: Row | None = None
    reason: str = ""


class Fleet(Protocol):
    """Where workers come from."""

    def start(self) -> Worker:
        """A new worker, which is not ready yet."""

    def wait(self, seconds: float) -> Iterable[Event]:
        """What happened, waiting no longer than that for something to happen."""

    def end(self, worker: Worker) -> None:
        """End a worker at once; no event of it follows."""

    def close(self) -> None:
        """End all workers."""


@dataclass(eq=False)
class _Member:
    ready: bool = False
    jobs: deque[Job] = field(default_factory=deque)
    since: float = 0.0  # when the first of its jobs began


class _Pool:
    def __init__(
        self,
        fleet: Fleet,
        shards: Iterator[list[Job]],
        finished: Callable[[Job, Row], None],
        tries: int,
        timeout: float,
    ) -> None:
        self._fleet, self._shards, self._finished = fleet, shards, finished
        self._tries, self._timeout = tries, timeout
        self._members: dict[Worker, _Member] = {}
        self._queue: deque[Job] = deque()
        self._failures: dict[str, int] = {}
        self._stillborn = self._unreadable = 0

    def run(self, workers: int, tick: Callable[[], None]) -> None:
        for _ in range(workers):
            self._members[self._fleet.start()] = _Member()
        while self._fill():
            for event in self._fleet.wait(_TICK):
                self._heed(event)
            self._end_the_slow()
            tick()

    def _fill(self) -> bool:
        """Give what can be given; whether anything is still to be done."""
        for depth in range(1, AHEAD + 1):  # a first job for everyone before a second for anyone
            for worker, member in self._members.items():
                if member.ready and len(member.jobs) < depth and (job := self._next()):
                    if not member.jobs:
                        member.since = time.monotonic()
                    member.jobs.append(job)
                    worker.give(job)
        return self._has_more() or any(member.jobs for member in self._members.values())

    def _has_more(self) -> bool:
        while not self._queue:
            shard = next(self._shards, None)
            if shard is None:
                return False
            self._queue.extend(shard)
        return True

    def _next(self) -> Job | None:
        return self._queue.popleft() if self._has_more() else None

    def _heed(self, event: Event) -> None:
        member = self._members.get(event.worker)
        if member is None:
            return
        if event.kind == "ready":
            member.ready, self._stillborn = True, 0
        elif event.kind == "refused":
            raise OptionError(event.reason)
        elif event.kind == "died":
            self._replace(event.worker, event.reason)
        else:
            assert event.row is not None
            job, member.since = member.jobs.popleft(), time.monotonic()
            if event.row["error"] is None:
                self._unreadable = 0
                self._finish(job, event.row)
            else:
                self._failed(job, event.row["error"], event.row["stage"])

    def _end_the_slow(self) -> None:
        now = time.monotonic()
        for worker, member in list(self._members.items()):
            if member.jobs and now - member.since > self._timeout:
                self._fleet.end(worker)
                self._replace(worker, f"took longer than {self._timeout:g} s")

    def _replace(self, worker: Worker, reason: str) -> None:
        member = self._members.pop(worker)
        if not member.ready:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise UnblurError(f"workers do not start: {reason}")
        waiting = list(member.jobs)
        self._queue.extendleft(reversed(waiting[1:]))
        if waiting:
            self._failed(waiting[0], reason, "restore")
        self._members[self._fleet.start()] = _Member()

    def _failed(self, job: Job, reason: str, stage: str) -> None:
        tried = self._failures[job.input] = self._failures.get(job.input, 0) + 1
        if tried < self._tries:
            self._queue.append(job)
            return
        if stage == "write":  # not the picture's fault, and the next one would fare no better
            raise OutputError(f"stopped, --resume goes on from here: {reason}")
        self._unreadable = self._unreadable + 1 if stage == "read" else 0
        if self._unreadable >= _UNREADABLE:
            raise FileError(
                f"stopped, {_UNREADABLE} pictures in a row cannot be read, --resume --retry tries them again: {reason}"
            )
        self._finish(job, {"input": job.input, "error": reason})

    def _finish(self, job: Job, row: dict[str, Any]) -> None:
        attempts = self._failures.pop(job.input, 0) + (row["error"] is None)
        self._finished(job, {**row, "attempts": attempts})


def drive(
    fleet: Fleet,
    workers: int,
    shards: Iterator[list[Job]],
    finished: Callable[[Job, Row], None],
    *,
    tries: int,
    timeout: float,
    tick: Callable[[], None],
) -> None:
    """Have `workers` workers do the jobs of all shards, and close the fleet whatever happens.

    finished: called once for each job with its row; `error` is not None where it was given up after `tries`.
    timeout: seconds that a picture may take. tick: called every half second or more often.

    Raises OptionError for what the workers refuse to do, OutputError where results cannot be written, FileError
    where nothing can be read any more, UnblurError where workers do not even start.
    """
    try:
        _Pool(fleet, shards, finished, tries, timeout).run(workers, tick)
    finally:
        fleet.close()
