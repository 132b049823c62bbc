"""Blind restoration of photographs: gain of `auto` at known amounts of blur, and harm to sharp originals.

    scripts/bench restore --data DIR [--limit 50] [--method auto] [--jpeg 75]

DIR is a folder of sharp photographs. Each is blurred by a Gaussian (OpenCV's float size rule, reflect101), rounded to
8 bits, and restored without being told. Gain = min(PSNR_out, 45) - min(PSNR_in, 45), protocol rgb8-v1.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import unblur
from unblur import files
from unblur.image import from_array, to_array
from unblur.metrics import gain, psnr
from unblur.physics.convolve import gaussian_blur


def main(
    data: Annotated[Path, typer.Option(help="A folder of sharp photographs.")],
    limit: int = 50,
    method: str = "auto",
    sigmas: str = "0,1,1.5,2,3",
    known: Annotated[bool, typer.Option(help="Tell the true sigma: an upper bound.")] = False,
    jpeg: Annotated[int, typer.Option(help="Compress the blurred pictures at this quality.")] = 0,
) -> None:
    paths = sorted(path for path in data.iterdir() if path.suffix.lower() in files.READABLE)[:limit]
    table = Table(
        "sigma", "psnr in", "psnr out", "mean gain", "worst gain", "left alone", "sigma error", "s/image"
    )
    for sigma in map(float, sigmas.split(",")):
        rows, alone, errors, seconds, names = [], 0, [], 0.0, []
        for path in paths:
            sharp = files.Source.open(path).read()
            blurred = to_array(gaussian_blur(from_array(sharp), sigma), np.uint8) if sigma else sharp
            if jpeg:
                blurred = files.decode(files.encode(blurred, ".jpg", quality=jpeg))
            started = time.perf_counter()
            result = unblur.restore(blurred, method, sigma=sigma if known and sigma else None)
            seconds += time.perf_counter() - started
            alone += bool(result.left_alone)
            errors.append(result.blur.parameters.get("sigma", 0.0) - sigma)
            before, after = (psnr(sharp, other, data_range=255) for other in (blurred, result.image))
            rows.append((min(before, 60), min(after, 60), gain(after, before)))
            names.append(path.name)
        before, after, gains = np.array(rows).T
        worst = int(np.argmin(gains if sigma else after))
        table.add_row(
            f"{sigma:g}",
            f"{before.mean():.2f}",
            f"{after.mean():.2f} (min {after.min():.2f})",
            f"{gains.mean():+.2f}",
            f"{gains[worst]:+.2f} {names[worst]}",
            f"{alone}",
            f"{np.median(np.abs(errors)):.3f} (bias {np.mean(errors):+.3f})",
            f"{seconds / len(paths):.2f}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
