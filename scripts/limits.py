"""Where the default method works and where it fails, on pictures that anyone may show.

    python scripts/limits.py [--into docs/model-card.md]

Each case blurs a public-domain photograph of scikit-image, rounds it to 8 bits, and restores it with `auto`, nothing
told. Strips (blurred, restored, sharp) go to images/limits.jpg beside the page, the table behind its marker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import skimage.data
import typer
from numpy.typing import NDArray
from scipy import ndimage

import unblur
from unblur import files
from unblur.image import Image, from_array, to_array
from unblur.metrics import gain, psnr
from unblur.physics import kernels
from unblur.physics.convolve import convolve
from unblur.physics.noise import gaussian_noise, jpeg

MARKER = "<!-- limits -->"

HEAD = (
    "| what happened | picture | told as | PSNR before | after | gain | left alone |",
    "|---|---|---|---:|---:|---:|---|",
)

#: Side of the windows shown, pixels.
WINDOW = 224

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """A row: what happens to which picture, where to look (row, column), and how it is blurred."""

    what: str
    picture: str
    window: tuple[int, int]
    blur: Callable[[Image], Image]


def moving_object(image: Image) -> Image:
    """The middle moves to the right, the rest stands still."""
    height, width = image.shape[:2]
    down, right = np.mgrid[:height, :width]
    inside = ((down - height / 2) ** 2 + (right - width / 2) ** 2 < (height / 3.2) ** 2).astype(np.float32)
    share = ndimage.gaussian_filter(inside, 3)[:, :, None]
    return share * convolve(image, kernels.motion(19, 0)) + (1 - share) * image


CASES = (
    Case("out of focus, disk of radius 3", "coffee", (90, 150), lambda x: convolve(x, kernels.disk(3))),
    Case("line of 15 at 30 degrees", "astronaut", (0, 130), lambda x: convolve(x, kernels.motion(15, 30))),
    Case(
        "camera shake over 23 pixels",
        "chelsea",
        (40, 90),
        lambda x: convolve(x, kernels.shake(23, np.random.default_rng(5))),
    ),
    Case("sharp", "rocket", (100, 220), lambda x: x),
    Case(
        "disk of radius 3, then JPEG of quality 20",
        "coffee",
        (90, 150),
        lambda x: jpeg(convolve(x, kernels.disk(3)), 20),
    ),
    Case(
        "Gaussian 5, noise of 5/255",
        "astronaut",
        (0, 130),
        lambda x: gaussian_noise(convolve(x, kernels.gaussian(5)), 5 / 255, np.random.default_rng(0)),
    ),
    Case("only an object moves, by 19 pixels", "coffee", (90, 150), moving_object),
    Case(
        "camera shake over 31 pixels at night",
        "rocket",
        (100, 220),
        lambda x: convolve(x, kernels.shake(31, np.random.default_rng(1))),
    ),
)


def shown(case: Case) -> tuple[str, Pixels]:
    """A row of the table and its strip."""
    sharp = getattr(skimage.data, case.picture)()
    blurred = to_array(case.blur(from_array(sharp)), np.uint8)
    result = unblur.restore(blurred)
    restored = np.asarray(result.image)
    before, after = (psnr(sharp, one, data_range=255) for one in (blurred, restored))
    top, left = case.window
    cut = (slice(top, top + WINDOW), slice(left, left + WINDOW))
    strip = np.concatenate([one[cut] for one in (blurred, restored, sharp)], axis=1)
    alone = ", ".join(line.partition(":")[0] for line in result.left_alone)
    numbers = [f"{ratio:.2f}" if np.isfinite(ratio) else "exact" for ratio in (before, after)]
    return (
        f"| {case.what} | `{case.picture}` | {result.blur.kind} | {numbers[0]} | {numbers[1]} |"
        f" {gain(after, before):+.2f} | {alone or 'nothing'} |",
        strip,
    )


def main(
    into: Annotated[
        Path | None, typer.Option(help="Write the table and the strips here; else print.")
    ] = None,
) -> None:
    rows, strips = zip(*map(shown, CASES), strict=True)
    table = "\n".join([*HEAD, *rows])
    if into is None:
        print(table)
        return
    page = into.read_text()
    head, rest = page.split(MARKER, 1)
    tail = rest.partition("\n\n")[2]
    into.write_text(f"{head}{MARKER}\n{table}\n\n{tail}")
    half = len(strips) // 2
    columns = [np.concatenate(part) for part in (strips[:half], strips[half:])]
    gap = np.full((columns[0].shape[0], 16, 3), 255, np.uint8)
    folder = into.parent / "images"
    files.save(
        np.concatenate([columns[0], gap, columns[1]], axis=1),
        folder / "limits.jpg",
        overwrite=True,
        quality=85,
    )


if __name__ == "__main__":
    typer.run(main)
