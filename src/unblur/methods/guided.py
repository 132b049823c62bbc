"""A guided network as a method: estimate the blur, deconvolve, and let the network clean up and judge."""

from __future__ import annotations

from functools import partial

import numpy as np

from unblur.classical import SOLVERS
from unblur.classical.guide import CHANNELS, guide
from unblur.estimate import estimate_blur
from unblur.estimate.likelihood import LARGEST, cosine_filter
from unblur.image import Image
from unblur.methods import classical
from unblur.methods.base import Method, Options
from unblur.models import ModelCard
from unblur.physics.blur import Blur, Kernel
from unblur.physics.convolve import pad
from unblur.runtime.base import Backend

#: For each pixel, beside the network's activations: what it is shown, and the picture before and after.
_BYTES_AROUND = 4 * CHANNELS * 2 + 32


def method(backend: Backend, card: ModelCard, source: str) -> Method:
    """The method that runs a guided network. source: the file of its weights, for the record."""
    return Method(
        name=card.name,
        summary=f"the network {card.name}, shown a deconvolution",
        find=estimate_blur,
        run=partial(run, backend, card),
        halo=partial(_halo, card),
        bytes_per_pixel=max(card.bytes_per_pixel + _BYTES_AROUND, SOLVERS["total-variation"].bytes_per_pixel),
        prepare=classical.prepare,
        multiple=card.size_multiple,
        models=(source,),
    )


def run(backend: Backend, card: ModelCard, image: Image, blur: Blur, options: Options) -> Image:
    """Restore with a guided network. Shape: (H, W, C) in and out, C 1 or 3."""
    height, width, channels = image.shape
    shown = _show(image, blur, options)
    rows, columns = (-side % card.size_multiple for side in (height, width))
    shown = pad(shown, (0, rows, 0, columns), "reflect101")
    batch = np.ascontiguousarray(shown.transpose(2, 0, 1))[None]
    restored = backend.run(batch)[0, :, :height, :width].transpose(1, 2, 0)
    if channels == 1:
        restored = restored.mean(axis=2, keepdims=True)
    return np.clip(restored, 0, 1)


def guide_thumbnail(image: Image, kernel: Kernel, noise: float) -> Image:
    """The channels of `guide` for a thumbnail under a Gaussian: its candidate is that of the cosine transform.

    Shape: (H, W, C) in, sides of 3 to 64 pixels; (H, W, 8) out. noise: standard deviation in [0, 1] units.
    """
    return guide(image, kernel, noise=noise, candidate=cosine_filter(image, kernel, noise, fitted=False))


def _show(image: Image, blur: Blur, options: Options) -> Image:
    """What the network sees; of a blur that varies, the mixture of what its parts would give."""
    blurs = [part for part in blur.parts if part.where is not None] or [blur]
    noise = blur.noise or 0.0
    shown: Image | None = None
    for one in blurs:
        if one.kind == "gaussian" and one.kernel is not None and max(image.shape[:2]) <= LARGEST:
            part = guide_thumbnail(image, one.kernel, noise)
        else:
            part = guide(image, one.kernel, noise=noise, border=options.border, statistics=options.statistics)
        if len(blurs) > 1:
            assert one.where is not None
            part *= one.where[:, :, None]
        shown = part if shown is None else shown + part
    assert shown is not None
    return shown


def _halo(card: ModelCard, blur: Blur, options: Options) -> int:
    assert card.halo is not None
    return card.halo + classical.halo("total-variation", blur, options)
