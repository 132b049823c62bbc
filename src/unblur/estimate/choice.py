"""Which of a few known blurs it was, where a camera or a protocol has no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unblur.errors import OptionError
from unblur.estimate.spectrum import Floats
from unblur.physics import kernels
from unblur.physics.blur import NO_BLUR, Blur
from unblur.physics.convolve import otf

#: Side of the grid of frequencies, and the share of the power below which a difference is not seen.
_SIDE, _UNSEEN = 64, 1e-3

#: A kernel with so much of its weight in one pixel leaves next to nothing to bring back.
_NEXT_TO_NOTHING = 0.9


def likeliest(found: Blur, candidates: Sequence[Blur]) -> Blur:
    """The candidate whose spectrum is nearest to that of an estimate, with the estimate's noise and confidence.

    found: as `estimate_blur` returns it. candidates: blurs with a kernel, or of kind "none". A kernel that is next to
    the identity comes back as "none": undoing it would change less than it might spoil.
    Raises OptionError for no candidates, and for one that varies over the picture.
    """
    if not candidates:
        raise OptionError("candidates: expected at least one blur")
    if any(one.kernel is None and one.kind != "none" for one in candidates):
        raise OptionError("candidates: expected blurs with one kernel each, or none")
    seen = _log_power(found)
    nearest = min(candidates, key=lambda one: float(np.square(_log_power(one) - seen).mean()))
    if nearest.kernel is None or nearest.kernel.max() > _NEXT_TO_NOTHING:
        nearest = NO_BLUR
    return replace(nearest, noise=found.noise, confidence=found.confidence)


def _log_power(blur: Blur) -> Floats:
    kernel = kernels.delta() if blur.kernel is None else blur.kernel
    # Every so many-th frequency of a grid that holds the kernel.
    step = -(-len(kernel) // _SIDE)
    power = np.square(np.abs(otf(kernel, (step * _SIDE, step * _SIDE))[::step, ::step]))
    return np.asarray(np.log(power[:, : _SIDE // 2 + 1] + _UNSEEN), np.float64)
