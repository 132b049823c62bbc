"""Camera shake: its kernel is read from the picture itself and taken out by total variation."""

from __future__ import annotations

from functools import partial

from unblur.estimate import noise_level
from unblur.estimate.shake import shake_kernel
from unblur.image import Image
from unblur.methods import classical
from unblur.methods.base import Method
from unblur.physics.blur import Blur

_SOLVER = "total-variation"

#: A kernel that is less sure than this is not believed, and the picture left alone.
BELIEVED = 0.5

#: What the errors of an estimated kernel leave is taken for noise of this standard deviation, in [0, 1] units.
_KERNEL_NOISE = 0.005


def _find(image: Image) -> Blur:
    kernel, confidence = shake_kernel(image)
    if confidence < BELIEVED or len(kernel) == 1:
        return Blur("none", confidence=confidence)
    noise = max(noise_level(image), _KERNEL_NOISE)
    return Blur("shake", {"size": len(kernel)}, kernel, confidence=confidence, noise=noise)


BLIND_KERNEL = Method(
    name="blind-kernel",
    summary="reads the kernel of camera shake, whatever its path, from the picture; leaves it alone if unsure",
    find=_find,
    run=partial(classical.solve, _SOLVER),
    halo=partial(classical.halo, _SOLVER),
    bytes_per_pixel=classical.TOTAL_VARIATION.bytes_per_pixel,
    prepare=classical.prepare,
    iterative=True,
)
