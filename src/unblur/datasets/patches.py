"""Training patches of real pairs: corners at random, those that show blur preferred.

A patch whose blurred and sharp sides agree already teaches little; the SSIM between them tells.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unblur.datasets import pairs as folders
from unblur.datasets import reds
from unblur.datasets.common import Pair, Pairs, Pixels
from unblur.errors import FileError, OptionError
from unblur.metrics import ssim

SIZE = 256
THRESHOLD = 0.9


class Patch(NamedTuple):
    """A cut of a pair, (size, size, C) each: views of the frames, not copies."""

    blurred: Pixels
    sharp: Pixels
    top: int
    left: int


def select_patches(
    blurred: Pixels,
    sharp: Pixels,
    count: int,
    rng: np.random.Generator,
    *,
    size: int = SIZE,
    threshold: float = THRESHOLD,
    tries: int = 100,
) -> list[Patch]:
    """`count` random patches of a pair, those with an SSIM below `threshold` first.

    Shape: (H, W, C) uint8, equal. `tries` different corners are drawn and looked at in order until enough patches
    are found; what is then lacking is filled up with patches from anywhere.
    Raises OptionError for a picture smaller than `size`.
    """
    found: list[Patch] = []
    for patch in _draw(blurred, sharp, tries, rng, size):
        if len(found) == count:
            break
        if ssim(patch.blurred, patch.sharp, data_range=255) < threshold:
            found.append(patch)
    while len(found) < count:
        found += _draw(blurred, sharp, count - len(found), rng, size)
    return found


def patch_ssims(
    pairs: Iterable[Pair], rng: np.random.Generator, per_frame: int, *, size: int = SIZE
) -> NDArray[np.float64]:
    """SSIM between the two sides of `per_frame` random patches of every pair, fewer where there are no more corners.

    Shape: (n,), in the order of the pairs.
    Raises OptionError for a picture smaller than `size`.
    """
    drawn = (patch for pair in pairs for patch in _draw(pair.blurred, pair.sharp, per_frame, rng, size))
    return np.array([ssim(patch.blurred, patch.sharp, data_range=255) for patch in drawn])


def find_pairs(root: str | os.PathLike[str]) -> Pairs:
    """The pairs of a folder: the training frames of REDS, whole or reduced, or of blurred (blur) beside sharp.

    Raises FileError where there are neither.
    """
    for reduced in (False, True):
        for base in (Path(root), Path(root) / "train"):
            if (base / ("train_sharp_bicubic" if reduced else "train_sharp")).is_dir():
                return reds.pairs(root, "train", reduced=reduced)
    try:
        return folders.inside(root)
    except FileError as error:
        raise FileError(f"{error}, nor is it the root of REDS") from error


def _draw(blurred: Pixels, sharp: Pixels, count: int, rng: np.random.Generator, size: int) -> Iterator[Patch]:
    """Patches at different random corners, at most as many as there are."""
    height, width = sharp.shape[:2]
    if min(height, width) < size:
        raise OptionError(f"a picture of {width}x{height} has no patch of {size} pixels; give a smaller size")
    rows, columns = height - size + 1, width - size + 1
    for corner in rng.choice(rows * columns, min(count, rows * columns), replace=False):
        top, left = divmod(int(corner), columns)
        cut = np.s_[top : top + size, left : left + size]
        yield Patch(blurred[cut], sharp[cut], top, left)
