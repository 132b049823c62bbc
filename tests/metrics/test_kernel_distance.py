import numpy as np
import pytest

from unblur.errors import KernelError
from unblur.metrics import kernel_distance


def gaussian(sigma, size):
    x = np.arange(size) - size // 2
    kernel = np.exp(-(x[:, None] ** 2 + x**2) / (2 * sigma**2))
    return (kernel / kernel.sum()).astype(np.float32)


def test_same_kernel_in_a_wider_support_is_no_distance_away():
    kernel = gaussian(1, 5)
    assert kernel_distance(kernel, np.pad(kernel, 4)) == 0
    assert kernel_distance(np.pad(kernel, 4), kernel) == 0


def test_is_the_sum_not_the_mean():
    identity = np.ones((1, 1), np.float32)
    flat = np.full((3, 3), 1 / 9)
    assert kernel_distance(identity, flat) == pytest.approx((8 / 9) ** 2 + 8 / 81, abs=1e-12)


def test_kernels_that_do_not_overlap_are_two_apart():
    left, right = np.zeros((3, 3)), np.zeros((5, 5))
    left[0, 0], right[4, 4] = 1, 1
    assert kernel_distance(left, right) == 2


def test_oblong_supports_are_both_padded():
    row, column = np.full((1, 3), 1 / 3), np.full((3, 1), 1 / 3)
    assert kernel_distance(row, column) == pytest.approx(4 / 9, abs=1e-12)


@pytest.mark.parametrize("shape", [(4, 4), (3, 4), (3,), (3, 3, 1)])
def test_no_centre(shape):
    with pytest.raises(KernelError, match="odd sides"):
        kernel_distance(np.ones((3, 3)), np.ones(shape))
