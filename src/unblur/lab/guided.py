"""What guided networks learn from: pictures with candidates made from kernels that are right, wrong, found or unknown.

An estimate is never quite right. A network that only ever saw candidates of the true kernel would believe too much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from unblur.classical.canvas import ROUNDING_NOISE
from unblur.classical.guide import CHANNELS, guide
from unblur.estimate import quality_noise
from unblur.estimate.likelihood import LARGEST, likely_gaussian
from unblur.lab.recipe import Guide
from unblur.methods import photograph
from unblur.methods.guided import CANDIDATES, guide_thumbnail, widened
from unblur.physics import kernels
from unblur.physics.blur import Blur, Kernel
from unblur.physics.degrade import Draw

#: Keeps what is drawn here apart from the noise that has the same seed.
_STREAM = 7


def guided(
    degraded: Tensor,
    draws: Sequence[Draw],
    of: Guide,
    margin: int,
    *,
    channels: int = CHANNELS,
    iterations: int | None = None,
) -> Tensor:
    """The channels of `unblur.classical.guide` for each degraded picture, its margin cut off.

    Shape: float32 (N, 3, H, W) in, (N, channels, H - 2 margin, W - 2 margin) out. What is random follows from the draw.
    channels: as of the network; with more candidates than one, what is shown of a thumbnail is what
    `unblur.methods.guided` shows. iterations: of total variation, as of the network.
    """
    shown = []
    for picture, draw in zip(degraded, draws, strict=True):
        image = np.ascontiguousarray(picture.cpu().numpy().transpose(1, 2, 0))
        if channels == CANDIDATES and max(image.shape[:2]) <= LARGEST:
            shown.append(_thumbnail(image))
            continue
        rng = np.random.default_rng([draw.noise_seed, _STREAM])
        noise = math.hypot(draw.blur.noise or 0.0, quality_noise(draw.jpeg) if draw.jpeg else 0.0)
        noise *= math.exp(of.noise * rng.standard_normal())
        cut = slice(margin, -margin or None)
        if of.found and rng.random() < of.found and (one := _found(image[cut, cut], iterations)) is not None:
            shown.append(widened(one, channels))
            continue
        kernel = _kernel(draw.blur, image.shape, of, rng)
        if kernel is None or rng.random() < of.border:
            within = np.ascontiguousarray(image[cut, cut])
            one = guide(within, kernel, noise=noise, border="unknown", iterations=iterations)
        else:
            whole = guide(image, kernel, noise=noise, border="unknown", iterations=iterations)
            one = whole[:, cut, cut]
        shown.append(widened(one, channels))
    return torch.from_numpy(np.stack(shown)).to(degraded.device)


def _thumbnail(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network is shown of a thumbnail under a Gaussian: what it will be in use, with the errors of estimates."""
    found = likely_gaussian(image)
    kernel = found.kernel if found and found.sure else None
    return guide_thumbnail(image, kernel, found.noise if found else ROUNDING_NOISE)


def _found(image: NDArray[np.float32], iterations: int | None) -> NDArray[np.float32] | None:
    """What a network is shown of a photograph whose blur nobody tells, or None where none is found."""
    image = np.ascontiguousarray(image)
    blur = photograph.find(image)
    if blur.kernel is None:
        return None
    return guide(image, blur.kernel, noise=max(blur.noise or 0.0, ROUNDING_NOISE), iterations=iterations)


def _kernel(blur: Blur, shape: tuple[int, ...], of: Guide, rng: np.random.Generator) -> Kernel | None:
    """The kernel that an estimate might come up with, or None."""
    if blur.parts:  # what most of the middle of the picture has
        height, width = shape[:2]
        shares = [1.0 if p.where is None else p.where[height // 2, width // 2] for p in blur.parts]
        blur = blur.parts[int(np.argmax(shares))]
    luck = rng.random()
    if blur.kind == "none" and luck < of.false_alarms:
        if rng.random() < 0.5:
            return kernels.gaussian(rng.uniform(0.3, 1))
        return kernels.disk(rng.uniform(0.7, 1.5))
    if blur.kernel is None or luck >= of.true + of.wrong:
        return None
    return blur.kernel if luck < of.true else astray(blur, of.error * rng.exponential(), rng)


def astray(blur: Blur, error: float, rng: np.random.Generator) -> Kernel:
    """The kernel of a blur, wrongly estimated; at an error of 1 by a tenth in size, and some degrees in direction."""
    of = dict(blur.parameters)
    if blur.kind in ("gaussian", "disk", "motion"):
        for name in ("sigma", "sigma_y", "radius", "length"):
            if name in of:
                of[name] *= math.exp(np.clip(0.1 * error * rng.standard_normal(), -0.5, 0.5))
        if "angle" in of:
            of["angle"] += 3 * error * rng.standard_normal()
        return kernels.from_parameters(blur.kind, of)
    assert blur.kernel is not None
    return _smeared(blur.kernel, error, rng)


def _smeared(kernel: Kernel, error: float, rng: np.random.Generator) -> Kernel:
    """A kernel as blind estimation leaves it: shifted, a little wide, uneven, its faint parts missing."""
    wide = np.pad(kernel, 2)
    wide = ndimage.gaussian_filter(wide, 0.6 * min(error, 1.5) * rng.random())
    wide = ndimage.shift(wide, 0.25 * error * rng.standard_normal(2), order=1)
    wide = wide * np.exp(0.3 * error * _smooth_noise(wide.shape, rng))
    wide[wide < 0.05 * min(error, 1.5) * rng.random() * wide.max()] = 0
    return kernels.check_kernel(np.asarray(wide / wide.sum(), np.float32))


def _smooth_noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), 1.0)
    return noise / max(float(noise.std()), 1e-9)
