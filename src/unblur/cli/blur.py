"""`unblur blur`: blur a picture with a known kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from unblur.cli.output import print_json
from unblur.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    from unblur.physics.blur import Blur


Kind: TypeAlias = Literal["gaussian", "disk", "motion", "shake", "file"]
"""The kernels that can be asked for."""

#: Which options belong to which kind.
_BELONGS: dict[Kind, set[str]] = {
    "gaussian": {"sigma", "sigma_y", "angle"},
    "disk": {"radius"},
    "motion": {"length", "angle"},
    "shake": {"size"},
    "file": {"kernel"},
}


def blur(
    picture: Annotated[Path, typer.Argument(metavar="INPUT", help="The picture to blur.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The blurred picture.")],
    kind: Annotated[Kind, typer.Option(help="The sort of kernel.")] = "gaussian",
    sigma: Annotated[
        float | None, typer.Option(help="gaussian: standard deviation in pixels. [default: 2]")
    ] = None,
    sigma_y: Annotated[
        float | None, typer.Option(help="gaussian: the same across --angle. [default: sigma]")
    ] = None,
    radius: Annotated[float | None, typer.Option(help="disk: radius in pixels. [default: 3]")] = None,
    length: Annotated[float | None, typer.Option(help="motion: length in pixels. [default: 15]")] = None,
    angle: Annotated[
        float | None, typer.Option(help="gaussian, motion: degrees counter-clockwise from +x. [default: 0]")
    ] = None,
    size: Annotated[int | None, typer.Option(help="shake: side of the kernel, odd. [default: 21]")] = None,
    kernel: Annotated[Path | None, typer.Option(help="file: .npy, .mat or a picture.")] = None,
    noise: Annotated[float, typer.Option(help="Standard deviation of added noise, in units of 0..1.")] = 0.0,
    jpeg: Annotated[int | None, typer.Option(help="Pass through JPEG of this quality, 1..100.")] = None,
    seed: Annotated[int, typer.Option(help="Of the shake and the noise.")] = 0,
    border: Annotated[
        Literal["reflect101", "reflect", "replicate", "zero", "circular"],
        typer.Option(help="What lies beyond the border."),
    ] = "reflect101",
    kernel_out: Annotated[Path | None, typer.Option(help="Write the kernel too: .npy or a picture.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as one JSON object.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace files that exist.")] = False,
) -> None:
    """Blur a picture with a kernel of your choice; noise and JPEG if you like."""
    import numpy as np

    from unblur import files
    from unblur.image import from_array, to_array
    from unblur.physics import kernels
    from unblur.physics import noise as degradations
    from unblur.physics.varying import blur_image

    _refuse_strangers(
        kind,
        sigma=sigma,
        sigma_y=sigma_y,
        radius=radius,
        length=length,
        angle=angle,
        size=size,
        kernel=kernel,
    )
    if not 0 <= noise <= 1:
        raise OptionError(f"--noise must lie in 0..1, got {noise}")
    if jpeg is not None and not 1 <= jpeg <= 100:
        raise OptionError(f"--jpeg must lie in 1..100, got {jpeg}")
    rng = np.random.default_rng(seed)
    drawn = _draw(
        kind,
        _or(sigma, 2.0),
        sigma_y,
        _or(radius, 3.0),
        _or(length, 15.0),
        angle or 0.0,
        size or 21,
        kernel,
        rng,
    )
    source = files.Source.open(picture)
    image = blur_image(from_array(source.read()), drawn, border=border)
    if noise:
        image = degradations.gaussian_noise(image, noise, rng)
    if jpeg is not None:
        image = degradations.jpeg(image, jpeg)
    files.save(to_array(image, source.dtype), output, like=source, overwrite=overwrite)
    if kernel_out is not None and drawn.kernel is not None:
        kernels.save_kernel(kernel_out, drawn.kernel)
    if as_json:
        print_json(
            {
                "input": str(picture),
                "output": str(output),
                "blur": drawn.to_dict(),
                "jpeg": jpeg,
                "seed": seed,
            }
        )
    else:
        typer.echo(f"{output}  {drawn}")


def _draw(
    kind: Kind,
    sigma: float,
    sigma_y: float | None,
    radius: float,
    length: float,
    angle: float,
    size: int,
    kernel: Path | None,
    rng: np.random.Generator,
) -> Blur:
    from unblur.physics import kernels
    from unblur.physics.blur import Blur

    match kind:
        case "gaussian" if sigma_y is None:
            return Blur("gaussian", {"sigma": sigma}, kernel=kernels.gaussian(sigma))
        case "gaussian":
            assert sigma_y is not None
            numbers = {"sigma": sigma, "sigma_y": sigma_y, "angle": angle}
            return Blur("gaussian", numbers, kernel=kernels.gaussian(sigma, sigma_y, angle))
        case "disk":
            return Blur("disk", {"radius": radius}, kernel=kernels.disk(radius))
        case "motion":
            return Blur("motion", {"length": length, "angle": angle}, kernel=kernels.motion(length, angle))
        case "shake":
            return Blur("shake", {"size": size}, kernel=kernels.shake(size, rng))
        case "file":
            assert kernel is not None
            return Blur("kernel", kernel=kernels.load_kernel(kernel))


def _refuse_strangers(kind: Kind, **given: object) -> None:
    """An option that would be ignored silently is a mistake to point out."""
    strangers = [name for name, value in given.items() if value is not None and name not in _BELONGS[kind]]
    if strangers:
        raise OptionError(f"--{strangers[0].replace('_', '-')} means nothing for --kind {kind}")
    if kind == "file" and given["kernel"] is None:
        raise OptionError("--kind file needs --kernel FILE")


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
