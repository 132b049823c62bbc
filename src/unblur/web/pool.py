"""Work in processes that can be ended: a picture that takes too long, or brings a decoder down, costs only its worker.

The executors of the standard library cannot end a call that runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

from unblur.web.refusal import Refusal

Job = TypeVar("Job")
Done = TypeVar("Done")

_log = logging.getLogger("unblur.web")

#: A fresh process, whatever threads this one has by now.
_CONTEXT = multiprocessing.get_context("spawn")

#: A worker that is still at it gets so long to end by itself, in seconds.
_GRACE = 2.0


class Pool(Generic[Job, Done]):
    """So many processes that call `function`, importable by name, with one job each.

    seconds: a job that takes longer is given up, and so is one that waits longer for a worker.
    """

    def __init__(self, function: Callable[[Job], Done], workers: int, seconds: float) -> None:
        self._seconds = seconds
        self._workers = [_Worker(function) for _ in range(workers)]
        self._idle: asyncio.Queue[_Worker[Job, Done]] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(workers, "unblur-worker")

    def start(self) -> None:
        """Start the processes; they take their first job as soon as they have imported what they need."""
        for worker in self._workers:
            worker.start()
            self._idle.put_nowait(worker)

    def stop(self) -> None:
        """End the processes, whatever they do."""
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, job: Job, gone: Callable[[], Awaitable[bool]]) -> Done:
        """What `function` makes of `job`, unless the client is `gone` when its turn comes.

        Raises Refusal where time ran out, the client left or the worker died.
        """
        try:
            async with asyncio.timeout(self._seconds):
                worker = await self._idle.get()
        except TimeoutError:
            raise Refusal(503, "busy", "Too many pictures are being restored; try again later.", 10) from None
        if await gone():
            self._idle.put_nowait(worker)
            raise Refusal(499, "gone", "The client did not wait.")
        asked = asyncio.get_running_loop().run_in_executor(self._threads, worker.ask, job, self._seconds)

        def free(answer: asyncio.Future[Done]) -> None:
            answer.exception()  # seen, should nobody wait for it any more
            self._idle.put_nowait(worker)

        asked.add_done_callback(free)
        # Its worker is busy until it has answered, whether or not anybody still waits.
        return await asyncio.shield(asked)


class _Worker(Generic[Job, Done]):
    """One process and the pipe to it."""

    def __init__(self, function: Callable[[Job], Done]) -> None:
        self._function = function
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(theirs, self._function), daemon=True)
        self._process.start()
        theirs.close()

    def end(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._process.terminate()
            self._process.join(_GRACE)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._pipe.close()

    def ask(self, job: Job, seconds: float) -> Done:
        if self._process is None or not self._process.is_alive():
            self.start()
        assert self._pipe is not None
        try:
            self._pipe.send(job)
            if self._pipe.poll(seconds):
                done: Done = self._pipe.recv()
                return done
            failure = Refusal(
                504, "too_slow", f"The picture took longer than {seconds:g} s and was given up."
            )
        except (EOFError, OSError):
            _log.error("a worker died and is replaced")
            failure = Refusal(500, "died", "The picture could not be restored here: the work broke off.")
        self.end()
        self.start()
        raise failure


def _work(pipe: Connection, function: Callable[[Job], Done]) -> None:
    """The life of a worker: until the other end of the pipe is closed."""
    # A Ctrl-C goes to all processes of a terminal; the server ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(function(pipe.recv()))
