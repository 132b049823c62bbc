"""`unblur score`: how near one picture is to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unblur.cli.output import print_json


def score(
    reference: Annotated[Path, typer.Argument(help="The true picture.")],
    picture: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture to judge.")],
    ssim: Annotated[str, typer.Option(help="Flavour of SSIM: tf, skimage, matlab3d or luma.")] = "tf",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge a picture against the true one: MSE, PSNR, SSIM, MS-SSIM."""
    from unblur import files, metrics
    from unblur.image import from_array

    scores = metrics.score(
        from_array(files.Source.open(reference).read()),
        from_array(files.Source.open(picture).read()),
        ssim_flavour=ssim,
    )
    if as_json:
        print_json(scores.to_dict())
        return
    for name, value in scores.to_dict().items():
        typer.echo(
            f"{name:<12} {'-' if value is None else f'{value:.6g}' if isinstance(value, float) else value}"
        )
