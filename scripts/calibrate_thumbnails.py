"""Prints what `unblur.estimate.likelihood` knows about thumbnails: log powers of CIFAR-10's training images.

    python scripts/calibrate_thumbnails.py DIR

DIR holds `cifar-10-batches-py`. A row for each colour of that module: the mean logarithm of the power of the cosine
transform, times frequency ** 2.6, read at equal steps of frequency.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from unblur.datasets.cifar10 import Cifar10
from unblur.estimate.likelihood import KNOTS, SLOPE, Picture
from unblur.image import from_array

#: As many as are worth waiting for.
IMAGES = 2500
#: What the logarithm of a squared normal deviate is below 0 on average.
EULER = float(np.euler_gamma + np.log(2))


def main(data: Annotated[Path, typer.Argument(help="The folder of CIFAR-10.")]) -> None:
    pictures = [Picture(from_array(pixels), 0.0) for pixels in Cifar10.open(data).images[:IMAGES]]
    f = pictures[0].frequencies
    power = np.mean([np.log(picture.power + 1e-12) for picture in pictures], axis=0) + EULER
    weights = np.maximum(0, 1 - np.abs(f[:, None] - KNOTS) / KNOTS[1])
    for row in power + SLOPE * np.log(f):
        print(np.round(np.linalg.lstsq(weights, row, rcond=None)[0], 2).tolist())


if __name__ == "__main__":
    typer.run(main)
