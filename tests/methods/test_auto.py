"""What `auto` does with pictures that were blurred by arithmetic alone."""

from __future__ import annotations

import numpy as np

from unblur import restore
from unblur.classical.canvas import find_border
from unblur.image import Image
from unblur.physics.convolve import convolve
from unblur.physics.kernels import gaussian


def test_a_thumbnail_comes_back_though_its_borders_do_not_look_mirrored(astronaut: Image) -> None:
    reduced = astronaut[:510, :510].reshape(85, 6, 85, 6, 3).mean((1, 3))
    sharp = (np.round(255 * reduced[33:65, 30:62]) / 255).astype(np.float32)
    kernel = gaussian(1.0, rule="opencv-f32")
    blurred = convolve(sharp, kernel, border="reflect101")
    assert find_border(blurred, kernel, 3e-8) == "unknown"
    found = restore(blurred)
    assert found.blur.parameters["sigma"] == 1.0
    assert np.abs(found.image - sharp).max() < 0.5 / 255
