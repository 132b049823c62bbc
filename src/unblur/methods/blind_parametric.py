"""A blur of a kind that has a formula, read from the picture itself, and taken out by total variation."""

from __future__ import annotations

from functools import partial

from unblur.estimate import estimate_blur
from unblur.methods import classical
from unblur.methods.base import Method

_SOLVER = "total-variation"

BLIND_PARAMETRIC = Method(
    name="blind-parametric",
    summary="reads kind, size and direction of the blur from the picture: Gaussian, defocus or straight motion",
    find=estimate_blur,
    run=partial(classical.solve, _SOLVER),
    halo=partial(classical.halo, _SOLVER),
    bytes_per_pixel=classical.TOTAL_VARIATION.bytes_per_pixel,
    prepare=classical.prepare,
    iterative=True,
    careful=True,
)
