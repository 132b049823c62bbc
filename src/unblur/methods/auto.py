"""The default method: find the blur, decide whether to act, restore, and check the result."""

from __future__ import annotations

from unblur.estimate import analyse
from unblur.estimate.likelihood import ARITHMETIC_NOISE, LARGEST, are_whole, cosine_filter
from unblur.estimate.shake import explains_worse, shake_blur
from unblur.image import Image, luma
from unblur.methods import classical
from unblur.methods.base import Method, Options
from unblur.physics.blur import Blur

#: The solver that restores best on photographs with an estimated kernel.
SOLVER = "total-variation"

#: A kernel that was found pixel by pixel is believed from this confidence on: a wrong one costs decibels.
_BELIEVED = 0.7

#: A line that is less sure than this may be a shake. It is one where a shake's kernel, believed from the second number
#: on, explains the spectrum better by the third at least, in the logarithm of the deviance: true lines were below 0.1,
#: shakes from 0.42 on.
_SURE_LINE, _LIKELY, _BETTER = 0.85, 0.6, 0.3


def find(image: Image) -> Blur:
    """The blur of an image, camera shake included; "none" where it cannot be told. Raises ImageError."""
    blur = analyse(image).blur
    if blur.kind == "motion" and blur.confidence < _SURE_LINE:
        return _line_or_shake(image, blur)
    if blur.kind != "shake":
        return blur
    shake = shake_blur(image)
    return shake if shake.confidence >= _BELIEVED else Blur("none", confidence=0.0, noise=blur.noise)


def _line_or_shake(image: Image, line: Blur) -> Blur:
    """Which of both a blur is that looks like a line, though not surely."""
    shake = shake_blur(image)
    if shake.confidence < _LIKELY or shake.kernel is None or line.kernel is None:
        return line
    return shake if explains_worse(luma(image), line.kernel, shake.kernel) >= _BETTER else line


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
