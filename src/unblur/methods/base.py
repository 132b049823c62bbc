"""What a method is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unblur.classical import Continuation, Statistics
from unblur.image import Image
from unblur.physics.blur import Blur


@dataclass(frozen=True)
class Options:
    """How a method is to run, the same for all tiles of a picture.

    iterations: None for the method's own number. statistics, border: what `Method.prepare` fixed for the whole
    picture: what a solver fits to it, and what lies beyond its border. wanted: the rows and columns of the result that
    are of use, where these are not all; a method may put anything finite in the others.
    """

    iterations: int | None = None
    statistics: Statistics | None = None
    border: Continuation = "auto"
    wanted: tuple[slice, slice] | None = None


def _as_they_are(_image: Image, _blur: Blur, options: Options) -> Options:
    """The options as they are: nothing belongs to the whole picture."""
    return options


@dataclass(frozen=True)
class Method:
    """A named way back.

    name, summary: as the user sees them. find: the blur of an image, where none was given. run: image, blur
    and options to the restored image of the same shape; the blur's `noise` is known by then. halo: how many
    pixels around a tile its result depends on. bytes_per_pixel: peak working memory for each pixel of an RGB
    tile. bytes_with: how many these are with options that `prepare` has fixed, where they tell. fixed_bytes: what it
    takes beside, whatever the size of the tile. bytes_with_fixed: for each pixel while it takes that, where fewer.
    multiple: tiles begin at multiples of this. side: the only side of a tile that it takes, or None.
    prepare: what belongs to the whole picture and not to a tile, from the picture or its middle.
    needs_blur: without a blur there is nothing to do. iterative: whether `iterations` means anything.
    careful: its result is checked, and falls back to the input where it cannot be right.
    models: names or files of the networks that it runs. run_batch: `run` for pictures of one shape at once,
    (N, H, W, C) float32 in and out, for a method that needs no blur; None where that saves nothing.
    """

    name: str
    summary: str
    find: Callable[[Image], Blur]
    run: Callable[[Image, Blur, Options], Image]
    halo: Callable[[Blur, Options], int]
    bytes_per_pixel: int
    bytes_with: Callable[[Options], int] | None = None
    fixed_bytes: int = 0
    bytes_with_fixed: int | None = None
    multiple: int = 1
    side: int | None = None
    prepare: Callable[[Image, Blur, Options], Options] = _as_they_are
    needs_blur: bool = True
    iterative: bool = False
    careful: bool = False
    models: tuple[str, ...] = ()
    run_batch: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
