"""Measures `unblur.estimate` against blurs that are known: prints one table for each question.

Nothing here is used for calibration (`calibrate_estimate.py` uses the training photographs of BSDS500 and the
ImageNet sample). Blurred pictures are rounded to 8 bits.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pickle
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyvips
import typer
from numpy.typing import NDArray

from unblur.estimate import SHARP_SIGMA, analyse, gaussian_sigma, noise_sigma
from unblur.image import Image, from_array, quantise, to_array
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, gaussian, motion

REPO = Path(__file__).resolve().parent.parent
DATA = REPO.parent / "shared" / "data"

SIGMAS = (0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.2, 2.5, 3.0, 4.0)
FEW_SIGMAS = (0.8, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Case:
    """A picture file (and, for CIFAR, which picture), how to blur it, and how to spoil it afterwards."""

    path: str
    kind: str = "none"
    size: float = 0.0
    angle: float = 0.0
    noise: float = 0.0
    quality: int | None = None
    scale: float = 1.0
    index: int = 0


def read(case: Case) -> Image:
    if Path(case.path).name == "test_batch":
        with open(case.path, "rb") as file:
            rows = pickle.load(file, encoding="bytes")[b"data"]
        return from_array(np.ascontiguousarray(rows[case.index].reshape(3, 32, 32).transpose(1, 2, 0)))
    picture = pyvips.Image.new_from_file(case.path).colourspace("srgb")
    if case.scale != 1:
        picture = picture.resize(case.scale, kernel="cubic")
    return from_array(picture.numpy())


def degrade(case: Case) -> Image:
    kernels = {"gaussian": gaussian, "disk": disk, "motion": partial(motion, angle=case.angle)}
    image = read(case)
    if case.kind != "none":
        image = convolve(image, kernels[case.kind](case.size))
    if case.noise:
        rng = np.random.default_rng(7)
        image = image + rng.normal(0, case.noise, image.shape).astype(np.float32)
    image = quantise(image)
    if case.quality is not None:
        coded = pyvips.Image.new_from_array(to_array(image, np.uint8)).jpegsave_buffer(Q=case.quality)
        image = from_array(pyvips.Image.new_from_buffer(coded, "").numpy())
    return image


def sigma_error(case: Case) -> float:
    return gaussian_sigma(degrade(case)).sigma - case.size


def sigma_read(case: Case) -> float:
    return gaussian_sigma(degrade(case)).sigma


def whole(case: Case) -> dict[str, Any]:
    return analyse(degrade(case)).to_dict()


class Bench:
    """Runs cases over processes; `every` thins the pictures of the smaller tables."""

    def __init__(self, data: Path, pool: ProcessPoolExecutor, pictures: int) -> None:
        self.data, self.pool = data, pool
        found = sorted(str(path) for path in (data / "bsds500" / "test").glob("*.jpg"))
        self.test = found[:: max(1, len(found) // pictures)][:pictures]
        self.few = self.test[::4] if pictures > 40 else self.test
        self.rng = np.random.default_rng(7)

    def run(self, function: Callable[[Case], object], cases: Iterable[Case]) -> NDArray[np.float64]:
        return np.array(list(self.pool.map(function, cases, chunksize=4)), np.float64)

    def sources(self) -> dict[str, list[Case]]:
        batch = str(self.data / "cifar-10-subset" / "cifar-10-batches-py" / "test_batch")
        reds = self.data / "reds-sample" / "train"
        inet = sorted((self.data / "imagenet-sample").iterdir())[5::20]
        levin = [self.data / "levin09" / "gt" / f"im{k}.png" for k in (1, 2)]
        return {
            "BSDS500 test": [Case(path) for path in self.few],
            "ImageNet sample*": [Case(str(path)) for path in inet],
            "the same, halved": [Case(str(path), scale=0.5) for path in inet],
            "the same, 1.5x up": [Case(str(path), scale=1.5) for path in inet],
            "REDS 1280x720": [Case(str(path)) for path in sorted((reds / "train_sharp" / "020").iterdir())],
            "REDS 320x180": [
                Case(str(path)) for path in sorted((reds / "train_sharp_bicubic/X4/027").iterdir())[::10]
            ],
            "Levin et al.": [Case(str(path)) for path in levin],
            "CIFAR-10 test": [Case(batch, index=index) for index in range(0, 100, 2)],
        }


def blurred(case: Case, sigma: float, noise: float = 0.0, quality: int | None = None) -> Case:
    return Case(
        case.path, "gaussian" if sigma else "none", sigma, 0.0, noise, quality, case.scale, case.index
    )


def errors_row(name: str, errors: NDArray[np.float64]) -> str:
    size = np.abs(errors)
    return (
        f"{name:<22}{np.median(size):9.3f}{size.mean():9.3f}{np.median(errors):+9.3f}{np.quantile(size, 0.95):9.3f}"
        f"{errors.min():+9.2f}{errors.max():+9.2f}"
    )


ERRORS_HEAD = f"{'':<22}{'median':>9}{'mean':>9}{'bias':>9}{'95 %':>9}{'lowest':>9}{'highest':>9}"


def title(text: str) -> None:
    typer.echo(f"\n{text}")


def sigma_table(bench: Bench) -> None:
    title(f"Error of sigma, pixels, {len(bench.test)} pictures of BSDS500 test")
    typer.echo(ERRORS_HEAD)
    for sigma in SIGMAS:
        errors = bench.run(sigma_error, [blurred(Case(path), sigma) for path in bench.test])
        typer.echo(errors_row(f"sigma {sigma}", errors))


def spoiled_table(bench: Bench) -> None:
    title(
        f"Mean absolute error of sigma (95th percentile), {len(bench.few)} pictures of BSDS500 test, spoiled"
    )
    ways: list[tuple[str, float, int | None]] = [
        (f"noise {noise}", noise, None) for noise in (0.005, 0.01, 0.02)
    ]
    ways += [(f"JPEG {quality}", 0.0, quality) for quality in (75, 85, 95)]
    typer.echo(f"{'':<14}" + "".join(f"{f'sigma {sigma}':>15}" for sigma in FEW_SIGMAS))
    for name, noise, quality in ways:
        cells = []
        for sigma in FEW_SIGMAS:
            cases = [blurred(Case(path), sigma, noise, quality) for path in bench.few]
            size = np.abs(bench.run(sigma_error, cases))
            cells.append(f"{size.mean():7.3f} ({np.quantile(size, 0.95):.2f})")
        typer.echo(f"{name:<14}" + "".join(f"{cell:>15}" for cell in cells))


def sources_table(bench: Bench) -> None:
    title("Other pictures: mean absolute error of sigma; first column: highest sigma read from a sharp one")
    typer.echo(f"{'':<20}{'n':>4}{'sharp':>8}" + "".join(f"{sigma:>8}" for sigma in FEW_SIGMAS))
    for name, cases in bench.sources().items():
        sharp = bench.run(sigma_read, cases).max()
        row = [
            np.abs(bench.run(sigma_error, [blurred(c, sigma) for c in cases])).mean() for sigma in FEW_SIGMAS
        ]
        typer.echo(f"{name:<20}{len(cases):>4}{sharp:8.2f}" + "".join(f"{value:8.3f}" for value in row))
    typer.echo("* also used for calibration")


def roc_table(bench: Bench) -> None:
    title(f"Sharp originals against blurred ones, {len(bench.test)} pictures of BSDS500 test")
    typer.echo(f"{'':<12}{'area':>9}{'missed at no false alarm':>26}{'missed at 0.5':>16}")
    sharp = bench.run(sigma_read, [Case(path) for path in bench.test])
    for sigma in (0.5, 0.6, 0.7, 1.0):
        read = bench.run(sigma_read, [blurred(Case(path), sigma) for path in bench.test])
        area = (read[:, None] > sharp).mean() + 0.5 * (read[:, None] == sharp).mean()
        typer.echo(
            f"sigma {sigma:<6}{area:9.4f}{(read <= sharp.max()).mean():26.1%}{(read < SHARP_SIGMA).mean():16.1%}"
        )
    typer.echo(f"sigma read from sharp originals: median {np.median(sharp):.2f}, highest {sharp.max():.2f}")


def shapes_table(bench: Bench) -> None:
    title(f"Motion and defocus, {len(bench.few)} pictures of BSDS500 test: median (mean) absolute error")
    for length in (7, 11, 15, 21, 31):
        cases = [Case(path, "motion", length, bench.rng.uniform(0, 180)) for path in bench.few]
        found = list(bench.pool.map(whole, cases, chunksize=2))
        turns = np.array(
            [abs((f["motion_angle"] or 0.0) - case.angle) for f, case in zip(found, cases, strict=True)]
        )
        turns = np.minimum(turns, 180 - turns)
        lengths = np.array([abs((f["motion_length"] or 0.0) - length) for f in found])
        typer.echo(
            f"motion {length:<4} angle {np.median(turns):.2f} ({turns.mean():.2f}) degrees, "
            f"length {np.median(lengths):.2f} ({lengths.mean():.2f}) pixels"
        )
    for radius in (1.5, 2.3, 3.0, 4.0, 5.4, 7.0, 10.0):
        found = list(bench.pool.map(whole, [Case(path, "disk", radius) for path in bench.few], chunksize=2))
        read = np.array([f.get("radius", np.nan) for f in found])
        known = np.abs(read[np.isfinite(read)] - radius)
        typer.echo(
            f"disk {radius:<6} radius {np.median(known):.2f} ({known.mean():.2f}) pixels, of {len(known)} disks"
        )


KINDS = ("none", "gaussian", "motion", "disk")


def kinds_table(bench: Bench) -> None:
    sizes: dict[str, Sequence[float]] = {
        "none": (0,), "gaussian": (0.7, 1, 1.5, 2, 3), "motion": (7, 11, 15, 21), "disk": (2, 3, 5)
    }  # fmt: skip
    for name, noise, quality in (("clean", 0.0, None), ("noise 0.01", 0.01, None), ("JPEG 85", 0.0, 85)):
        title(f"Kinds, {name}: rows are what was done, columns what was found, %")
        typer.echo(f"{'':<10}" + "".join(f"{kind:>10}" for kind in KINDS))
        for kind in KINDS:
            cases = [
                Case(path, kind, size, bench.rng.uniform(0, 180), noise, quality)
                for path in bench.few
                for size in sizes[kind]
            ]
            found = [one["kind"] for one in bench.pool.map(whole, cases, chunksize=4)]
            typer.echo(
                f"{kind:<10}" + "".join(f"{100 * found.count(other) / len(found):10.1f}" for other in KINDS)
            )


def noise_table(bench: Bench) -> None:
    title("noise_sigma on blurred (sigma 1.5) and on sharp pictures: median, 5th and 95th percentile")
    for noise in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05):
        cells = []
        for sigma in (1.5, 0.0):
            read = bench.run(noise_of, [blurred(Case(path), sigma, noise) for path in bench.few])
            cells.append(
                f"{np.median(read):.4f} ({np.quantile(read, 0.05):.4f}..{np.quantile(read, 0.95):.4f})"
            )
        typer.echo(f"noise {noise:<7}" + "".join(f"{cell:>30}" for cell in cells))


def noise_of(case: Case) -> float:
    return noise_sigma(degrade(case))


def times_table(bench: Bench) -> None:
    title("Seconds in one process, best of 5")
    small = degrade(Case(bench.test[0], "gaussian", 1.5))
    large_side = {
        "0.15 Mpx": small,
        **{f"{n * n * 0.154:.1f} Mpx": np.tile(small, (n, n, 1)) for n in (3, 9)},
    }
    for name, image in large_side.items():
        typer.echo(
            f"{name:<10} gaussian_sigma {best(gaussian_sigma, image):.3f}, analyse {best(analyse, image):.3f}"
        )


def best(function: Callable[[Image], object], image: Image) -> float:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        function(image)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


TABLES = {
    "sigma": sigma_table,
    "spoiled": spoiled_table,
    "sources": sources_table,
    "roc": roc_table,
    "shapes": shapes_table,
    "kinds": kinds_table,
    "noise": noise_table,
    "times": times_table,
}


def main(
    tables: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(TABLES)}; all by default.")
    ] = None,
    data: Annotated[Path, typer.Option(envvar="UNBLUR_DATA", help="The folder of sample data sets.")] = DATA,
    pictures: Annotated[int, typer.Option(min=1, help="Of BSDS500 test; some tables use a quarter.")] = 200,
    processes: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Print how good the blind estimates are."""
    if unknown := set(tables or ()) - set(TABLES):
        raise typer.BadParameter(f"no table {', '.join(sorted(unknown))}; one of {', '.join(TABLES)}")
    with ProcessPoolExecutor(processes) as pool:
        bench = Bench(data, pool, pictures)
        for name in tables or TABLES:
            TABLES[name](bench)


if __name__ == "__main__":
    typer.run(main)
