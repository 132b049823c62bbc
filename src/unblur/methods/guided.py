"""A guided network as a method: estimate the blur, deconvolve, and let the network clean up and judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unblur.classical.guide import CHANNELS, guide, spread
from unblur.classical.total_variation import total_variation
from unblur.estimate import estimate_blur
from unblur.estimate.likelihood import LARGEST, cosine_candidates
from unblur.image import Image
from unblur.methods import classical, photograph
from unblur.methods.base import Method, Options
from unblur.methods.pieces import PIXELS, run_in_pieces
from unblur.models import ModelCard
from unblur.physics.blur import Blur, Kernel
from unblur.physics.convolve import pad
from unblur.physics.kernels import gaussian
from unblur.runtime.base import Backend

#: Channels of a network that is shown four candidates.
CANDIDATES = CHANNELS + 9
#: For each pixel of a tile when the network runs: what it is shown, its result, and what is around.
_BYTES_SHOWN = 100
#: By how much the Gaussians of two of them are narrower and wider: an estimate is rarely further from the truth.
_WRONG = 0.06


def method(backend: Callable[[], Backend], card: ModelCard, source: str) -> Method:
    """The method that runs a guided network. backend: gives what runs it. source: its weights, for the record."""
    own = Method(
        name=card.name,
        summary=f"the network {card.name}, shown a deconvolution",
        find=estimate_blur,
        run=lambda image, blur, options: run(backend(), card, image, blur, options),
        halo=halo(card),
        # What it is shown takes less than total variation did to make it.
        bytes_per_pixel=classical.TOTAL_VARIATION.bytes_per_pixel,
        bytes_with=classical.total_variation_bytes,
        fixed_bytes=fixed_bytes(card),
        bytes_with_fixed=_BYTES_SHOWN,
        prepare=classical.prepare,
        multiple=card.size_multiple,
        models=(source,),
    )
    if "shake" in card.blur_kinds:  # for photographs under any blur
        return replace(own, find=photograph.find, run=partial(_run_or_divide, backend, card), careful=True)
    return own


def _run_or_divide(
    backend: Callable[[], Backend], card: ModelCard, image: Image, blur: Blur, options: Options
) -> Image:
    restored = photograph.divided(image, blur, options)
    return run(backend(), card, image, blur, options) if restored is None else restored


def run(backend: Backend, card: ModelCard, image: Image, blur: Blur, options: Options) -> Image:
    """Restore with a guided network. Shape: (H, W, C) in and out, C 1 or 3."""
    height, width, channels = image.shape
    shown = _show(image, blur, options, card)
    rows, columns = (-side % card.size_multiple for side in (height, width))
    if rows or columns:
        shown = pad(shown.transpose(1, 2, 0), (0, rows, 0, columns), "reflect101").transpose(2, 0, 1)
    if max(height, width) <= LARGEST:  # where finding the blur takes longer
        restored = _run_turned(backend, shown).transpose(1, 2, 0)
    else:
        restored = run_in_pieces(backend, card, shown, options.wanted)
    restored = restored[:height, :width]
    if channels == 1:
        restored = restored.mean(axis=2, keepdims=True)
    return np.ascontiguousarray(np.clip(restored, 0, 1, out=restored))


def _run_turned(backend: Backend, shown: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over what a network makes of all that is shown, turned and mirrored. Shape: (C, H, W) to (3, H, W).

    A network's errors are not quite the same each way (Timofte, Rothe and Van Gool, "Seven ways to improve
    example-based single image super resolution", 2016).
    """
    turns = range(4) if shown.shape[1] == shown.shape[2] else (0, 2)
    ways = [(mirror, turn) for mirror in (1, -1) for turn in turns]
    batch = np.stack([np.rot90(shown[:, ::mirror], turn, (1, 2)) for mirror, turn in ways])
    restored = backend.run(np.ascontiguousarray(batch))
    back = [
        np.rot90(one, -turn, (1, 2))[:, ::mirror] for one, (mirror, turn) in zip(restored, ways, strict=True)
    ]
    mean: NDArray[np.float32] = np.mean(back, axis=0, dtype=np.float32)
    return mean


def guide_thumbnail(image: Image, kernel: Kernel | None, noise: float) -> NDArray[np.float32]:
    """The channels of `guide` for a thumbnail under a Gaussian, and three more candidates.

    The first is that of the cosine transform. The others: total variation's result, which knows edges, and those
    of a narrower and of a wider Gaussian, so that a network can see by their ringing which way an estimate is wrong.
    Shape: (H, W, C) in, sides of 3 to 64 pixels; (17, H, W) out. kernel: None where the blur is unknown; then
    all of them are the picture. noise: standard deviation in [0, 1] units.
    """
    if kernel is None:
        return widened(guide(image, None, noise=noise), CANDIDATES)
    sigma = spread(kernel) / 2**0.5
    narrower, wider = (gaussian(sigma * (1 + wrong), rule="opencv-u8") for wrong in (-_WRONG, _WRONG))
    right, *others = cosine_candidates(image, (kernel, narrower, wider), noise)
    shown = widened(guide(image, kernel, noise=noise, candidate=right), CANDIDATES)
    for place, other in enumerate((total_variation(image, kernel, noise=noise), *others)):
        shown[CHANNELS + 3 * place : CHANNELS + 3 * (place + 1)] = other.transpose(2, 0, 1)
    return shown


def widened(shown: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """What a network with more candidates is shown where there is one only."""
    more = (channels - len(shown)) // 3
    return np.concatenate([shown, *[shown[3:6]] * more]) if more else shown


def _show(image: Image, blur: Blur, options: Options, card: ModelCard) -> NDArray[np.float32]:
    """What the network sees, (C, H, W); of a blur that varies, the mixture of what its parts would give."""
    blurs = [part for part in blur.parts if part.where is not None] or [blur]
    noise = blur.noise or 0.0
    shown: NDArray[np.float32] | None = None
    for one in blurs:
        if (
            card.channels == CANDIDATES
            and one.kind == "gaussian"
            and one.kernel is not None
            and max(image.shape[:2]) <= LARGEST
        ):
            part = guide_thumbnail(image, one.kernel, noise)
        else:
            alone = guide(
                image,
                one.kernel,
                noise=noise,
                border=options.border,
                statistics=options.statistics,
                iterations=options.iterations or card.iterations,
            )
            part = widened(alone, card.channels)
        if len(blurs) > 1:
            assert one.where is not None
            part *= one.where
        shown = part if shown is None else shown + part
    assert shown is not None
    return shown


def halo(card: ModelCard) -> Callable[[Blur, Options], int]:
    """How far a guided network looks: as far as total variation beyond its own halo."""
    assert card.halo is not None
    own = card.halo
    return lambda blur, options: own + classical.halo("total-variation", blur, options)


def fixed_bytes(card: ModelCard) -> int:
    """What running it takes, whatever the size of the tile."""
    # ONNX Runtime holds activations twice, the second time in the order that its convolutions take.
    return 2 * card.bytes_per_pixel * PIXELS
