"""`run`: a corpus from its list to its last picture."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Literal, TypeAlias, get_args

from unblur.corpus.local import Processes
from unblur.corpus.manifest import Job, Ledger, Row, Settings, Summary, begin, status, tidy, unfinished
from unblur.corpus.pool import Fleet, drive
from unblur.corpus.store import Store
from unblur.errors import OptionError
from unblur.threads import available_cores, cores

Engine: TypeAlias = Literal["local", "ray"]

Progress: TypeAlias = Callable[[int, int, int], None]
"""Called with the pictures that are done or given up, those in all, and those of this run that were given up."""

#: Rows are written this often, in seconds: what a driver that is killed does again.
FLUSH = 5.0


def run(
    source: str,
    destination: str,
    settings: Settings | None = None,
    *,
    engine: Engine = "local",
    workers: int | None = None,
    resume: bool = False,
    retry: bool = False,
    tries: int = 3,
    timeout: float = 1800.0,
    progress: Progress | None = None,
) -> Summary:
    """Restore all pictures below `source` into `destination`, each under its own relative name.

    source, destination: folders or fsspec URLs; a picture in a format that cannot be written becomes NAME.png.
    engine: processes of this machine, or actors of a Ray cluster. workers: how many, by default one a core; on this
    machine each gets its share of the cores as threads, but no more than OMP_NUM_THREADS says. resume: go on with
    what was begun at `destination`, with the list made then. retry: and try again what was given up. tries: attempts
    before a picture is given up. timeout: seconds for one picture.

    However it ends, `destination` holds whole files only, and the status tells which. Raises OptionError, FileError,
    OutputError; KeyboardInterrupt passes once the workers are ended and the status is written.
    """
    _check(engine, workers, tries, timeout)
    settings = settings or Settings()
    if os.path.isfile(settings.method):  # workers may have another working folder
        settings = replace(settings, method=os.path.abspath(settings.method))
    begun, target = Store(source), Store(destination)
    with target.locked():
        corpus = begin(begun, target, settings, resume)
        left, known = unfinished(corpus, target, retry)
        if not left:
            return status(target)
        tidy(target)
        open_: dict[int, Ledger] = {}
        given_up = 0
        flushed = time.monotonic()

        def jobs() -> Iterator[list[Job]]:
            nonlocal known
            for shard in left:
                open_[shard] = Ledger(target, shard, retry)
                known += open_[shard].done
                yield open_[shard].jobs()

        def finished(job: Job, row: Row) -> None:
            nonlocal known, given_up
            open_[job.shard].add(row)
            known += 1
            given_up += row["error"] is not None
            if open_[job.shard].complete:
                open_.pop(job.shard).flush()
            if progress is not None:
                progress(known, corpus.files, given_up)

        def tick() -> None:
            nonlocal flushed
            if time.monotonic() - flushed > FLUSH:
                flush()

        def flush() -> None:
            nonlocal flushed
            for ledger in open_.values():
                ledger.flush()
            flushed = time.monotonic()

        task = {"source": begun.url, "destination": target.url, "options": asdict(settings)}
        fleet: Fleet
        if engine == "ray":
            from unblur.corpus.ray import Actors

            actors = Actors(task, 1)
            count = workers or actors.room
            fleet = actors
        else:
            count = workers or available_cores()
            fleet = Processes(task, min(cores(), max(1, available_cores() // count)))
        to_do = sum(corpus.size(shard) for shard in left)
        try:
            drive(fleet, min(count, to_do), jobs(), finished, tries=tries, timeout=timeout, tick=tick)
        finally:
            flush()
            tidy(target)
    return status(target)


def _check(engine: str, workers: int | None, tries: int, timeout: float) -> None:
    if engine not in get_args(Engine):
        raise OptionError(f"unknown engine {engine!r}; one of {', '.join(get_args(Engine))}")
    if workers is not None and workers < 1:
        raise OptionError(f"workers must be at least 1, got {workers}")
    if tries < 1:
        raise OptionError(f"tries must be at least 1, got {tries}")
    if not timeout > 0:
        raise OptionError(f"timeout must be more than 0 seconds, got {timeout:g}")
