"""Camera shake: its kernel is read from the picture itself and taken out by total variation."""

from __future__ import annotations

from functools import partial

from unblur.estimate.shake import shake_blur
from unblur.image import Image
from unblur.methods import classical
from unblur.methods.base import Method
from unblur.physics.blur import Blur

_SOLVER = "total-variation"

#: A kernel that is less sure than this is not believed, and the picture left alone.
BELIEVED = 0.5


def _find(image: Image) -> Blur:
    blur = shake_blur(image)
    return blur if blur.confidence >= BELIEVED else Blur("none", confidence=blur.confidence, noise=blur.noise)


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
