"""Classical deconvolution, measured: speed beside scikit-image, Levin's camera shakes, and known Gaussians.

    scripts/bench classical speed
    scripts/bench classical levin --data DIR
    scripts/bench classical gaussian --folder DIR [--limit 50] [--noise 0.01] [--error 0.1]

DIR of `levin` holds levin09/ and kernels/; DIR of `gaussian` is a folder of sharp photographs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from unblur.classical import SOLVERS
from unblur.classical.richardson_lucy import richardson_lucy
from unblur.datasets.folder import pictures
from unblur.datasets.levin import Shaken, levin
from unblur.image import Image, from_array, quantise
from unblur.metrics import psnr
from unblur.metrics.alignment import score_up_to_shift
from unblur.physics.blur import Kernel
from unblur.physics.convolve import convolve, gaussian_blur
from unblur.physics.kernels import gaussian

app = typer.Typer(add_completion=False, help=__doc__)
console = Console(width=120)

#: The speed table's image: 1024 x 1024 RGB, blurred by 25 x 25 taps.
SIDE, SIGMA = 1024, 3.0

#: Noise of Levin's pictures: about 0.4 % of white, and the kernels are not exact either.
LEVIN_NOISE = 0.004


@app.command()
def speed(rounds: Annotated[int, typer.Option(help="Rounds; every row runs once in each.")] = 3) -> None:
    """Seconds for a 1024x1024 RGB image and a 25x25 kernel, all rows in turn, medians over the rounds.

    "faster" is against scikit-image in float32; "divergence" is from the image, in millionths (less is likelier).
    """
    from skimage import data
    from skimage.restoration import richardson_lucy as reference

    kernel = gaussian(SIGMA)
    sharp = np.ascontiguousarray(from_array(data.astronaut()).repeat(2, axis=0).repeat(2, axis=1))
    image = quantise(gaussian_blur(sharp, SIGMA))

    def scikit(dtype: type) -> Image:
        planes = image.astype(dtype).transpose(2, 0, 1)
        return np.stack([reference(p, kernel.astype(dtype), num_iter=30) for p in planes], axis=2)

    rows: dict[str, Callable[[], Image]] = {
        "scikit-image, 30 plain, float32": lambda: scikit(np.float32),
        "scikit-image, 30 plain, float64": lambda: scikit(np.float64),
        "richardson-lucy, 30 plain": lambda: richardson_lucy(image, kernel, iterations=30, accelerated=False),
        "richardson-lucy, 12 accelerated": lambda: richardson_lucy(image, kernel, iterations=12),
    }
    for name, solver in SOLVERS.items():
        for border in ("reflect101", "unknown"):
            rows[f"{name}, default, {border} border"] = lambda run=solver.function, border=border: run(
                image, kernel, border=border
            )
    walls: dict[str, list[float]] = {name: [] for name in rows}
    cpus: dict[str, list[float]] = {name: [] for name in rows}
    restored: dict[str, Image] = {}
    for _ in range(rounds):
        for name, run in rows.items():
            wall, cpu = time.perf_counter(), time.process_time()
            restored[name] = run()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    base = statistics.median(walls["scikit-image, 30 plain, float32"])
    table = Table("what", "wall s", "CPU s", "faster", "divergence", "dB")
    for name in rows:
        wall, cpu = statistics.median(walls[name]), statistics.median(cpus[name])
        inside = (slice(64, -64), slice(64, -64))
        table.add_row(
            name,
            f"{wall:.2f}",
            f"{cpu:.2f}",
            f"{base / wall:.2f}",
            f"{divergence(image, restored[name].astype(np.float32), kernel):.3f}",
            f"{psnr(np.clip(restored[name][inside], 0, 1), sharp[inside], data_range=1):.2f}",
        )
    console.print(table)


@app.command("levin")
def shaken_pictures(
    data: Annotated[Path, typer.Option(help="The folder of levin09/ and kernels/.")],
    noise: float = LEVIN_NOISE,
) -> None:
    """Levin's camera shakes with the known kernel, scored up to a shift: PSNR in dB and SSIM."""
    pictures = list(levin(data / "levin09", data / "kernels"))
    table = Table("solver", "iterations", "mean PSNR", "mean SSIM", "worst", "s/image")
    runs = [(name, None) for name in SOLVERS] + [("richardson-lucy", 30), ("total-variation", 60)]
    blurred = [score_up_to_shift(from_array(p.sharp), from_array(p.blurred)) for p in pictures]
    table.add_row("(blurred)", "", *_scores(pictures, blurred), "")
    for name, iterations in runs:
        started, scores = time.perf_counter(), []
        for picture in pictures:
            restored = SOLVERS[name].function(
                from_array(picture.blurred), directed(picture), noise=noise, iterations=iterations
            )
            scores.append(score_up_to_shift(from_array(picture.sharp), restored))
        seconds = (time.perf_counter() - started) / len(pictures)
        table.add_row(
            name, str(iterations or SOLVERS[name].iterations), *_scores(pictures, scores), f"{seconds:.2f}"
        )
    console.print(table)


@app.command("gaussian")
def known_gaussian(
    folder: Annotated[Path, typer.Option(help="A folder of sharp photographs.")],
    limit: int = 50,
    sigmas: str = "1,1.5,2",
    noise: Annotated[float, typer.Option(help="Noise added before rounding to 8 bits.")] = 0.0,
    error: Annotated[float, typer.Option(help="What is added to the sigma that the solvers are told.")] = 0.0,
    crop: Annotated[int, typer.Option(help="Pixels cut off the blurred image: no border rule holds.")] = 0,
) -> None:
    """Mean and worst gain in dB over photographs blurred by a Gaussian, rounded to 8 bits, sigma known."""
    found = pictures(folder)
    sharp = [from_array(found[index]) for index in range(min(limit, len(found)))]
    inside = (slice(crop, -crop or None), slice(crop, -crop or None))
    columns = [float(sigma) for sigma in sigmas.split(",")]
    level = float(np.hypot(noise, 1 / (255 * 12**0.5)))
    table = Table("solver", *(f"sigma {sigma:g}" for sigma in columns))
    rng = np.random.default_rng(0)
    gains: dict[str, list[str]] = {name: [] for name in SOLVERS}
    for sigma in columns:
        rows = []
        for image in sharp:
            blurred = gaussian_blur(image, sigma)
            if noise:
                blurred = blurred + np.float32(noise) * rng.standard_normal(image.shape, np.float32)
            blurred, target = quantise(blurred[inside]), image[inside]
            before = psnr(blurred, target, data_range=1)
            rows.append(
                [
                    psnr(
                        quantise(solver.function(blurred, gaussian(sigma + error), noise=level)),
                        target,
                        data_range=1,
                    )
                    - before
                    for solver in SOLVERS.values()
                ]
            )
        for name, column in zip(SOLVERS, np.array(rows).T, strict=True):
            gains[name].append(f"{column.mean():+.2f} (worst {column.min():+.2f})")
    for name, cells in gains.items():
        table.add_row(name, *cells)
    console.print(table)


def directed(picture: Shaken) -> Kernel:
    """The kernel turned so that convolving with it, not correlating, makes the blurred picture."""
    turned = np.ascontiguousarray(picture.kernel[::-1, ::-1])
    sharp, blurred = from_array(picture.sharp), from_array(picture.blurred)
    return max(
        (picture.kernel, turned),
        key=lambda kernel: score_up_to_shift(convolve(sharp, kernel), blurred, step=1).psnr,
    )


def divergence(image: Image, restored: Image, kernel: Kernel) -> float:
    """How far the blurred restoration is from the image, in millionths: less is a higher Poisson likelihood.

    Csiszar's I-divergence, the mean of b log(b / c) - b + c, which Richardson-Lucy lowers; away from the border.
    """
    inside = (slice(64, -64), slice(64, -64))
    expected = np.maximum(convolve(np.ascontiguousarray(restored), kernel)[inside].astype(np.float64), 1e-7)
    observed = np.maximum(image[inside].astype(np.float64), 1e-7)
    return float((observed * np.log(observed / expected) - observed + expected).mean() * 1e6)


def _scores(pictures: list[Shaken], scores: list) -> tuple[str, str, str]:
    worst = min(range(len(scores)), key=lambda index: scores[index].psnr)
    return (
        f"{np.mean([score.psnr for score in scores]):.2f}",
        f"{np.mean([score.ssim for score in scores]):.4f}",
        f"{scores[worst].psnr:.2f} {pictures[worst].name}",
    )


if __name__ == "__main__":
    app()
