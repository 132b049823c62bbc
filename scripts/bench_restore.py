"""Blind restoration of photographs: gain of `auto` under known blurs, and harm to sharp originals.

    scripts/bench restore --data DIR [--limit 50] [--blurs sharp,gaussian:1,disk:2,motion:7,shake,mixed-u8] [--worst 10]

DIR is a folder of sharp photographs. Each is blurred (mirrored at its borders), rounded to 8 bits, and restored without
being told how. `opencv:3` is the Gaussian of cv2.GaussianBlur in 8 bits, whose taps are multiples of 1/256. A line's
angle and a shake are drawn for each picture; `levin` takes the kernels `*.npy` of --kernels in turn, centred to the
pixel, and is scored up to a shift of a pixel, since their centroids lie between pixels and no blind method can tell
where (`levin:exact`: pixel by pixel); a named degradation is drawn as `unblur.degrade` does with seed 2. `enlarged:2`
is no blur: the picture is made half as large, and as large again by nearest, linear, cubic and Lanczos interpolation
in turn; the best that can be done is to leave it alone.
Gain = min(PSNR_out, 45) - min(PSNR_in, 45), protocol rgb8-v1. Harmed: a gain below -0.5 dB. Moved: by how much, at the
most, restoring moved the mean of a channel, in 255ths; off: by how much further it then was from that of the sharp
picture.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import pyvips
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import unblur
from unblur import files
from unblur.image import Image, from_array, to_array
from unblur.metrics import gain, psnr
from unblur.metrics.alignment import score_up_to_shift
from unblur.physics import degrade, kernels
from unblur.physics.blur import NO_BLUR, Blur
from unblur.physics.convolve import convolve

SEED = 2

#: A gain below this is harm, in dB.
HARM = -0.5

#: What pictures are enlarged by, in turn.
INTERPOLATIONS = ("nearest", "linear", "cubic", "lanczos3")

Pixels: TypeAlias = NDArray[np.uint8]


def drawn(what: str, index: int, folder: Path | None) -> Blur:
    """The blur of picture `index` under a row of the table."""
    kind, _, size = what.partition(":")
    rng = np.random.default_rng([SEED, index])
    match kind:
        case "sharp":
            return NO_BLUR
        case "gaussian":
            return Blur("gaussian", {"sigma": float(size)}, kernels.gaussian(float(size)))
        case "opencv":
            return Blur("gaussian", {"sigma": float(size)}, kernels.gaussian_u8(float(size)))
        case "disk":
            return Blur("disk", {"radius": float(size)}, kernels.disk(float(size)))
        case "motion":
            angle = rng.uniform(0, 180)
            return Blur("motion", {"length": float(size), "angle": angle}, kernels.motion(float(size), angle))
        case "shake":
            side = 2 * int(rng.integers(4, 16)) + 1
            return Blur("shake", {"size": side}, kernels.shake(side, rng))
        case "levin" if folder is not None:
            paths = sorted(folder.glob("*.npy"))
            return Blur("kernel", kernel=kernels.load_kernel(paths[index % len(paths)], centred=True))
    raise typer.BadParameter(f"unknown blur {what!r}, or --kernels is missing")


def blurred(sharp: Image, what: str, index: int, folder: Path | None) -> tuple[Image, Image, degrade.Draw]:
    """A blurred picture, what it should become, and what was drawn for it."""
    if what in degrade.DEGRADATIONS and what != "sharp":
        image, draw = degrade.degrade(sharp, what, SEED, index)
        return image, degrade.reference(sharp, draw), draw
    if what.startswith("enlarged:"):
        factor = float(what.partition(":")[2])
        return enlarged(sharp, factor, INTERPOLATIONS[index % 4]), sharp, degrade.Draw(what, NO_BLUR)
    blur = drawn(what, index, folder)
    image = sharp if blur.kernel is None else convolve(sharp, blur.kernel)
    return image, sharp, degrade.Draw(what, blur)


def enlarged(sharp: Image, factor: float, interpolation: str) -> Image:
    """What is left of a picture that was made so many times as small, and then as large as before."""
    whole = pyvips.Image.new_from_array(to_array(sharp, np.uint8))
    small = whole.resize(1 / factor, kernel="lanczos3")
    across, down = whole.width / small.width, whole.height / small.height
    return from_array(small.resize(across, vscale=down, kernel=interpolation).numpy())


def score(wanted: Pixels, found: Pixels, what: str) -> float:
    if what == "levin":
        return score_up_to_shift(from_array(wanted), from_array(found), reach=1).psnr
    return psnr(wanted, found, data_range=255)


def story(draw: degrade.Draw, told: Blur) -> str:
    """What was drawn for a picture, and what it was taken for."""
    parts = dict.fromkeys(map(str, draw.blur.parts))
    blur = ", ".join([str(draw.blur), *(parts if len(parts) <= 3 else ["rotation and zoom"])])
    jpeg = f", JPEG {draw.jpeg}" if draw.jpeg else ""
    clipped = f", exposure {draw.exposure}" if draw.exposure != 1 else ""
    return f"{blur}, noise {draw.noise:.4f}{jpeg}{clipped}; told {told}, noise {told.noise or 0:.4f}"


def main(
    data: Annotated[Path, typer.Option(help="A folder of sharp photographs.")],
    limit: int = 50,
    method: str = "auto",
    blurs: str = "sharp,gaussian:1,gaussian:2,gaussian:3,disk:2,disk:4,motion:7,motion:15,shake,mixed-u8",
    kernel_folder: Annotated[Path | None, typer.Option("--kernels", help="Kernels of `levin`.")] = None,
    known: Annotated[bool, typer.Option(help="Tell the true kernel: an upper bound.")] = False,
    noise: Annotated[float, typer.Option(help="Add white noise of this deviation, [0, 1] units.")] = 0.0,
    jpeg: Annotated[int, typer.Option(help="Compress the blurred pictures at this quality.")] = 0,
    rounds: Annotated[int, typer.Option(help="How often each picture is blurred, by other draws.")] = 1,
    worst: Annotated[int, typer.Option(help="List so many of the worst, and what was drawn for them.")] = 0,
) -> None:
    paths = sorted(path for path in data.iterdir() if path.suffix.lower() in files.READABLE)[:limit]
    if not paths:
        raise typer.BadParameter(f"{data}: holds no pictures; give the folder that they lie in")
    table = Table("blur", "psnr in", "psnr out", "mean gain", "worst gain", "harmed", "moved", "off", "left alone",
                  "kind told", "s/image")  # fmt: skip
    stories: list[tuple[float, str]] = []
    for what in blurs.split(","):
        rows, alone, told, seconds, names, moved, off = [], 0, 0, 0.0, [], 0.0, 0.0
        for index, path in enumerate(paths * rounds):
            image, target, draw = blurred(
                from_array(files.Source.open(path).read()), what, index, kernel_folder
            )
            blur = draw.blur
            if noise:
                grain = np.random.default_rng([SEED, index, 1]).standard_normal(image.shape, np.float32)
                image = np.clip(image + np.float32(noise) * grain, 0, 1)
            given, wanted = to_array(image, np.uint8), to_array(target, np.uint8)
            if jpeg:
                given = files.decode(files.encode(given, ".jpg", quality=jpeg))
            started = time.perf_counter()
            result = unblur.restore(given, method, kernel=blur.kernel if known else None)
            seconds += time.perf_counter() - started
            alone += result.method == "none"
            told += result.blur.kind == blur.kind
            before, after = (score(wanted, other, what) for other in (given, result.image))
            rows.append((min(before, 60), min(after, 60), gain(after, before)))
            names.append(path.name)
            means = [pixels.mean((0, 1)) for pixels in (given, result.image, wanted)]
            moved = max(moved, float(np.abs(means[1] - means[0]).max()))
            further = np.abs(means[1] - means[2]) - np.abs(means[0] - means[2])
            off = max(off, float(further.max()))
            stories.append((rows[-1][2], f"{path.name} as {index}: {story(draw, result.blur)}"))
        before, after, gains = np.array(rows).T
        lowest = int(np.argmin(after if what == "sharp" else gains))
        table.add_row(
            what,
            f"{before.mean():.2f}",
            f"{after.mean():.2f} (min {after.min():.2f})",
            f"{gains.mean():+.2f}",
            f"{gains[lowest]:+.2f} {names[lowest]}",
            f"{np.count_nonzero(gains < HARM)}",
            f"{moved:.2f}",
            f"{off:.2f}",
            f"{alone}",
            f"{told}",
            f"{seconds / len(rows):.2f}",
        )
    console = Console(width=150)
    console.print(table)
    for won, told_of in sorted(stories)[:worst]:
        console.print(f"{won:+.2f} {told_of}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
