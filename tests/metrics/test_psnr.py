import math

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from unblur.errors import ImageError, OptionError
from unblur.metrics import mae, mse, psnr, psnr_of_mse


def test_equals_scikit_image(pairs):
    for sharp, other in pairs:
        assert mse(sharp, other) == pytest.approx(mean_squared_error(sharp, other), abs=1e-15, rel=1e-12)
        expected = peak_signal_noise_ratio(sharp, other, data_range=1)
        assert psnr(sharp, other, data_range=1) == pytest.approx(expected, abs=1e-9)


def test_equals_scikit_image_on_8_bits(pairs):
    for pair in pairs:
        a, b = (np.round(x * 255).astype(np.uint8) for x in pair)
        assert psnr(a, b, data_range=255) == pytest.approx(peak_signal_noise_ratio(a, b), abs=1e-9)


def test_unsigned_differences_do_not_wrap():
    black, white = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    assert mse(black, white) == mse(white, black) == 255**2
    assert mae(black, white) == mae(white, black) == 255
    assert psnr(black, white, data_range=255) == 0


def test_equal_pictures_are_infinitely_near(pair):
    assert mse(pair[0], pair[0]) == 0
    assert mae(pair[0], pair[0]) == 0
    assert psnr(pair[0], pair[0], data_range=1) == math.inf


def test_one_sample_that_differs_is_counted_exactly():
    a = np.zeros((100, 100, 3), np.uint8)
    b = a.copy()
    b[50, 50, 1] = 1
    assert mse(a, b) == 1 / 30_000
    assert psnr(a, b, data_range=255) == pytest.approx(10 * math.log10(255**2 * 30_000), abs=1e-12)


def test_no_epsilon_holds_a_tiny_error_up():
    a = np.zeros(10)
    assert psnr(a, a + 1e-12, data_range=1) == pytest.approx(240, abs=1e-9)


@pytest.mark.parametrize("shape", [(7,), (1, 1, 3), (300_001,), (3, 400_000), (700, 500, 3)])
def test_any_shape_and_length(shape, rng):
    a, b = rng.random(shape), rng.random(shape)
    assert mse(a, b) == pytest.approx(np.mean((a - b) ** 2), rel=1e-12)
    assert mae(a, b) == pytest.approx(np.mean(np.abs(a - b)), rel=1e-12)


def test_float32_is_summed_in_float64():
    a = np.full((2000, 2000), 0.1, np.float32)
    b = np.full((2000, 2000), 0.7, np.float32)
    assert mse(a, b) == pytest.approx((float(a[0, 0]) - float(b[0, 0])) ** 2, rel=1e-12)


def test_shapes_that_differ_are_named():
    with pytest.raises(ImageError, match=r"\(4, 5, 3\) and \(5, 4, 3\)"):
        mse(np.zeros((4, 5, 3)), np.zeros((5, 4, 3)))
    with pytest.raises(ImageError, match=r"\(0, 3\)"):
        mae(np.zeros((0, 3)), np.zeros((0, 3)))


@pytest.mark.parametrize("data_range", [0, -1, math.inf, math.nan])
def test_bad_range(data_range):
    with pytest.raises(OptionError, match="data_range"):
        psnr(np.zeros(3), np.ones(3), data_range=data_range)


def test_psnr_of_a_pooled_error():
    assert psnr_of_mse(0.01, data_range=1) == pytest.approx(20, abs=1e-12)
    assert psnr_of_mse(0.01 * 255**2, data_range=255) == pytest.approx(20, abs=1e-12)
    assert psnr_of_mse(0, data_range=1) == math.inf
    with pytest.raises(OptionError, match="negative"):
        psnr_of_mse(-1e-9, data_range=1)
