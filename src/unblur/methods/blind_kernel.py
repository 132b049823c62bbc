"""Camera shake: its kernel is read from the picture itself and taken out by total variation."""

from __future__ import annotations

from unblur.estimate.shake import shake_blur
from unblur.image import Image
from unblur.methods import classical
from unblur.physics.blur import Blur

#: A kernel that is less sure than this is not believed, and the picture left alone.
BELIEVED = 0.5


def _find(image: Image) -> Blur:
    blur = shake_blur(image)
    return blur if blur.confidence >= BELIEVED else Blur("none", confidence=blur.confidence, noise=blur.noise)


BLIND_KERNEL = classical.row(
    "blind-kernel",
    "total-variation",
    "reads the kernel of camera shake, whatever its path, from the picture; leaves it alone if unsure",
    find=_find,
)
