"""Corpora: what the engine costs over `unblur.restore` in a loop, and what a second worker gains.

    scripts/bench corpus [--data DIR] [--pictures 8] [--megapixels 0.5] [--method wiener] [--repeats 5]

JPEG photographs blurred by a Gaussian are made from the pictures of DIR, without it from those of scikit-image, in a
temporary folder. In turn, `repeats` times, they are restored and saved

- bare: by a loop over `unblur.restore`, one process, one thread,
- by a corpus with one worker, and with two, one thread each,
- by two such loops at once, each on half of the pictures, that know nothing of each other: what the cores allow.

Of each process the start-up (from its start until it is ready: Python, libraries, models) is told apart from the steady
part, which is counted from the end of its first picture to that of its last. Medians are told, and of ratios the
medians of what one turn gave. "Between" is the share of a worker's time in which it has no picture. What else runs on
the machine disturbs the time on the clock more than the processor time. Pictures of a DIR that take unlike times make
the figures of two processes uncertain, unless they are many.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import unblur
from unblur import files
from unblur.corpus import run as corpus
from unblur.corpus.local import Processes
from unblur.corpus.manifest import Settings
from unblur.corpus.pool import Event
from unblur.corpus.worker import limits
from unblur.image import from_array, to_array
from unblur.physics.convolve import gaussian_blur

#: Photographs that come with scikit-image, and take nearly the same time: then it matters little who has which.
NAMES = ("astronaut", "chelsea", "coffee", "retina", "rocket")
SIGMA, NOISE = 1.5, 0.005


class Mark(NamedTuple):
    """A process at the end of a picture: the time, its processor time so far, and the seconds that it counts itself."""

    at: float
    cpu: float
    seconds: float = 0.0


class Pace(NamedTuple):
    """startup: seconds until all are ready. each: seconds a picture, of all processes together. cpu: processor time
    a picture. idle: share of its time that a process spends between pictures."""

    startup: float
    each: float
    cpu: float
    idle: float


def make(data: Path | None, folder: Path, count: int, megapixels: float) -> None:
    """`count` pictures of one size: those that there are, turned about, mirrored at their borders or cut."""
    if data is None:
        from skimage import data as pictures

        found = [getattr(pictures, name)() for name in NAMES]
    else:
        paths = sorted(path for path in data.rglob("*") if path.suffix.lower() in files.READABLE)[:count]
        found = [files.Source.open(path).read() for path in paths]
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    rng = np.random.default_rng(0)
    for index in range(count):
        picture = np.rot90(found[index % len(found)], index // len(found))
        missing = [(0, max(0, side - had)) for side, had in zip((height, width), picture.shape, strict=False)]
        crop = np.pad(picture, (*missing, (0, 0)), "symmetric")[:height, :width]
        blurred = gaussian_blur(from_array(crop), SIGMA)
        blurred += rng.normal(0, NOISE, blurred.shape).astype(np.float32)
        files.save(to_array(blurred, np.uint8), folder / f"{index:04}.jpg", quality=95)


def pace(started: float, ready: list[float], processes: list[list[Mark]]) -> Pace:
    """The pace of processes that were ready at these times."""
    walls = [marks[-1].at - marks[0].at for marks in processes]
    counts = [len(marks) - 1 for marks in processes]
    work = sum(marks[-1].cpu - marks[0].cpu for marks in processes)
    told = sum(mark.seconds for marks in processes for mark in marks[1:])
    rate = sum(count / wall for count, wall in zip(counts, walls, strict=True))
    return Pace(max(ready) - started, 1 / rate, work / sum(counts), 1 - told / sum(walls))


def bare(source: Path, folder: Path, method: str, processes: int) -> Pace:
    """Plain loops, side by side."""
    pictures = sorted(source.iterdir())
    started = time.monotonic()
    children = [
        subprocess.Popen(
            [sys.executable, __file__, "--child", method, str(folder), *map(str, pictures[part::processes])],
            stdout=subprocess.PIPE,
        )
        for part in range(processes)
    ]
    told = [json.loads(child.communicate()[0]) for child in children]
    return pace(started, [ready for ready, _ in told], [[Mark(*mark) for mark in marks] for _, marks in told])


def child(method: str, folder: str, *pictures: str) -> None:
    unblur.restore(np.full((16, 16, 3), 0.5, np.float32), method, sigma=1.0)  # what is loaded once is loaded
    before = ready = time.monotonic()
    marks = []
    for picture in map(Path, pictures):
        unblur.restore(picture, method).save(Path(folder) / picture.name)
        marks.append(Mark(now := time.monotonic(), time.process_time(), now - before))
        before = now
    print(json.dumps([ready, marks]))


def workers(source: Path, folder: Path, method: str, count: int) -> Pace:
    """A corpus."""
    ready: list[float] = []
    processes: dict[int, list[Mark]] = defaultdict(list)

    class Watched(Processes):
        def wait(self, seconds: float) -> Iterator[Event]:
            for event in super().wait(seconds):
                now = time.monotonic()
                if event.row is None:
                    ready.append(now)
                else:
                    pid = event.worker.pid
                    processes[pid].append(Mark(now, processor_time(pid), event.row["seconds"]))
                yield event

    corpus.Processes = Watched
    started = time.monotonic()
    corpus.run(str(source), str(folder), Settings(method), workers=count)
    return pace(started, ready, list(processes.values()))


def processor_time(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(
    data: Annotated[Path | None, typer.Option(help="A folder of photographs.")] = None,
    pictures: int = 8,
    megapixels: float = 0.5,
    method: str = "wiener",
    repeats: int = 5,
) -> None:
    os.environ.update(limits(1))
    paces: dict[str, list[Pace]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="unblur-bench-") as temporary:
        source = Path(temporary, "in")
        source.mkdir()
        make(data, source, pictures, megapixels)
        for index in range(repeats):
            for name, measure, count in (
                ("bare loop", bare, 1),
                ("corpus, 1 worker", workers, 1),
                ("corpus, 2 workers", workers, 2),
                ("2 bare loops", bare, 2),
            ):
                out = Path(temporary, f"{name} {index}")
                out.mkdir()
                paces[name].append(measure(source, out, method, count))
                print(name, paces[name][-1], file=sys.stderr)
    table = Table("", "start-up", "s/picture", "spread", "CPU s/picture", "between", "Mpx/s")
    for name, told in paces.items():
        startup, each, cpu, idle = (median(column) for column in zip(*told, strict=True))
        walls = [one.each for one in told]
        table.add_row(
            name,
            f"{startup:.2f} s",
            f"{each:.3f}",
            f"{min(walls):.3f} .. {max(walls):.3f}",
            f"{cpu:.3f}",
            f"{idle:.2%}" if "corpus" in name else "",
            f"{megapixels / each:.3f}",
        )
    Console(width=110).print(table)

    def ratio(over: str, under: str, what: str) -> float:
        return median(
            getattr(one, what) / getattr(other, what)
            for one, other in zip(paces[over], paces[under], strict=True)
        )

    overhead, work = (ratio("corpus, 1 worker", "bare loop", what) - 1 for what in ("each", "cpu"))
    gain, allowed = (
        ratio("corpus, 1 worker", "corpus, 2 workers", "each"),
        ratio("bare loop", "2 bare loops", "each"),
    )
    print(f"{pictures} pictures of {megapixels:g} Mpx, {method}, {repeats} turns")
    print(f"one worker over the bare loop: {overhead:+.1%} wall time, {work:+.1%} processor time")
    print(f"two workers over one: {gain:.2f}; two bare loops over one: {allowed:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        typer.run(main)
