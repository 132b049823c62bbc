"""Blurred pictures that the deconvolution tests share."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.image import quantise
from unblur.physics.convolve import gaussian_blur
from unblur.physics.kernels import gaussian

SIGMA = 1.5


@pytest.fixture(scope="session")
def portrait(astronaut):
    """A natural picture in colour, float32 (180, 200, 3)."""
    return np.ascontiguousarray(astronaut[40:220, 120:320])


@pytest.fixture(scope="session")
def kernel():
    """The Gaussian of `blurred` and `photographed`, 13x13."""
    return gaussian(SIGMA)


@pytest.fixture(scope="session")
def blurred(portrait):
    """`portrait` mirrored at its border, blurred, and rounded to 8 bits."""
    return quantise(gaussian_blur(portrait, SIGMA))


@pytest.fixture(scope="session")
def photographed(astronaut):
    """`portrait` as a camera would see it: the scene goes on beyond its border."""
    return np.ascontiguousarray(quantise(gaussian_blur(astronaut, SIGMA))[40:220, 120:320])
