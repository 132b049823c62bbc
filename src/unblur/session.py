"""Many pictures: a session that threads and asyncio tasks share, and a stream that reads ahead."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias, TypedDict, Unpack, overload

from numpy.typing import NDArray

from unblur import tiling
from unblur.engine import Picture, Plan, Progress, Result
from unblur.errors import OptionError, UnblurError
from unblur.physics.blur import Blur

OnError: TypeAlias = Literal["raise", "return"]
"""What a stream does with a picture that fails."""


class _Task(NamedTuple):
    future: Future[Result]
    stop: threading.Event

    def cancel(self) -> None:
        self.stop.set()
        self.future.cancel()


class Session:
    """The options of `unblur.restore` for many pictures, with the models loaded once.

    Threads and asyncio tasks may share one; at most `workers` pictures are restored at a time, and the others
    wait. They share the `memory`. Results are those of `unblur.restore`, bit for bit, as long as tiles are of one
    size. Use it as a context manager, plain or asynchronous, or call `close`.

    Raises what `unblur.restore` raises of its options, and OptionError without workers.
    """

    def __init__(
        self,
        method: str = "auto",
        strength: float = 1.0,
        kernel: NDArray[Any] | str | os.PathLike[str] | None = None,
        sigma: float | None = None,
        memory: int | str | None = None,
        iterations: int | None = None,
        *,
        blur: Blur | None = None,
        workers: int = 2,
    ) -> None:
        if workers < 1:
            raise OptionError(f"workers must be at least 1, got {workers}")
        plan = Plan.make(method, strength, kernel, sigma, memory, iterations, blur)
        plan.load()
        self._workers = workers
        self._plan = replace(plan, workers=workers, idle=tiling.memory_in_use())
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="unblur")
        self._tasks: set[_Task] = set()
        self._lock = threading.Lock()
        self._closed = False

    def restore(self, picture: Picture, *, progress: Progress | None = None) -> Result:
        """Restore a picture as `unblur.restore` does. `progress` is called in another thread.

        Raises what `unblur.restore` raises of a picture, OptionError once the session is closed.
        """
        return self._wait(self._submit(picture, progress))

    async def arestore(self, picture: Picture, *, progress: Progress | None = None) -> Result:
        """Restore a picture while the event loop goes on; otherwise as `restore`.

        Where the awaiting task is cancelled, a picture that waits is not begun, and one that is being restored is
        given up after the tile it is at.
        """
        task = self._submit(picture, progress)
        try:
            return await asyncio.wrap_future(task.future)
        except asyncio.CancelledError:
            task.cancel()
            awaiting = asyncio.current_task()
            if self._closed and not (awaiting and awaiting.cancelling()):
                raise OptionError(_CLOSED) from None
            raise

    @overload
    def stream(
        self,
        pictures: Iterable[Picture],
        *,
        ahead: int | None = None,
        on_error: Literal["raise"] = "raise",
    ) -> Iterator[Result]: ...

    @overload
    def stream(
        self, pictures: Iterable[Picture], *, ahead: int | None = None, on_error: OnError
    ) -> Iterator[Result | UnblurError]: ...

    def stream(
        self, pictures: Iterable[Picture], *, ahead: int | None = None, on_error: OnError = "raise"
    ) -> Iterator[Result | UnblurError]:
        """Restore pictures one after another; results in order, each as soon as it and those before it are done.

        `pictures` may be endless: no more than `ahead` (twice the workers) are taken from it before their results
        are. While the caller handles a result, the next pictures are read and restored. on_error: "raise" ends the
        stream with the error of the first picture that fails, "return" gives the error in place of its result.
        An iterator that is closed, or dropped, leaves nothing running.

        Raises OptionError for `ahead` below 1 and an unknown `on_error`.
        """
        ahead = 2 * self._workers if ahead is None else ahead
        if ahead < 1:
            raise OptionError(f"ahead must be at least 1, got {ahead}")
        if on_error not in ("raise", "return"):
            raise OptionError(f"on_error must be 'raise' or 'return', got {on_error!r}")
        return self._stream(iter(pictures), ahead, on_error)

    def close(self) -> None:
        """Give up what waits, and what runs after the tile it is at; returns when nothing runs any more."""
        with self._lock:
            self._closed = True
            tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def _submit(self, picture: Picture, progress: Progress | None = None) -> _Task:
        stop = threading.Event()

        def step(done: int, total: int) -> None:
            if stop.is_set():
                raise CancelledError
            if progress is not None:
                progress(done, total)

        with self._lock:
            if self._closed:
                raise OptionError(_CLOSED)
            task = _Task(self._pool.submit(self._plan.restore, picture, step), stop)
            self._tasks.add(task)
        task.future.add_done_callback(lambda _: self._forget(task))
        return task

    def _forget(self, task: _Task) -> None:
        with self._lock:
            self._tasks.discard(task)

    def _wait(self, task: _Task) -> Result:
        try:
            return task.future.result()
        except CancelledError:
            raise OptionError(_CLOSED) from None
        except BaseException:
            task.cancel()  # Ctrl-C arrives here, not in the thread that works
            raise

    def _stream(
        self, pictures: Iterator[Picture], ahead: int, on_error: OnError
    ) -> Iterator[Result | UnblurError]:
        tasks: deque[_Task] = deque()
        try:
            index = 0
            while True:
                tasks.extend(map(self._submit, islice(pictures, ahead - len(tasks))))
                if not tasks:
                    return
                outcome: Result | UnblurError
                try:
                    outcome = self._wait(tasks[0])
                except UnblurError as error:
                    if on_error == "raise" or self._closed:
                        error.add_note(f"picture {index} of the stream")
                        raise
                    outcome = error
                tasks.popleft()
                index += 1
                yield outcome
        finally:
            for task in tasks:
                task.cancel()
            wait([task.future for task in tasks])


class SessionOptions(TypedDict, total=False):
    """The options of `Session`, as keywords."""

    method: str
    strength: float
    kernel: NDArray[Any] | str | os.PathLike[str] | None
    sigma: float | None
    memory: int | str | None
    iterations: int | None
    blur: Blur | None
    workers: int


@overload
def restore_stream(
    pictures: Iterable[Picture],
    *,
    ahead: int | None = None,
    on_error: Literal["raise"] = "raise",
    **options: Unpack[SessionOptions],
) -> Iterator[Result]: ...


@overload
def restore_stream(
    pictures: Iterable[Picture],
    *,
    ahead: int | None = None,
    on_error: OnError,
    **options: Unpack[SessionOptions],
) -> Iterator[Result | UnblurError]: ...


def restore_stream(
    pictures: Iterable[Picture],
    *,
    ahead: int | None = None,
    on_error: OnError = "raise",
    **options: Unpack[SessionOptions],
) -> Iterator[Result | UnblurError]:
    """Restore pictures one after another: `Session.stream` of a session of its own, made with `options`.

    Raises what `Session` and `Session.stream` raise.
    """
    session = Session(**options)
    results = session.stream(pictures, ahead=ahead, on_error=on_error)

    def run() -> Iterator[Result | UnblurError]:
        with session:
            yield from results

    return run()


_CLOSED = "the session is closed; make another one"
