"""Measures what `unblur.estimate` knows about sharp photographs, and writes it into the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pyvips
import typer

from unblur.estimate.spectrum import RINGS, spectrum
from unblur.image import from_array

REPO = Path(__file__).resolve().parent.parent
PRIOR = REPO / "src" / "unblur" / "estimate" / "prior.json"


def main(
    data: Annotated[
        Path, typer.Option(help="The folder of sample data sets.", envvar="UNBLUR_DATA")
    ] = REPO.parent / "shared" / "data",
) -> None:
    """Mean and covariance of the log ring powers of the training photographs."""
    logs = []
    for path in [
        *sorted((data / "bsds500" / "train").glob("*.jpg")),
        *sorted((data / "imagenet-sample").iterdir()),
    ]:
        pixels = pyvips.Image.new_from_file(str(path)).colourspace("srgb").numpy()
        found = spectrum(from_array(pixels))
        if found is not None:
            logs.append(np.log(np.maximum(found.rings - found.floor, 0.3 * found.floor)))
    table = np.array(logs)
    covariance = np.cov(table.T) + 1e-3 * np.eye(RINGS)
    numbers = {"mean": table.mean(axis=0).round(4).tolist(), "covariance": covariance.round(5).tolist()}
    PRIOR.write_text(json.dumps(numbers).replace("], [", "],\n [") + "\n")
    typer.echo(f"{len(logs)} photographs; wrote {PRIOR.relative_to(REPO)}")


if __name__ == "__main__":
    typer.run(main)
