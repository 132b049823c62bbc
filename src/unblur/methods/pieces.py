"""A large picture through a network, piece by piece: its activations need not all be in memory, and fit caches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unblur import tiling
from unblur.models import ModelCard
from unblur.runtime.base import Backend

#: Largest side of a piece in pixels, without what it shares with others.
_SIDE = 640

#: Neighbours share this part of the network's halo on either side. What is left out of it changes a pixel by a fifth of
#: a grey level of 255 at most, and one in a thousand by a twentieth.
_SHARED = 0.8

PIXELS = (_SIDE + 2 * 44) ** 2
"""As many as a piece may have, with what it shares."""


def run_in_pieces(
    backend: Backend,
    card: ModelCard,
    shown: NDArray[np.float32],
    wanted: tuple[slice, slice] | None = None,
) -> NDArray[np.float32]:
    """What a network makes of a picture of any size.

    Shape: what it is shown, (C, H, W), sides multiples of the card's `size_multiple`; (H, W, 3) out. wanted: the part
    that is needed; elsewhere the result may be the candidate.
    """
    assert card.halo is not None
    height, width = shown.shape[1:]
    shared, step = round(_SHARED * card.halo), card.size_multiple
    if wanted is not None:
        seen = [
            slice(
                max(one.start - shared, 0) // step * step, min(-(-(one.stop + shared) // step) * step, length)
            )
            for one, length in zip(wanted, (height, width), strict=True)
        ]
        restored = shown[3:6].transpose(1, 2, 0).copy()
        restored[seen[0], seen[1]] = run_in_pieces(backend, card, shown[:, seen[0], seen[1]])
        return restored
    restored = np.empty((height, width, 3), np.float32)
    for piece in tiling.tiles(height, width, _SIDE, shared, step):
        made = backend.run(np.ascontiguousarray(shown[:, *piece.outer][None]))[0]
        restored[piece.inner] = made[:, *piece.crop].transpose(1, 2, 0)
    return restored
