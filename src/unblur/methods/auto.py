"""The default method: find the blur, decide whether to act, restore, and check the result."""

from __future__ import annotations

from unblur.estimate import analyse
from unblur.estimate.likelihood import ARITHMETIC_NOISE, LARGEST, are_whole, cosine_filter
from unblur.estimate.shake import shake_blur
from unblur.image import Image
from unblur.methods import classical
from unblur.methods.base import Method, Options
from unblur.physics.blur import Blur

#: The solver that restores best on photographs with an estimated kernel.
SOLVER = "total-variation"

#: A kernel that was found pixel by pixel is believed from this confidence on: a wrong one costs decibels.
_BELIEVED = 0.7


def find(image: Image) -> Blur:
    """The blur of an image, camera shake included; "none" where it cannot be told. Raises ImageError."""
    blur = analyse(image).blur
    if blur.kind != "shake":
        return blur
    shake = shake_blur(image)
    return shake if shake.confidence >= _BELIEVED else Blur("none", confidence=0.0, noise=blur.noise)


def _run(image: Image, blur: Blur, options: Options) -> Image:
    if _is_arithmetic(image, blur):
        assert blur.kernel is not None
        assert blur.noise is not None
        restored = cosine_filter(image, blur.kernel, blur.noise)
        # Whole numbers come back from a mirrored scene alone, also where its borders do not look like one.
        if options.border == "reflect101" or are_whole(restored):
            return restored
    return classical.solve(SOLVER, image, blur, options)


def _is_arithmetic(image: Image, blur: Blur) -> bool:
    """Whether a thumbnail was blurred by arithmetic alone: symmetrically, and not rounded.

    If it was mirrored at its borders, linear inversion with the right spectrum brings back all that is left.
    """
    quiet = blur.kind == "gaussian" and blur.kernel is not None and (blur.noise or 1) < ARITHMETIC_NOISE
    return quiet and max(image.shape[:2]) <= LARGEST


def _halo(blur: Blur, options: Options) -> int:
    return classical.halo(SOLVER, blur, options)


AUTO = Method(
    name="auto",
    summary="finds the blur, restores where it is sure, leaves sharp pictures alone, checks itself",
    find=find,
    run=_run,
    halo=_halo,
    bytes_per_pixel=classical.TOTAL_VARIATION.bytes_per_pixel,
    prepare=classical.prepare,
    iterative=True,
    careful=True,
)
