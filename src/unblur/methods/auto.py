"""The default method: find the blur, decide whether to act, restore, and check the result."""

from __future__ import annotations

from unblur.estimate import estimate_blur
from unblur.image import Image
from unblur.methods import classical
from unblur.methods.base import Method, Options
from unblur.physics.blur import Blur

#: The solver that restores best on photographs with an estimated kernel.
SOLVER = "total-variation"


def _run(image: Image, blur: Blur, options: Options) -> Image:
    return classical.solve(SOLVER, image, blur, options)


def _halo(blur: Blur, options: Options) -> int:
    return classical.halo(SOLVER, blur, options)


AUTO = Method(
    name="auto",
    summary="finds the blur, restores where it is sure, leaves sharp pictures alone, checks itself",
    find=estimate_blur,
    run=_run,
    halo=_halo,
    bytes_per_pixel=classical.TOTAL_VARIATION.bytes_per_pixel,
    prepare=classical.prepare,
    iterative=True,
    careful=True,
)
