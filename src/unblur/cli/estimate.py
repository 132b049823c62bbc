"""`unblur estimate`: what blur is it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from unblur.cli.output import print_json
from unblur.errors import OutputError

#: The local sigma in pixels that the map shows as white.
MAP_WHITE = 4.0


def estimate(
    picture: Annotated[Path, typer.Argument(metavar="INPUT", help="The picture to look at.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    map_out: Annotated[
        Path | None,
        typer.Option("--map", help="Write the local blur as a picture: black is sharp, white a sigma of 4."),
    ] = None,
    kind: Annotated[
        Literal["auto", "shake"],
        typer.Option(
            help="auto: whichever it is; shake: a kernel for any path of the camera, even if it looks otherwise."
        ),
    ] = "auto",
    kernel_out: Annotated[Path | None, typer.Option(help="Write the kernel: .npy or a picture.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that exist.")] = False,
) -> None:
    """Say how a picture is blurred: kind, size, direction, noise, and how sure that is."""
    import numpy as np

    from unblur import engine, files
    from unblur.estimate import blur_map
    from unblur.estimate.shake import shake_blur
    from unblur.image import from_array, to_array
    from unblur.methods import photograph
    from unblur.physics.kernels import delta, save_kernel

    for target in (map_out, kernel_out):
        if target is not None and target.exists() and not overwrite:
            raise OutputError(f"{target}: exists already; name another file, or --overwrite")
    pixels = files.Source.open(picture).read()
    seen = from_array(engine.sample(pixels))
    if kind == "shake":
        blur = shake_blur(seen)
        about = blur.to_dict()
    else:
        found = photograph.look(seen)
        blur = found.blur
        about = found.to_dict()
    if map_out is not None:
        local = blur_map(from_array(pixels))
        files.save(
            to_array(np.clip(local / MAP_WHITE, 0, 1)[:, :, None], "uint8"), map_out, overwrite=overwrite
        )
    if kernel_out is not None:
        save_kernel(kernel_out, delta() if blur.kernel is None else blur.kernel)
    facts = {"input": str(picture), **about}
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        typer.echo(f"{name:<12} {'-' if value is None else value}")
