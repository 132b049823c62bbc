import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from scipy.signal import convolve2d

from unblur.errors import ImageError, KernelError, OptionError
from unblur.image import from_array, to_array
from unblur.physics.convolve import (
    adjoint,
    check_border,
    convolve,
    convolve_separable,
    gaussian_blur,
    gaussian_blur_u8,
    otf,
    pad,
)
from unblur.physics.kernels import check_kernel, delta, disk, gaussian, gaussian_taps, load_kernel, motion

#: Our borders and what numpy.pad calls them.
BORDERS = {
    "reflect101": "reflect",
    "reflect": "symmetric",
    "replicate": "edge",
    "zero": "constant",
    "circular": "wrap",
}
SHAPES = [(1, 1), (1, 6), (5, 1), (2, 3), (7, 8), (16, 33), (130, 5), (131, 150)]


def noise_image(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def by_definition(image, kernel, border):
    """Pad, then convolve what is wholly inside: float64, channel by channel."""
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode=BORDERS[border]).astype(
        np.float64
    )
    return np.stack([convolve2d(plane, kernel, mode="valid") for plane in np.moveaxis(padded, 2, 0)], axis=2)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 3, 9])
def test_every_method_is_the_definition(shape, border, size):
    image = noise_image((*shape, 3))
    for kernel in (check_kernel(noise_image((size, size), 1)), gaussian(1.1, size=size)):
        expected = by_definition(image, kernel, border)
        for method in ("auto", "spatial", "fft"):
            found = convolve(image, kernel, border=border, method=method)
            assert found.dtype == np.float32
            assert found.flags.c_contiguous
            np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(
        convolve(image, kernel, border=border, method="separable"), expected, atol=2e-6
    )


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    size=st.integers(0, 12).map(lambda n: 2 * n + 1),
    border=st.sampled_from(list(BORDERS)),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_methods_agree_and_the_adjoint_is_exact(height, width, channels, size, border, seed):
    rng = np.random.default_rng(seed)
    x = rng.random((height, width, channels), np.float32)
    y = rng.standard_normal((height, width, channels)).astype(np.float32)
    kernel = check_kernel(rng.random((size, size)))
    blurred = convolve(x, kernel, border=border, method="fft")
    np.testing.assert_allclose(convolve(x, kernel, border=border, method="spatial"), blurred, atol=5e-6)
    back = adjoint(y, kernel, border=border)
    assert back.shape == y.shape
    left = np.vdot(blurred.astype(np.float64), y)
    right = np.vdot(x.astype(np.float64), back)
    assert abs(left - right) <= 1e-5 * np.linalg.norm(x) * np.linalg.norm(y)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 20), (140, 30)])
def test_adjoint_is_the_transposed_matrix(border, shape):
    kernel = check_kernel(noise_image((7, 7), 3))
    at = (shape[0] // 2, shape[1] - 1, 0)
    impulse = np.zeros((*shape, 1), np.float32)
    impulse[at] = 1
    row = adjoint(impulse, kernel, border=border)
    image = noise_image((*shape, 1))
    blurred = convolve(image, kernel, border=border)
    assert float(np.vdot(row, image)) == pytest.approx(float(blurred[at]), abs=1e-5)


def test_adjoint_of_a_symmetric_kernel_without_border_is_itself():
    image = noise_image((20, 30, 3))
    for border in ("zero", "circular"):
        np.testing.assert_allclose(
            adjoint(image, disk(3), border=border), convolve(image, disk(3), border=border), atol=2e-6
        )


def test_it_is_convolution_not_correlation():
    image = np.zeros((9, 9, 1), np.float32)
    image[4, 4] = 1
    kernel = check_kernel(np.arange(9.0).reshape(3, 3))
    for method in ("auto", "spatial", "fft"):
        np.testing.assert_allclose(convolve(image, kernel, method=method)[3:6, 3:6, 0], kernel, atol=1e-6)
    expected = np.outer([0, 0.25, 0.75], [0.5, 0.5, 0])
    found = convolve_separable(image, [0, 0.25, 0.75], [0.5, 0.5, 0])
    np.testing.assert_allclose(found[3:6, 3:6, 0], expected, atol=1e-6)


@pytest.mark.parametrize("length", [20, 300])
def test_separable_taps_point_down_and_right(length):
    column, row = np.array([0.1, 0.2, 0.7]), np.array([0.5, 0.3, 0.1, 0.1, 0])
    image = noise_image((length, length + 1, 3))
    expected = by_definition(image, np.outer(column, row), "reflect")
    np.testing.assert_allclose(convolve_separable(image, column, row, border="reflect"), expected, atol=1e-6)


@pytest.mark.parametrize("border", ["reflect101", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("kernel", [gaussian(2), disk(4), motion(9, 30)], ids=["gaussian", "disk", "motion"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (10, 140, 1), (30, 20, 3)])
def test_constants_are_unchanged(border, kernel, shape):
    image = np.full(shape, 0.7, np.float32)
    for method in ("auto", "fft"):
        np.testing.assert_allclose(convolve(image, kernel, border=border, method=method), image, atol=1e-6)


@pytest.mark.parametrize("border", ["circular", "reflect"])
def test_flux_is_kept(border):
    image = noise_image((40, 30, 3))
    kernel = disk(3.3)
    sums = convolve(image, kernel, border=border).sum(axis=(0, 1), dtype=np.float64)
    np.testing.assert_allclose(sums, image.sum(axis=(0, 1), dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("border", BORDERS)
def test_channels_are_independent(border):
    image = noise_image((20, 25, 3))
    for kernel in (gaussian(1.5), motion(9, 30)):
        whole = convolve(image, kernel, border=border)
        for c in range(3):
            alone = convolve(np.ascontiguousarray(image[:, :, c : c + 1]), kernel, border=border)
            np.testing.assert_allclose(whole[:, :, c : c + 1], alone, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 200, 3)])
def test_delta_is_the_identity(shape):
    image = noise_image(shape)
    for kernel in (delta(), np.pad(delta(), 4)):
        np.testing.assert_allclose(convolve(image, kernel), image, atol=1e-6)
    np.testing.assert_array_equal(gaussian_blur(image, 5e-4), image)


def test_unnormalised_and_oblong_kernels(rng):
    image = noise_image((30, 40, 3))
    sobel = np.outer([1, 2, 1], [-1, 0, 1]).astype(np.float32)
    oblong = rng.standard_normal((3, 7)).astype(np.float32)
    for kernel in (sobel, oblong, np.zeros((3, 3), np.float32)):
        for method in ("auto", "spatial", "fft"):
            found = convolve(image, kernel, method=method)
            np.testing.assert_allclose(found, by_definition(image, kernel, "reflect101"), atol=1e-5)


def test_input_is_left_alone():
    image = noise_image((30, 40, 3))
    before = image.copy()
    for kernel in (gaussian(2), disk(5)):
        convolve(image, kernel)
        adjoint(image, kernel)
    np.testing.assert_array_equal(image, before)


def test_views_are_accepted():
    wide = noise_image((40, 60, 3))
    for image in (wide[::2, ::-1], wide.transpose(1, 0, 2)):
        expected = convolve(np.ascontiguousarray(image), disk(2))
        np.testing.assert_array_equal(convolve(image, disk(2)), expected)


class TestPad:
    @pytest.mark.parametrize("border", BORDERS)
    @pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4, 1), (5, 3, 3), (20, 30, 1)])
    @pytest.mark.parametrize("margin", [(0, 0, 0, 0), (2, 0, 1, 3), (11, 13, 12, 17)])
    def test_is_numpy_pad(self, border, shape, margin):
        image = noise_image(shape)
        top, bottom, left, right = margin
        expected = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode=BORDERS[border])
        np.testing.assert_array_equal(pad(image, margin, border), expected)

    def test_one_margin_for_all_sides(self):
        assert pad(noise_image((4, 5, 3)), 7, "reflect101").shape == (18, 19, 3)

    def test_refuses(self):
        with pytest.raises(OptionError):
            pad(noise_image((4, 5, 3)), -1, "zero")
        with pytest.raises(OptionError, match="reflect101"):
            pad(noise_image((4, 5, 3)), 1, "mirror")


class TestOtf:
    @pytest.mark.parametrize("shape", [(16, 20), (15, 21), (40, 31)])
    def test_multiplies_like_circular_convolution(self, shape):
        image = noise_image((*shape, 1))
        kernel = check_kernel(noise_image((7, 7), 2))
        product = np.fft.irfft2(np.fft.rfft2(image[..., 0]) * otf(kernel, shape, np.float64), s=shape)
        np.testing.assert_allclose(product, convolve(image, kernel, border="circular")[..., 0], atol=1e-6)

    def test_precision_follows_dtype(self):
        assert otf(disk(2), (8, 8)).dtype == np.complex64
        assert otf(disk(2), (8, 8), np.float64).dtype == np.complex128

    def test_of_a_symmetric_kernel_is_real(self):
        assert np.abs(otf(gaussian(1.3), (33, 32), np.float64).imag).max() < 1e-8

    def test_wraps_a_kernel_larger_than_the_grid(self):
        image = noise_image((4, 5, 1))
        kernel = check_kernel(noise_image((9, 9), 2))
        product = np.fft.irfft2(np.fft.rfft2(image[..., 0]) * otf(kernel, (4, 5)), s=(4, 5))
        np.testing.assert_allclose(product, by_definition(image, kernel, "circular")[..., 0], atol=1e-6)


class TestOpenCV:
    @pytest.mark.parametrize("sigma", [0.02, 0.3, 0.5, 0.77, 1.0, 1.6, 2.2, 3.0, 5.5])
    @pytest.mark.parametrize("size", [None, 3, 7, 11, 25])
    @pytest.mark.parametrize("shape", [(32, 32, 3), (1, 5, 3), (70, 201, 1), (150, 131, 3)])
    def test_eight_bits_are_bit_exact(self, sigma, size, shape):
        array = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
        expected = cv2.GaussianBlur(array, (size or 0,) * 2, sigma).reshape(shape)
        found = gaussian_blur_u8(array, sigma, size=size)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize(
        ("border", "flag"),
        [("reflect", cv2.BORDER_REFLECT), ("replicate", cv2.BORDER_REPLICATE), ("zero", cv2.BORDER_CONSTANT)],
    )
    def test_eight_bits_at_other_borders(self, border, flag):
        array = np.random.default_rng(3).integers(0, 256, (40, 30, 3), np.uint8)
        expected = cv2.GaussianBlur(array, (0, 0), 2.3, borderType=flag)
        np.testing.assert_array_equal(gaussian_blur_u8(array, 2.3, border=border), expected)

    def test_white_stays_white(self):
        array = np.full((40, 150, 3), 255, np.uint8)
        for sigma in np.linspace(0.01, 9, 40):
            np.testing.assert_array_equal(gaussian_blur_u8(array, sigma), array)

    @pytest.mark.parametrize("sigma", [0.3, 1.0, 2.2, 5.5])
    @pytest.mark.parametrize("size", [None, 11])
    @pytest.mark.parametrize("shape", [(32, 32, 3), (1, 5, 3), (150, 131, 3)])
    def test_floats_agree(self, sigma, size, shape):
        image = noise_image(shape)
        expected = cv2.GaussianBlur(image, (size or 0,) * 2, sigma).reshape(shape)
        np.testing.assert_allclose(gaussian_blur(image, sigma, size=size), expected, atol=1e-6)

    def test_photograph(self, astronaut):
        array = to_array(astronaut, np.uint8)
        for sigma in (0.3, 1.6, 4.0):
            np.testing.assert_array_equal(
                gaussian_blur_u8(array, sigma), cv2.GaussianBlur(array, (0, 0), sigma)
            )

    def test_tiny_sigma_is_the_identity(self):
        array = np.random.default_rng(3).integers(0, 256, (9, 9, 3), np.uint8)
        np.testing.assert_array_equal(gaussian_blur_u8(array, 1e-4), array)

    @pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
    def test_refuses_other_arrays(self, array):
        with pytest.raises(ImageError):
            gaussian_blur_u8(array, 1.0)


def test_gaussian_blur_is_imgaussfilt_under_the_matlab_rule(camera):
    sigma = 2.3
    taps = gaussian_taps(sigma, rule="matlab")
    assert taps.size == 11
    found = gaussian_blur(camera, sigma, rule="matlab", border="replicate")
    expected = by_definition(camera[:60, :60], np.outer(taps, taps), "replicate")
    np.testing.assert_allclose(found[:40, :40], expected[:40, :40], atol=1e-6)


@pytest.mark.parametrize("function", [convolve, adjoint])
def test_refuses_even_kernels_and_unknown_borders(function):
    image = noise_image((8, 8, 3))
    with pytest.raises(KernelError):
        function(image, np.ones((2, 3), np.float32))
    with pytest.raises(OptionError, match="mirror"):
        function(image, gaussian(1.0), border="mirror")


def test_refuses_unknown_methods_and_higher_ranks():
    image = noise_image((8, 8, 3))
    with pytest.raises(OptionError):
        convolve(image, disk(2), method="magic")
    with pytest.raises(KernelError):
        convolve(image, disk(2), method="separable")
    with pytest.raises(KernelError):
        convolve_separable(image, [0.5, 0.5], [1.0])


def test_check_border():
    assert [check_border(name) for name in BORDERS] == list(BORDERS)
    with pytest.raises(OptionError):
        check_border("mirror")


@pytest.mark.data
@pytest.mark.parametrize("number", [4, 6, 7])
def test_real_camera_shake(data, number):
    """Levin's kernels are stored for correlation: flipped, and up to a shift, they make his blurred images."""
    sharp, blurred = (
        from_array(np.asarray(PILImage.open(data / "levin09" / name).convert("L")))
        for name in ("gt/im2.png", f"im2_kernel{number}_img.png")
    )
    stored = load_kernel(data / "kernels" / f"levin09_{number}.npy")

    def best_psnr(kernel):
        made = convolve(sharp, kernel)
        shifts = ((dy, dx) for dy in range(-4, 5) for dx in range(-4, 5))
        errors = [np.mean((np.roll(made, shift, (0, 1)) - blurred)[30:-30, 30:-30] ** 2) for shift in shifts]
        return -10 * np.log10(min(errors))

    assert best_psnr(stored[::-1, ::-1]) > 43
    assert best_psnr(stored) < 30
