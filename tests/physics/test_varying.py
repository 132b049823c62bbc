import math

import numpy as np
import pytest

from unblur.errors import KernelError, OptionError
from unblur.physics.blur import NO_BLUR, Blur
from unblur.physics.convolve import convolve
from unblur.physics.kernels import delta, disk, gaussian, motion
from unblur.physics.varying import blur_image, convolve_grid, grid_blur, grid_weights, rotation_zoom

BORDERS = ["reflect101", "reflect", "replicate", "zero", "circular"]


@pytest.fixture
def image(rng):
    return rng.random((50, 64, 3), np.float32)


def ramp(height, width):
    return np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (height, width))


class TestBlurImage:
    def test_none_is_the_image(self, image):
        np.testing.assert_array_equal(blur_image(image, NO_BLUR), image)

    @pytest.mark.parametrize("border", BORDERS)
    def test_kernel(self, image, border):
        blur = Blur("disk", {"radius": 3.2}, kernel=disk(3.2))
        np.testing.assert_array_equal(
            blur_image(image, blur, border=border), convolve(image, disk(3.2), border=border)
        )

    def test_a_blur_without_kernel_gets_the_one_of_its_parameters(self, image):
        blur = Blur("motion", {"length": 7, "angle": 40})
        np.testing.assert_array_equal(blur_image(image, blur), convolve(image, motion(7, 40)))

    def test_where_keeps_the_rest(self, image):
        where = np.zeros((50, 64), np.float32)
        where[10:20, 5:30] = 1
        where[30] = 0.25
        blurred = convolve(image, gaussian(2))
        found = blur_image(image, Blur("gaussian", {"sigma": 2}, kernel=gaussian(2), where=where))
        np.testing.assert_array_equal(found[:10], image[:10])
        np.testing.assert_allclose(found[10:20, 5:30], blurred[10:20, 5:30], atol=1e-6)
        np.testing.assert_allclose(found[30], 0.75 * image[30] + 0.25 * blurred[30], atol=1e-6)

    @pytest.mark.parametrize("border", BORDERS)
    def test_parts_are_blended(self, image, border):
        right = ramp(50, 64)
        left_only = np.where(np.arange(64) < 20, 1 - right, 0).astype(np.float32)
        parts = (
            Blur("disk", {"radius": 4}, kernel=disk(4), where=right),
            Blur("motion", {"length": 9, "angle": 30}, kernel=motion(9, 30), where=left_only),
            Blur("none", where=1 - right - left_only),
        )
        expected = (
            right[..., None] * convolve(image, disk(4), border=border)
            + left_only[..., None] * convolve(image, motion(9, 30), border=border)
            + (1 - right - left_only)[..., None] * image
        )
        found = blur_image(image, Blur("varying", parts=parts), border=border)
        np.testing.assert_allclose(found, expected, atol=2e-6)

    def test_parts_may_vary_themselves(self, image):
        half = np.full((50, 64), 0.5, np.float32)
        inner = Blur("varying", parts=(Blur("disk", {"radius": 2}, where=2 * half),), where=half)
        outer = Blur("varying", parts=(inner, Blur("none", where=half)))
        expected = 0.5 * convolve(image, disk(2)) + 0.5 * image
        np.testing.assert_allclose(blur_image(image, outer), expected, atol=1e-6)

    def test_a_part_without_weight_adds_nothing(self, image):
        nowhere, everywhere = np.zeros((50, 64), np.float32), np.ones((50, 64), np.float32)
        parts = (Blur("disk", {"radius": 2}, where=nowhere), Blur("none", where=everywhere))
        np.testing.assert_array_equal(blur_image(image, Blur("varying", parts=parts)), image)

    def test_refuses(self, image):
        with pytest.raises(OptionError):
            blur_image(image, Blur("varying"))
        with pytest.raises(OptionError):
            blur_image(image, Blur("varying", parts=(Blur("disk", {"radius": 2}),)))
        with pytest.raises(OptionError, match=r"\(50, 64\)"):
            blur_image(image, Blur("disk", {"radius": 2}, where=np.ones((64, 50), np.float32)))
        with pytest.raises(KernelError):
            blur_image(image, Blur("shake", {"size": 9}))


class TestGrid:
    @pytest.mark.parametrize(("length", "cells"), [(1, 1), (1, 4), (3, 5), (50, 1), (64, 4), (101, 7)])
    def test_weights_sum_to_one(self, length, cells):
        weights = grid_weights(length, cells)
        assert weights.shape == (cells, length)
        assert weights.min() >= 0
        np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-6)

    def test_weights_peak_at_the_centres_and_have_no_step(self):
        weights = grid_weights(90, 3)
        np.testing.assert_array_equal(weights.argmax(axis=0)[[0, 15, 45, 75, 89]], [0, 0, 1, 2, 2])
        assert weights[0, :15].min() == 1
        assert np.abs(np.diff(weights)).max() < math.pi / 2 / 30 * 1.01

    @pytest.mark.parametrize("border", BORDERS)
    def test_equal_kernels_are_one_convolution(self, image, border):
        kernels = np.tile(disk(3.3), (3, 4, 1, 1))
        np.testing.assert_allclose(
            convolve_grid(image, kernels, border=border), convolve(image, disk(3.3), border=border), atol=2e-6
        )

    def test_each_kernel_rules_at_the_centre_of_its_cell(self, image):
        kernels = np.stack([[gaussian(s, size=13) for s in row] for row in ((0.5, 1.5), (2.5, 0.1))])
        found = convolve_grid(image, kernels)
        for i in (0, 1):
            for j in (0, 1):
                corner = (
                    slice(0, 12) if i == 0 else slice(38, 50),
                    slice(0, 16) if j == 0 else slice(48, 64),
                )
                np.testing.assert_allclose(found[corner], convolve(image, kernels[i, j])[corner], atol=2e-6)

    def test_as_a_blur_it_is_the_same(self, image):
        kernels = rotation_zoom((50, 64), (3, 3), rotation=6)
        found = blur_image(image, grid_blur(kernels, (50, 64)))
        np.testing.assert_allclose(found, convolve_grid(image, kernels), atol=2e-6)

    @pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3)])
    def test_tiny_images(self, shape):
        image = np.full(shape, 0.3, np.float32)
        np.testing.assert_allclose(convolve_grid(image, np.tile(disk(3), (4, 4, 1, 1))), image, atol=1e-6)

    def test_refuses_one_kernel(self, image):
        with pytest.raises(KernelError):
            convolve_grid(image, disk(2))


class TestRotationZoom:
    def test_rotation_moves_across_the_radius_and_zoom_along_it(self):
        rolled = rotation_zoom((300, 300), (3, 3), rotation=5)
        zoomed = rotation_zoom((300, 300), (3, 3), zoom=1.1)
        size = rolled.shape[-1]
        right_of_centre = rolled[1, 2]
        assert np.flatnonzero(right_of_centre.sum(axis=0) > 1e-6).tolist() == [size // 2]  # vertical
        assert right_of_centre.sum(axis=1).max() == pytest.approx(
            1 / (2 * 100 * math.sin(math.radians(2.5))), rel=1e-4
        )
        above_centre = zoomed[0, 1]
        assert np.flatnonzero(above_centre.sum(axis=0) > 1e-6).tolist() == [zoomed.shape[-1] // 2]  # vertical

    def test_corner_of_a_roll_counter_clockwise(self):
        top_right = rotation_zoom((300, 300), (3, 3), rotation=5)[0, 2]
        middle = top_right.shape[0] // 2
        assert top_right[:middle, :middle].sum() > 0.3  # it moves to the upper left

    def test_the_fixed_point_is_sharp(self):
        kernels = rotation_zoom((100, 200), (2, 2), rotation=3, zoom=1.05, centre=(0.25, 0.75))
        np.testing.assert_array_equal(kernels[1, 0], np.pad(delta(), kernels.shape[-1] // 2))

    def test_no_movement_is_no_blur(self):
        np.testing.assert_array_equal(rotation_zoom((100, 200), (2, 3)), np.ones((2, 3, 1, 1)))

    def test_matches_the_average_over_the_exposure(self):
        """A smooth picture rolled in small steps and averaged is what the kernels make of it."""
        size, degrees = 121, 6.0
        y, x = np.mgrid[:size, :size] - size // 2

        def picture(angle):
            c, s = math.cos(angle), math.sin(angle)
            return 0.5 + 0.3 * np.sin((x * c - y * s) / 5) + 0.2 * np.cos((x * s + y * c) / 4)

        steps = np.radians(np.linspace(-degrees / 2, degrees / 2, 61))
        averaged = np.mean([picture(angle) for angle in steps], axis=0)
        kernels = rotation_zoom((size, size), (11, 11), rotation=degrees)
        found = convolve_grid(picture(0.0).astype(np.float32)[:, :, None], kernels)[..., 0]
        inner = slice(20, -20)
        before = np.abs(picture(0.0) - averaged)[inner, inner].max()
        after = np.abs(found - averaged)[inner, inner].max()
        assert after < 0.15 * before

    def test_refuses_a_zoom_to_nothing(self):
        with pytest.raises(KernelError):
            rotation_zoom((10, 10), (2, 2), zoom=0)
