"""What a method is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unblur.image import Image
from unblur.physics.blur import Blur


@dataclass(frozen=True)
class Options:
    """What a user may turn on any method. iterations: None for the method's own number."""

    iterations: int | None = None


@dataclass(frozen=True)
class Method:
    """A named way back.

    name, summary: as the user sees them. find: the blur of an image, where none was given. run: image, blur
    and options to the restored image of the same shape; the blur's `noise` is known by then. halo: how many
    pixels around a tile its result depends on. bytes_per_pixel: peak working memory for each pixel of an RGB
    tile. multiple: tiles begin at multiples of this. side: the only side of a tile that it takes, or None.
    needs_blur: without a blur there is nothing to do. iterative: whether `iterations` means anything.
    careful: its result is checked, and falls back to the input where it cannot be right.
    """

    name: str
    summary: str
    find: Callable[[Image], Blur]
    run: Callable[[Image, Blur, Options], Image]
    halo: Callable[[Blur, Options], int]
    bytes_per_pixel: int
    multiple: int = 1
    side: int | None = None
    needs_blur: bool = True
    iterative: bool = False
    careful: bool = False
