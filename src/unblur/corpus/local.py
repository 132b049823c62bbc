"""Workers that are processes of this machine: started afresh, never forked, and fed through pipes."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from unblur.corpus.manifest import Job
from unblur.corpus.pool import Event, Worker
from unblur.corpus.worker import limits


class Process:
    """A worker process."""

    def __init__(self, task: dict[str, Any], threads: int) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        # In a session of its own: a Ctrl-C is for the driver, which then ends its workers.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "unblur.corpus.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env={**os.environ, **limits(threads)},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._begun = b""
        self._send(task)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def fileno(self) -> int:
        """What to wait for."""
        return self._stdout.fileno()

    def give(self, job: Job) -> None:
        """Hand over a job; a dead process says so by its end."""
        self._send([job.input, job.output])

    def _send(self, thing: object) -> None:
        with contextlib.suppress(OSError):
            self._stdin.write(json.dumps(thing).encode() + b"\n")
            self._stdin.flush()

    def events(self) -> Iterator[Event]:
        """What it says at the moment; blocks where it says nothing."""
        data = os.read(self.fileno(), 1 << 16)
        if not data:
            yield Event(self, "died", reason=self._end())
            return
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "ready" in said:
                yield Event(self, "ready")
            elif "refused" in said:
                yield Event(self, "refused", reason=said["refused"])
            else:
                yield Event(self, "row", row=said)

    def _end(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"its worker was killed by {signal.Signals(-code).name}"
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - 2000))
        last = self._words.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f"its worker ended with exit code {code}: {last}"

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        for file in (self._stdin, self._stdout, self._words):
            with contextlib.suppress(OSError):  # a job that it did not take any more
                file.close()


class Processes:
    """The workers of this machine. task: what `worker.Restorer` takes; threads: for each."""

    def __init__(self, task: dict[str, Any], threads: int) -> None:
        self._task, self._threads = task, threads
        self._waiting = selectors.DefaultSelector()

    def start(self) -> Process:
        """A new process."""
        process = Process(self._task, self._threads)
        self._waiting.register(process, selectors.EVENT_READ, process)
        return process

    def wait(self, seconds: float) -> Iterator[Event]:
        """What the processes say."""
        for key, _ in self._waiting.select(seconds):
            for event in key.data.events():
                if event.kind == "died":
                    self.end(key.data)
                yield event

    def end(self, worker: Worker) -> None:
        """End a process at once."""
        assert isinstance(worker, Process)
        self._waiting.unregister(worker)
        worker.kill()

    def close(self) -> None:
        """End all processes."""
        for key in list(self._waiting.get_map().values()):
            self.end(key.data)
        self._waiting.close()
