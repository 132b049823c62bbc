"""Any folder of sharp pictures, and the crops that networks with one input size are trained on."""

from __future__ import annotations

import os
from pathlib import Path

from numpy.typing import NDArray

from unblur.datasets.common import Depth, Pictures, find_pictures, resize
from unblur.errors import OptionError

SHARES = (0.75, 0.05, 0.20)
"""Train, validation and test shares of the photographs that the sigma-CNN was published with, for `split`."""


def pictures(root: str | os.PathLike[str], *, strict: bool = False) -> Pictures:
    """Every picture below a folder, sorted by path; `take` with `split` deals them out.

    Raises FileError for no folder or no picture in it, and, with `strict`, for a file that is none.
    """
    found = find_pictures(Path(root))
    return Pictures.checked({name: (path,) for name, path in found.items()}, where=root, strict=strict)


def fit(image: NDArray[Depth], height: int, width: int) -> NDArray[Depth]:
    """The largest centred window of the wanted aspect, reduced (or enlarged) to `height` x `width`.

    Shape: (H, W, C) in, (height, width, C) out; uint8, uint16 or float32 in [0, 1], kept. Antialiased bicubic.
    Raises OptionError for a side below 1.
    """
    if min(height, width) < 1:
        raise OptionError(f"cannot fit a picture into {width}x{height}; both sides must be at least 1")
    rows, columns = image.shape[:2]
    if columns * height > rows * width:
        window = rows, max(round(rows * width / height), 1)
    else:
        window = max(round(columns * height / width), 1), columns
    top, left = (rows - window[0]) // 2, (columns - window[1]) // 2
    return resize(image[top : top + window[0], left : left + window[1]], height, width)
