"""Large pictures: peak memory, speed beside that of a small picture, and whether tiles show.

    scripts/bench large [--megapixels 100] [--methods wiener,total-variation] [--kinds png16,tif8]
        [--folder DIR] [--blind]

The pictures are mosaics of a photograph, each piece turned and exposed otherwise, blurred by a Gaussian of sigma 1.5,
with noise of half a percent; they are made in DIR, and kept there for the next time. Each is restored and
saved in a process of its own, which tells its peak resident memory. A small picture goes before and after the
large one; its speed is the mean of the two.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from skimage import data

import unblur
from unblur import files, tiling
from unblur.image import Image, from_array, to_array
from unblur.physics.convolve import gaussian_blur

SIGMA, NOISE = 1.5, 0.005
SMALL = 2.0
#: Megapixels of the picture on which one tile is compared with many.
SEAMS = 6.0
KINDS = {
    "tif8": (".tif", np.uint8),
    "tif16": (".tif", np.uint16),
    "png8": (".png", np.uint8),
    "png16": (".png", np.uint16),
}


def main(
    megapixels: float = 100,
    methods: str = "wiener",
    kinds: str = "tif8,png16",
    memory: str = "",
    folder: Annotated[Path | None, typer.Option(help="Where pictures are made and kept.")] = None,
    seams: bool = True,
    blind: Annotated[bool, typer.Option(help="Find the blur as well, which is told otherwise.")] = False,
    only_make: bool = False,
) -> None:
    place = folder or Path(tempfile.mkdtemp(prefix="unblur-large-"))
    place.mkdir(parents=True, exist_ok=True)
    pictures = {
        (kind, size): make(place, kind, size) for kind in kinds.split(",") for size in (megapixels, SMALL)
    }
    if only_make:
        return
    table = Table(
        "picture",
        "method",
        "restored",
        "saved",
        "Mpx/s",
        "of small",
        "CPU s/Mpx",
        "of small",
        "peak",
        "tiles",
    )
    for kind in kinds.split(","):
        for method in methods.split(","):
            first, large, last = (
                run(pictures[kind, size], method, memory, blind) for size in (SMALL, megapixels, SMALL)
            )
            small, least = ((first[fact] + last[fact]) / 2 for fact in ("speed", "cpu"))
            for size, row in ((SMALL, first | {"speed": small, "cpu": least}), (megapixels, large)):
                table.add_row(
                    f"{size:g} Mpx, {kind}",
                    method,
                    f"{row['restored']:.1f} s",
                    f"{row['saved']:.1f} s",
                    f"{row['speed']:.2f}",
                    f"{row['speed'] / small:.0%}",
                    f"{row['cpu']:.2f}",
                    f"{row['cpu'] / least:.0%}",
                    f"{row['peak'] / 1e6:.0f} MB",
                    str(row["tiles"]),
                )
    Console(width=120).print(table)
    if seams:
        for method in methods.split(","):
            most, tiles = seam(make(place, "tif8", SEAMS), method)
            print(f"{method}: {tiles} tiles and one differ by at most {most} of 255")


def make(folder: Path, kind: str, megapixels: float) -> Path:
    suffix, dtype = KINDS[kind]
    path = folder / f"{kind}-{megapixels:g}{suffix}"
    if path.exists():
        return path
    piece = data.astronaut()
    side = round((megapixels * 1e6) ** 0.5)
    count = -(-side // len(piece))
    rng = np.random.default_rng(0)
    turns, exposures = rng.integers(0, 8, (count, count)), rng.uniform(0.5, 1, (count, count))

    def row(index: int) -> Image:
        index = min(max(index, 0), count - 1)
        return np.concatenate(
            [
                np.float32(gain) * from_array(np.rot90(piece[:: 1 if turn < 4 else -1], turn % 4))
                for turn, gain in zip(turns[index], exposures[index], strict=True)
            ],
            axis=1,
        )[:, :side]

    with files.Sink(path, (side, side, 3), dtype=dtype) as sink:
        for index in range(count):
            band = np.concatenate([row(index - 1)[-16:], row(index), row(index + 1)[:16]])
            blurred = gaussian_blur(band, SIGMA)[16:-16][: side - index * len(piece)]
            blurred += rng.normal(0, NOISE, blurred.shape).astype(np.float32)
            sink.write(to_array(blurred, dtype))
    return path


def run(path: Path, method: str, memory: str, blind: bool) -> dict[str, Any]:
    """Restore and save in a process of its own."""
    command = [sys.executable, __file__, "--child", str(path), method, memory, *(["blind"] if blind else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    told: dict[str, Any] = json.loads(done.stdout)
    print(f"{path.name}, {method}: {told}", file=sys.stderr)
    return told


def child(path: Path, method: str, memory: str, blind: str = "") -> None:
    unblur.restore(
        np.full((16, 16, 3), 0.5, np.float32), method, sigma=SIGMA
    )  # what is loaded once is loaded
    steps: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        started, cpu = time.perf_counter(), time.process_time()
        result = unblur.restore(
            path,
            method,
            sigma=None if blind else SIGMA,
            memory=memory or None,
            progress=lambda *step: steps.append(step),
        )
        restored = time.perf_counter()
        result.save(Path(folder) / path.name)
        saved = time.perf_counter()
    pixels = result.image.shape[0] * result.image.shape[1]
    status = Path("/proc/self/status").read_text()
    facts = {
        "restored": restored - started,
        "saved": saved - restored,
        "speed": pixels / 1e6 / (saved - started),
        "cpu": (time.process_time() - cpu) / (pixels / 1e6),
        "peak": 1024 * int(status.split("VmHWM:")[1].split()[0]),
        "tiles": steps[-1][1],
    }
    print(json.dumps(facts))


def seam(path: Path, method: str) -> tuple[int, int]:
    """The largest difference between one tile and many, in grey levels, and how many they were."""
    pixels = files.Source.open(path).read()
    whole = unblur.restore(pixels, method, sigma=SIGMA, memory="20GB").image
    row = unblur.METHODS[method]
    steps: list[int] = []
    budget = tiling.memory_in_use() + pixels.nbytes + row.bytes_per_pixel * 900**2
    many = unblur.restore(
        pixels, method, sigma=SIGMA, memory=budget, progress=lambda _, total: steps.append(total)
    )
    return int(np.abs(whole.astype(int) - many.image).max()), steps[-1]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), *sys.argv[3:])
    else:
        typer.run(main)
