"""Measures what `unblur.estimate` knows about photographs, and writes it into the package.

Uses the training photographs of BSDS500 and the ImageNet sample. Two things are measured: the log ring powers of
the photographs, and the spectrum of the error that JPEG compression adds to blurred ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pyvips
import typer
from numpy.typing import NDArray

from unblur.estimate.spectrum import RINGS, Spectrum, spectrum
from unblur.image import from_array, quantise, to_array
from unblur.physics.convolve import convolve
from unblur.physics.kernels import gaussian

REPO = Path(__file__).resolve().parent.parent
PRIOR = REPO / "src" / "unblur" / "estimate" / "prior.json"

#: How many directions of variation of the log ring powers are kept; the rest counts ring by ring.
FACTORS = 5
#: The blurs and the qualities at which the error of JPEG is measured, on every `JPEG_STEP`-th photograph.
JPEG_SIGMAS, JPEG_QUALITIES, JPEG_STEP = (1.5, 2.0, 2.5, 3.0), (75, 85, 92, 97), 6
#: Below this ring the error of JPEG is smaller than the picture, and its spectrum is extrapolated.
JPEG_RING = 6

Table = NDArray[np.float64]


def main(
    data: Annotated[
        Path, typer.Option(help="The folder of sample data sets.", envvar="UNBLUR_DATA")
    ] = REPO.parent / "shared" / "data",
) -> None:
    """Write `prior.json`."""
    paths = [
        *sorted((data / "bsds500" / "train").glob("*.jpg")),
        *sorted((data / "imagenet-sample").iterdir()),
    ]
    sharp, errors = [], []
    for index, path in enumerate(paths):
        pixels = pyvips.Image.new_from_file(str(path)).colourspace("srgb").numpy()
        found = spectrum(from_array(pixels))
        if found is not None:
            sharp.append(np.log(np.maximum(found.rings - found.floor, 0.3 * found.floor)))
        if index % JPEG_STEP == 0:
            errors += jpeg_errors(pixels)
    numbers = {**photographs(np.array(sharp)), **jpeg(np.array(errors))}
    rounded = {name: np.round(value, 4).tolist() for name, value in numbers.items()}
    PRIOR.write_text(
        "{\n" + ",\n".join(f'"{name}": {json.dumps(value)}' for name, value in rounded.items()) + "\n}\n"
    )
    typer.echo(f"{len(sharp)} photographs, {len(errors)} errors of JPEG; wrote {PRIOR.relative_to(REPO)}")


def photographs(logs: Table) -> dict[str, Table]:
    """Mean, factors and rest of log ring powers (n, RINGS)."""
    covariance = np.cov(logs.T)
    values, vectors = np.linalg.eigh(covariance)
    factors = vectors[:, : -FACTORS - 1 : -1] * np.sqrt(values[: -FACTORS - 1 : -1])
    rest = np.diag(covariance - factors @ factors.T) + 1e-3
    return {"mean": logs.mean(axis=0), "factors": factors, "rest": rest}


def jpeg(logs: Table) -> dict[str, Table]:
    """Shape, one factor, rest and level of log ring powers of the error of JPEG (n, RINGS - JPEG_RING)."""
    level = logs.mean(axis=1, keepdims=True)
    shapes = logs - level
    covariance = np.cov(shapes.T)
    values, vectors = np.linalg.eigh(covariance)
    factor = vectors[:, -1] * np.sqrt(values[-1])
    shape = shapes.mean(axis=0)
    slope = (shape[0] - shape[JPEG_RING - 1]) / (JPEG_RING - 1)
    return {
        "jpeg": np.concatenate([shape[0] + slope * np.arange(JPEG_RING, 0, -1), shape]),
        "jpeg_factor": np.concatenate([np.repeat(factor[0], JPEG_RING), factor]),
        "jpeg_rest": np.diag(covariance - np.outer(factor, factor)).mean(),
        "jpeg_level": level.mean(),
    }


def jpeg_errors(pixels: NDArray[np.uint8]) -> list[Table]:
    """Log ring powers that compression adds, where it adds to every ring."""
    found = []
    for sigma in JPEG_SIGMAS:
        blurred = quantise(convolve(from_array(pixels), gaussian(sigma)))
        before = powers(spectrum(blurred))
        for quality in JPEG_QUALITIES:
            bytes_ = pyvips.Image.new_from_array(to_array(blurred, np.uint8)).jpegsave_buffer(Q=quality)
            after = powers(spectrum(from_array(pyvips.Image.new_from_buffer(bytes_, "").numpy())))
            if (after > 1.3 * before).all():
                found.append(np.log(after - before))
    return found


def powers(found: Spectrum | None) -> Table:
    return np.zeros(RINGS - JPEG_RING) if found is None else found.rings[JPEG_RING:]


if __name__ == "__main__":
    typer.run(main)
