"""A large picture through a network, piece by piece: its activations need not all be in memory, and fit caches."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

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
    size: tuple[int, ...],
) -> NDArray[np.float32]:
    """What a network makes of a picture of any size.

    show: rows and columns, as slices of the picture, to what the network is shown of them, (C, h, w). size: (H, W),
    multiples of the card's `size_multiple`. Shape: (3, H, W) out.
    """
    assert card.halo is not None
    step = card.size_multiple
    shared = -(-round(_SHARED * card.halo) // step) * step
    restored: NDArray[np.float32] = np.empty((3, *size), np.float32)
    for down, across in product(_cut(size[0], step), _cut(size[1], step)):
        outer, inner = zip(
            *(
                (slice(start := max(one.start - shared, 0), min(one.stop + shared, length)),
                 slice(one.start - start, one.stop - start))
                for one, length in zip((down, across), size, strict=True)
            ),
            strict=True,
        )  # fmt: skip
        restored[:, down, across] = backend.run(show(*outer)[None])[0][:, *inner]
    return restored


def _cut(length: int, step: int) -> list[slice]:
    """Parts of about the same length, multiples of a step."""
    count = -(-length // _SIDE)
    ends = [round(length / step * part / count) * step for part in range(count + 1)]
    return [slice(*ends[part : part + 2]) for part in range(count)]
