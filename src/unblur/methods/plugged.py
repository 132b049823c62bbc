"""A denoiser as a method: `auto`, with the network for a prior."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unblur.classical.canvas import Planes
from unblur.classical.guide import spread
from unblur.classical.plug_and_play import Denoiser, plug_and_play
from unblur.image import Image
from unblur.methods import auto
from unblur.methods.base import Method, Options
from unblur.methods.pieces import PIXELS, run_in_pieces
from unblur.models import ModelCard
from unblur.physics.blur import Blur
from unblur.runtime.base import Backend

#: Kernels that spread less, in pixels, amplify so little noise that the denoiser would take away more than there is.
_NARROW = 1.2


def method(backend: Backend, card: ModelCard, source: str) -> Method:
    """The method that deconvolves with a denoiser, and is `auto` in all else. source: its weights' file."""
    return replace(
        auto.AUTO,
        name=card.name,
        summary=f"as auto, and the network {card.name} says what photographs look like: finer, and slower",
        run=partial(_run, denoiser(backend, card)),
        halo=partial(_halo, card),
        # The turns take less for each pixel than total variation before them.
        fixed_bytes=card.bytes_per_pixel * PIXELS,
        multiple=card.size_multiple,
        models=(source,),
    )


def _run(denoise: Denoiser, image: Image, blur: Blur, options: Options) -> Image:
    """Shape: (H, W, C) in and out, C 1 or 3. A blur that varies, or is next to none, takes `auto`'s way."""
    if blur.parts or blur.kernel is None or spread(blur.kernel) < _NARROW or auto.is_arithmetic(image, blur):
        return auto.AUTO.run(image, blur, options)
    return plug_and_play(
        image,
        blur.kernel,
        denoise=denoise,
        noise=blur.noise,
        iterations=options.iterations,
        border=options.border,
        statistics=options.statistics,
    )


def denoiser(backend: Backend, card: ModelCard) -> Denoiser:
    """What runs a network of the kind "denoiser" on planes of any size."""

    def denoise(planes: Planes, strength: float) -> Planes:
        _, height, width = planes.shape
        rows, columns = (-side % card.size_multiple for side in (height, width))
        if rows or columns:  # the canvas is periodic
            planes = np.pad(planes, ((0, 0), (0, rows), (0, columns)), mode="wrap")

        def show(down: slice, across: slice) -> NDArray[np.float32]:
            seen = planes[:, down, across]
            shown = np.empty((4, *seen.shape[1:]), np.float32)
            shown[:3], shown[3] = seen, strength
            return shown

        return run_in_pieces(backend, card, show, (height + rows, width + columns))[:, :height, :width]

    return denoise


def _halo(card: ModelCard, blur: Blur, options: Options) -> int:
    """As far as the solver looks, and the network, whose later turns change less and less."""
    assert card.halo is not None
    return card.halo + auto.AUTO.halo(blur, options)
