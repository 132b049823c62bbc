"""A large picture through a network, piece by piece: its activations need not all be in memory, and fit caches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unblur import tiling
from unblur.models import ModelCard
from unblur.runtime.base import Backend

#: Largest side of a piece in pixels, without what it shares with others.
_SIDE = 640

#: Neighbours share this part of the network's halo on either side. What is left out of a halo changes a picture of
#: 10/255 noise by 0.05/255 at most, and one of 1/255 by a tenth of that.
_SHARED = 0.4

PIXELS = (_SIDE + 2 * 32) ** 2
"""As many as a piece may have, with what it shares."""


def run_in_pieces(
    backend: Backend,
    card: ModelCard,
    show: Callable[[slice, slice], NDArray[np.float32]],
    size: tuple[int, int],
) -> NDArray[np.float32]:
    """What a network makes of a picture of any size.

    show: rows and columns, as slices of the picture, to what the network is shown of them, (C, h, w). size: (H, W),
    multiples of the card's `size_multiple`. Shape: (3, H, W) out.
    """
    assert card.halo is not None
    restored: NDArray[np.float32] = np.empty((3, *size), np.float32)
    for piece in tiling.tiles(*size, _SIDE, round(_SHARED * card.halo), card.size_multiple):
        restored[:, *piece.inner] = backend.run(show(*piece.outer)[None])[0][:, *piece.crop]
    return restored
