"""The loss that report 003 prints beside its scores."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unblur.datasets.common import Pixels
from unblur.datasets.pyramid import pyramid
from unblur.errors import MissingExtraError, OptionError
from unblur.image import from_array
from unblur.models import read_weights

if TYPE_CHECKING:
    from unblur.nets.mscnn import MSCNN


def level_loss(weights: Path, blurred: Pixels, sharp: Pixels) -> float | None:
    """Sum over the levels of a multi-scale CNN of the mean squared error of its unrounded output.

    Shape: (H, W, 3) uint8 both; the targets are MATLAB's bicubic pyramid in 8 bits. None for weights of another
    format, or a size that has no pyramid.
    Raises MissingExtraError without torch.
    """
    if weights.suffix != ".safetensors":
        return None
    try:
        targets = pyramid(sharp, 3)[::-1]
    except OptionError:
        return None
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("the loss of a multi-scale network", "train") from error
    given = torch.from_numpy(from_array(blurred).transpose(2, 0, 1)[None].copy())
    with torch.no_grad():
        outputs = _net(weights, weights.stat().st_mtime_ns).levels(given)
    return sum(
        float(np.square(output[0].permute(1, 2, 0).numpy() - from_array(target)).mean(dtype=np.float64))
        for output, target in zip(outputs, targets, strict=True)
    )


@lru_cache(maxsize=1)
def _net(weights: Path, _stamp: int) -> MSCNN:
    import torch

    from unblur.nets import create

    about, tensors = read_weights(weights)
    net: MSCNN = create(about.name, **about.arguments)  # type: ignore[assignment]
    net.load_state_dict({name: torch.from_numpy(value.astype(np.float32)) for name, value in tensors.items()})
    return net.eval()
