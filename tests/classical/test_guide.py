"""What a guided network is shown."""

import numpy as np
import pytest

from unblur.classical.guide import CHANNELS, guide, spread
from unblur.classical.total_variation import total_variation
from unblur.physics import kernels


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_the_candidate_and_two_maps(rng, channels):
    image = rng.random((20, 31, channels)).astype(np.float32)
    kernel = kernels.gaussian(1.5)
    shown = guide(image, kernel, noise=0.01, border="unknown")
    assert shown.shape == (CHANNELS, 20, 31)
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(shown[:3], np.broadcast_to(image, (20, 31, 3)).transpose(2, 0, 1))
    candidate = total_variation(image, kernel, noise=0.01, border="unknown")
    np.testing.assert_array_equal(shown[3:6], np.broadcast_to(candidate, (20, 31, 3)).transpose(2, 0, 1))
    np.testing.assert_allclose(shown[6], 0.2, rtol=1e-6)
    np.testing.assert_allclose(shown[7], 1.5 * 2**0.5 / 10, rtol=1e-3)


def test_without_a_kernel_the_candidate_is_the_picture(rng):
    image = rng.random((9, 8, 3)).astype(np.float32)
    shown = guide(image, None, noise=1.0)
    np.testing.assert_array_equal(shown[3:6], image.transpose(2, 0, 1))
    assert (shown[6] == 1).all()
    assert (shown[7] == 0).all()


def test_spread_is_that_of_the_family():
    assert spread(kernels.delta()) == 0
    assert spread(kernels.gaussian(2.0, 1.0, 30.0)) == pytest.approx(5**0.5, rel=5e-3)
    assert spread(kernels.disk(5.0)) == pytest.approx((5**2 / 2 + 1 / 6) ** 0.5, rel=5e-3)
    assert spread(kernels.motion(12.0, 40.0)) == pytest.approx((12**2 / 12 + 1 / 6) ** 0.5, rel=2e-2)
