"""Image pyramids of multi-scale networks."""

from __future__ import annotations

from numpy.typing import NDArray

from unblur.datasets.common import Depth, resize
from unblur.errors import OptionError


def pyramid(image: NDArray[Depth], levels: int) -> list[NDArray[Depth]]:
    """An image and its halves, quarters and so on, finest first, each made from the image itself.

    Shape: (H, W, C) in, (H / 2^i, W / 2^i, C) out; uint8 or uint16 (rounded half up) or float32 in [0, 1],
    kept. MATLAB's antialiased bicubic `imresize`, as in Nah, Kim and Lee 2017.
    Raises OptionError unless both sides are multiples of 2^(levels - 1).
    """
    height, width = image.shape[:2]
    if levels < 1 or height % (step := 2 ** (levels - 1)) or width % step:
        raise OptionError(f"a picture of {width}x{height} has no pyramid of {levels} levels")
    return [image] + [resize(image, height >> level, width >> level) for level in range(1, levels)]
