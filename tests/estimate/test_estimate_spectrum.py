from __future__ import annotations

import numpy as np
import pytest

from unblur.estimate.rings import log_evidence, prior
from unblur.estimate.spectrum import RING_CENTRES, RINGS, ring_losses, spectrum
from unblur.image import Image, quantise
from unblur.physics.convolve import convolve
from unblur.physics.kernels import gaussian


@pytest.mark.parametrize("side", [20, 32, 64, 300])
def test_white_noise_has_its_variance_as_power(side: int) -> None:
    noise = np.random.default_rng(4).normal(0.5, 0.05, (side, side, 1)).astype(np.float32)
    found = spectrum(noise)
    assert found is not None
    spread = 4 * np.sqrt(found.sampling_variance[6:]) + 0.02
    assert (np.abs(found.rings[6:] / 0.05**2 - 1) < spread).all()


def test_luma_of_independent_channels_is_quieter() -> None:
    noise = np.random.default_rng(4).normal(0.5, 0.05, (300, 300, 3)).astype(np.float32)
    found = spectrum(noise)
    assert found is not None
    assert found.noise_gain == pytest.approx(0.299**2 + 0.587**2 + 0.114**2)
    assert found.rings[6:].mean() == pytest.approx(found.noise_gain * 0.05**2, rel=0.05)


def test_rounding_is_recognised(astronaut: Image) -> None:
    blurred = convolve(astronaut, gaussian(3.0))
    for levels in (255, 65535):
        found = spectrum(quantise(blurred, levels))
        assert found is not None
        assert found.floor == pytest.approx(found.noise_gain / (12 * levels**2))
        if levels == 255:
            assert found.rings[-5:].mean() == pytest.approx(found.floor, rel=0.1)
    unrounded = spectrum(blurred)
    assert unrounded is not None
    assert unrounded.floor == 0


def test_losses_are_the_squared_transfer_function() -> None:
    """Where leakage is small the loss of a Gaussian is exp(-sigma**2 w**2)."""
    losses = ring_losses([gaussian(1.0).astype(np.float64)], 64, 64)
    assert losses.shape == (1, RINGS)
    assert losses[0, 3:12] == pytest.approx(-(RING_CENTRES[3:12] ** 2), rel=0.05)


def test_losses_are_what_blur_takes(astronaut: Image) -> None:
    before, after = spectrum(astronaut), spectrum(convolve(astronaut, gaussian(1.0)))
    assert before is not None
    assert after is not None
    losses = ring_losses([gaussian(1.0).astype(np.float64)], 64, 64)[0]
    assert np.log(after.rings / before.rings)[:14] == pytest.approx(losses[:14], abs=0.25)


def test_evidence_prefers_the_true_blur(astronaut: Image) -> None:
    sigmas = np.array([0.5, 0.8, 1.1, 1.4, 1.7])
    losses = ring_losses([gaussian(float(sigma)).astype(np.float64) for sigma in sigmas], 64, 64)
    found = spectrum(quantise(convolve(astronaut, gaussian(1.1))))
    assert found is not None
    evidence = log_evidence(found, losses)
    assert sigmas[evidence.argmax()] == 1.1
    assert evidence.max() - np.sort(evidence)[-2] > 10


def test_prior_is_that_of_photographs() -> None:
    known = prior()
    assert known.factors.shape == (RINGS, 5)
    # Power falls like a power of the frequency between 2 and 3.
    slope = np.polyfit(np.log(RING_CENTRES[:15]), known.mean[:15], 1)[0]
    assert -3 < slope < -2
    assert (known.rest > 0).all()
