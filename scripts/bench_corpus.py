"""Corpora: what the engine costs over `unblur.restore` in a loop, and what a second worker gains.

    scripts/bench corpus [--data DIR] [--pictures 16] [--megapixels 0.5] [--method wiener] [--repeats 3]

JPEG photographs blurred by Gaussians are made from the pictures of DIR, without it from those of scikit-image, in a
temporary folder. In turn, `repeats` times, they are restored and saved

- bare: by a loop over `unblur.restore`, one process, one thread,
- by a corpus with one worker, and with two, one thread each,
- by two such loops at once, each on half of the pictures, that know nothing of each other: what the cores allow.

Of each process the start-up (from its start until it is ready: Python, libraries, models) is told apart from the steady
part, which is counted from the end of its first picture to that of its last. Medians are told.
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
from statistics import fmean, median
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import unblur
from unblur import files
from unblur.corpus import run as corpus
from unblur.corpus.local import Processes
from unblur.corpus.manifest import Settings, rows
from unblur.corpus.pool import Event
from unblur.corpus.worker import limits
from unblur.image import from_array, to_array
from unblur.physics.convolve import gaussian_blur

#: Pictures of scikit-image that come with it.
NAMES = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "retina", "rocket")
SIGMAS = (1.0, 1.5, 2.0)
NOISE = 0.005


class Pace(NamedTuple):
    """startup: seconds until ready. each: seconds of wall time a picture, of all processes together. inside: what
    the workers themselves count from reading to writing."""

    startup: float
    each: float
    inside: float = float("nan")


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
        blurred = gaussian_blur(from_array(crop), SIGMAS[index % len(SIGMAS)])
        blurred += rng.normal(0, NOISE, blurred.shape).astype(np.float32)
        files.save(to_array(blurred, np.uint8), folder / f"{index:04}.jpg", quality=95)


def pace(started: float, ready: list[float], ends: list[list[float]], inside: float = float("nan")) -> Pace:
    """The pace of processes that were ready, and ended their pictures, at these times."""
    rate = sum((len(each) - 1) / (each[-1] - each[0]) for each in ends)
    return Pace(max(ready) - started, 1 / rate, inside)


def bare(source: Path, folder: Path, method: str, processes: int) -> Pace:
    """Plain loops, side by side."""
    pictures = sorted(source.iterdir())
    started = time.monotonic()
    children = [
        subprocess.Popen(
            [sys.executable, __file__, "--child", method, str(folder), *map(str, pictures[part::processes])],
            stdout=subprocess.PIPE,
            env={**os.environ, **limits(1)},
        )
        for part in range(processes)
    ]
    told = [json.loads(child.communicate()[0]) for child in children]
    return pace(started, [ready for ready, *_ in told], [ends for _, *ends in told])


def child(method: str, folder: str, *pictures: str) -> None:
    unblur.restore(np.full((16, 16, 3), 0.5, np.float32), method, sigma=1.0)  # what is loaded once is loaded
    times = [time.monotonic()]
    for picture in map(Path, pictures):
        unblur.restore(picture, method).save(Path(folder) / picture.name)
        times.append(time.monotonic())
    print(json.dumps(times))


def workers(source: Path, folder: Path, method: str, count: int) -> Pace:
    """A corpus."""
    ready: list[float] = []
    ends: dict[int, list[float]] = defaultdict(list)

    class Watched(Processes):
        def wait(self, seconds: float) -> Iterator[Event]:
            for event in super().wait(seconds):
                (ready if event.kind == "ready" else ends[id(event.worker)]).append(time.monotonic())
                yield event

    corpus.Processes = Watched
    started = time.monotonic()
    corpus.run(str(source), str(folder), Settings(method), workers=count)
    return pace(started, ready, list(ends.values()), fmean(row["seconds"] for row in rows(str(folder))))


def main(
    data: Annotated[Path | None, typer.Option(help="A folder of photographs.")] = None,
    pictures: int = 16,
    megapixels: float = 0.5,
    method: str = "wiener",
    repeats: int = 3,
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
    table = Table("", "start-up", "s a picture", "spread", "in the worker", "Mpx/s")
    each = {}
    for name, told in paces.items():
        startup, each[name], inside = (median(column) for column in zip(*told, strict=True))
        walls = [one.each for one in told]
        table.add_row(
            name,
            f"{startup:.2f} s",
            f"{each[name]:.4f}",
            f"{min(walls):.4f} .. {max(walls):.4f}",
            f"{inside:.4f}",
            f"{megapixels / each[name]:.3f}",
        )
    Console(width=100).print(table)
    alone, one, two, both = each.values()
    allowed, gain = alone / both, one / two
    print(f"{pictures} pictures of {megapixels:g} Mpx, {method}, {repeats} times")
    print(f"overhead of the engine over the bare loop: {one / alone - 1:+.1%}")
    print(
        f"two workers over one: {gain:.2f}; two bare loops over one: {allowed:.2f}; share: {gain / allowed:.0%}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        typer.run(main)
