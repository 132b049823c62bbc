"""Losses and scores of whole batches, one number a picture, so that any split of a batch has the same mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from unblur.metrics.ssim import GAUSSIAN, K1, K2

PictureLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

#: Of Charbonnier's loss, in units of [0, 1].
CHARBONNIER = 1e-3
#: Added to the mean squared error before its logarithm: a perfect picture would have no finite gradient.
PSNR_FLOOR = 1e-8

#: 45 dB: what is nearer is not seen, and counts for nothing in a gain.
VISIBLE = 10**-4.5


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each picture. Shape: (N, ...) in, (N,) out."""
    return (output - target).square().flatten(1).mean(1)


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of each picture. Shape: (N, ...) in, (N,) out."""
    return (output - target).abs().flatten(1).mean(1)


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(d^2 + 0.001^2) (Charbonnier et al. 1994). Shape: (N, ...) in, (N,) out."""
    return ((output - target).square() + CHARBONNIER**2).sqrt().flatten(1).mean(1)


def ssim(output: Tensor, target: Tensor) -> Tensor:
    """SSIM of each picture in [0, 1], as `unblur.metrics.ssim` with flavour "tf".

    Shape: (N, C, H, W) in, H and W at least 11; (N,) out.
    """
    down = _window(output.shape[2], output.device)
    across = _window(output.shape[3], output.device).T

    def mean(x: Tensor) -> Tensor:
        return down @ x @ across

    # Four moments of the sum and the difference instead of five of the pictures.
    total, difference = output + target, output - target
    c1, c2 = 2 * K1**2, 2 * K2**2
    of_total, of_difference = mean(total).square(), mean(difference).square()
    var_total, var_difference = (
        mean(total.square()) - of_total,
        mean(difference.square()) - of_difference,
    )
    luminance = 1 - 2 * of_difference / (of_total + of_difference + c1)
    contrast = 1 - 2 * var_difference / (var_total + var_difference + c2)
    return (luminance * contrast).flatten(1).mean(1)


def psnr(output: Tensor, target: Tensor, floor: float = 0.0) -> Tensor:
    """PSNR of each picture in dB, peak 1; infinite for an exact one unless there is a floor.

    Shape: (N, ...) in, (N,) out.
    """
    return -10 * torch.log10(mse(output, target) + floor)


TERMS: Mapping[str, PictureLoss] = MappingProxyType(
    {
        "mse": mse,
        "mae": mae,
        "charbonnier": charbonnier,
        "ssim": lambda output, target: 1 - ssim(output, target),
        "psnr45": lambda output, target: -psnr(output, target, VISIBLE),
        "psnr": lambda output, target: -psnr(output, target, PSNR_FLOOR),
    }
)
"""Name in a recipe to loss."""


def combine(terms: Mapping[str, float], outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """The weighted sum of terms, summed over scales.

    Shape: for each scale (N, ...) twice; (N,) out.
    """
    losses = [
        weight * TERMS[name](output, target)
        for output, target in zip(outputs, targets, strict=True)
        for name, weight in terms.items()
    ]
    return torch.stack(losses).sum(0)


@lru_cache(maxsize=32)
def _window(length: int, device: torch.device) -> Tensor:
    """SSIM's window at every valid place of a line. Shape: (length - 10, length)."""
    places = np.zeros((length - len(GAUSSIAN) + 1, length), np.float32)
    for row in range(len(places)):
        places[row, row : row + len(GAUSSIAN)] = GAUSSIAN
    return torch.from_numpy(places).to(device)
