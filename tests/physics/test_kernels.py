import math
import sys

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from unblur.errors import FileError, InputError, KernelError, MissingExtraError, OptionError, OutputError
from unblur.physics import kernels
from unblur.physics.kernels import (
    centre,
    check_kernel,
    delta,
    disk,
    embed,
    from_parameters,
    gaussian,
    gaussian_size,
    gaussian_taps,
    load_kernel,
    motion,
    save_kernel,
    shake,
)

FAMILIES = {
    "delta": delta(),
    "gaussian": gaussian(1.7),
    "narrow gaussian": gaussian(0.2),
    "oriented gaussian": gaussian(3.0, 0.8, 33.0),
    "disk": disk(3.7),
    "short motion": motion(1.4, 20),
    "motion": motion(14.3, 128),
    "shake": shake(17, np.random.default_rng(1)),
}


def moments(kernel):
    """Centroid and covariance in pixels, x to the right and y up."""
    x = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    y = -x
    weights = kernel.astype(np.float64)
    mean_x, mean_y = x @ weights.sum(axis=0), y @ weights.sum(axis=1)
    xx = x**2 @ weights.sum(axis=0) - mean_x**2
    yy = y**2 @ weights.sum(axis=1) - mean_y**2
    return (mean_x, mean_y), np.array([[xx, y @ weights @ x], [y @ weights @ x, yy]])


def direction(kernel):
    """Angle of the long axis in degrees, counter-clockwise from +x, in [0, 180)."""
    _, covariance = moments(kernel)
    vector = np.linalg.eigh(covariance)[1][:, 1]
    return math.degrees(math.atan2(vector[1], vector[0])) % 180


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_keeps_the_contract(name):
    kernel = FAMILIES[name]
    assert kernel.dtype == np.float32
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert np.abs(moments(kernel)[0]).max() < 1e-5


class TestCheck:
    def test_normalises(self):
        kernel = check_kernel([[0, 1, 0], [1, 4, 1], [0, 1, 0]])
        assert kernel.dtype == np.float32
        assert kernel[1, 1] == np.float32(0.5)

    @pytest.mark.parametrize(
        "bad",
        [
            np.ones((2, 2)),
            np.ones((3, 5)),
            np.ones(3),
            np.zeros((3, 3)),
            np.full((3, 3), np.nan),
            np.full((3, 3), np.inf),
            np.eye(3) - 0.1,
            np.ones((3, 3), complex),
            np.array([["a"]]),
        ],
        ids=["even", "oblong", "line", "zero", "nan", "inf", "negative", "complex", "text"],
    )
    def test_refuses(self, bad):
        with pytest.raises(KernelError, match=r"^psf: "):
            check_kernel(bad, "psf")


class TestGaussian:
    @pytest.mark.parametrize(
        ("rule", "sizes"),
        [("matlab", (3, 5, 9, 13)), ("opencv-u8", (5, 7, 13, 19)), ("opencv-f32", (5, 9, 17, 25))],
    )
    def test_sizes(self, rule, sizes):
        assert tuple(gaussian_size(sigma, rule) for sigma in (0.5, 1, 2, 3)) == sizes

    @pytest.mark.parametrize("sigma", [0.05, 0.3, 0.77, 1.0, 1.6, 2.5, 5.0])
    @pytest.mark.parametrize("size", [1, 3, 7, 11, 25])
    def test_taps_are_those_of_opencv(self, sigma, size):
        expected = cv2.getGaussianKernel(size, sigma, cv2.CV_64F)[:, 0]
        np.testing.assert_allclose(gaussian_taps(sigma, size=size), expected, atol=1e-15)

    @pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0, 6.0])
    def test_sigma_is_the_standard_deviation(self, sigma):
        covariance = moments(gaussian(sigma, size=2 * math.ceil(8 * sigma) + 1))[1]
        np.testing.assert_allclose(covariance, np.eye(2) * sigma**2, atol=3e-4 * sigma**2)

    @pytest.mark.parametrize("angle", [0, 10, 45, 90, 135, 170])
    def test_lies_along_its_angle_on_the_screen(self, angle):
        kernel = gaussian(4.0, 1.5, angle)
        assert direction(kernel) == pytest.approx(angle, abs=0.05)
        np.testing.assert_allclose(np.linalg.eigvalsh(moments(kernel)[1]), [1.5**2, 4.0**2], rtol=5e-3)

    def test_equal_sigmas_have_no_direction(self):
        np.testing.assert_allclose(gaussian(2.0, 2.0, 30.0), gaussian(2.0), atol=1e-9)

    def test_unrotated_axes_are_separable(self):
        expected = np.outer(gaussian_taps(0.6, size=17), gaussian_taps(2.0, size=17))
        np.testing.assert_allclose(gaussian(2.0, 0.6), expected, atol=1e-7)

    @pytest.mark.parametrize("sigma", [0.0, 9e-4])
    def test_tiny_sigma_is_the_identity(self, sigma):
        np.testing.assert_array_equal(gaussian(sigma), delta())
        np.testing.assert_array_equal(gaussian_taps(sigma, size=5), [0, 0, 1, 0, 0])

    def test_one_tiny_sigma_is_a_line(self):
        np.testing.assert_array_equal(np.flatnonzero(gaussian(2.0, 0.0).sum(axis=1)), [8])

    @pytest.mark.parametrize("sigma", [-1.0, math.nan, math.inf])
    def test_refuses_what_is_no_length(self, sigma):
        with pytest.raises(KernelError):
            gaussian(sigma)
        with pytest.raises(KernelError):
            gaussian_taps(sigma, size=5)
        with pytest.raises(KernelError):
            gaussian(2.0, sigma)

    def test_refuses_even_sizes_and_unknown_rules(self):
        with pytest.raises(KernelError):
            gaussian(1.0, size=4)
        with pytest.raises(OptionError):
            gaussian(1.0, rule="scipy")


class TestDisk:
    @pytest.mark.parametrize("radius", [0.8, 1.0, 2.5, 4.2, 6.0])
    def test_weights_are_covered_areas(self, radius):
        kernel = disk(radius).astype(np.float64)
        fine = 200
        x = (np.arange(kernel.shape[0] * fine) + 0.5) / fine - kernel.shape[0] / 2
        inside = (x**2 + x[:, None] ** 2 <= radius**2).astype(np.float64)
        areas = inside.reshape(kernel.shape[0], fine, -1, fine).mean(axis=(1, 3))
        np.testing.assert_allclose(kernel * math.pi * radius**2, areas, atol=2e-3)

    def test_is_symmetric(self):
        kernel = disk(4.3)
        np.testing.assert_allclose(kernel, kernel.T, atol=1e-8)
        np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-8)

    def test_holds_no_empty_border(self):
        assert [disk(radius).shape[0] for radius in (0, 0.5, 0.6, 1.5, 1.6, 6)] == [1, 1, 3, 3, 5, 13]
        assert disk(1.6)[0].sum() > 0

    @pytest.mark.parametrize("radius", [-1, math.nan, math.inf])
    def test_refuses_what_is_no_length(self, radius):
        with pytest.raises(KernelError):
            disk(radius)


class TestMotion:
    @pytest.mark.parametrize("length", [3, 5, 15])
    @pytest.mark.parametrize("angle", [0, 90, 180, -90])
    def test_odd_lengths_along_the_axes_are_equal_weights(self, length, angle):
        expected = np.zeros((length, length))
        expected[length // 2] = 1 / length
        if angle % 180:
            expected = expected.T
        np.testing.assert_allclose(motion(length, angle), expected, atol=1e-7)

    @pytest.mark.parametrize("angle", [3, 30, 45, 77, 90, 120, 135, 179])
    def test_lies_along_its_angle_on_the_screen(self, angle):
        kernel = motion(15, angle)
        assert direction(kernel) == pytest.approx(angle, abs=0.5)
        assert np.linalg.eigvalsh(moments(kernel)[1])[1] == pytest.approx(15**2 / 12, rel=0.03)

    def test_forty_five_degrees_points_up_to_the_right(self):
        kernel = motion(9, 45)
        middle = kernel.shape[0] // 2
        assert kernel[:middle, middle + 1 :].sum() > 0.35
        assert kernel[:middle, :middle].sum() < 0.01

    @pytest.mark.parametrize("angle", [0, 8, 61, 100, 143])
    def test_weights_are_covered_areas(self, angle):
        length = 7.3
        kernel = motion(length, angle).astype(np.float64)
        fine = 100
        x = (np.arange(kernel.shape[0] * fine) + 0.5) / fine - kernel.shape[0] / 2
        up = -x[:, None]
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        inside = (np.abs(x * cos + up * sin) <= length / 2) & (np.abs(up * cos - x * sin) <= 0.5)
        areas = inside.reshape(kernel.shape[0], fine, -1, fine).mean(axis=(1, 3))
        np.testing.assert_allclose(kernel * length, areas, atol=6e-3)

    def test_ends_are_cut_exactly(self):
        np.testing.assert_allclose(motion(3.5, 90)[:, 2] * 3.5, [0.25, 1, 1, 1, 0.25], atol=1e-6)

    @given(st.floats(0, 40), st.floats(-400, 400))
    @settings(max_examples=60, deadline=None)
    def test_holds_the_line_and_no_empty_border(self, length, angle):
        kernel = motion(length, angle)
        assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-8)
        assert kernel.shape[0] <= 2 * math.ceil(max(length, 1) / 2 + 0.5) + 1
        # Variances along and across: those of the line, give or take a pixel.
        assert -0.1 < np.trace(moments(kernel)[1]) - max(length, 1) ** 2 / 12 < 0.4

    @pytest.mark.parametrize("angle", [0, 30, 45])
    def test_short_lengths_are_close_to_no_blur(self, angle):
        kernel = motion(0.4, angle)
        assert kernel[kernel.shape[0] // 2, kernel.shape[0] // 2] > 0.8

    @pytest.mark.parametrize(("length", "angle"), [(-1, 0), (math.nan, 0), (3, math.inf)])
    def test_refuses_what_is_no_line(self, length, angle):
        with pytest.raises(KernelError):
            motion(length, angle)


class TestShake:
    def test_same_seed_same_path(self):
        first, second = (shake(21, np.random.default_rng(3)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, shake(21, np.random.default_rng(4)))

    @pytest.mark.parametrize("size", [3, 9, 19, 31])
    def test_paths_keep_the_contract(self, size, rng):
        for _ in range(50):
            kernel = shake(size, rng)
            assert kernel.shape == (size, size)
            assert np.abs(moments(kernel)[0]).max() < 1e-5
            held = np.abs(np.argwhere(kernel) - size // 2).max()
            assert held >= 0.7 * (size - 1) / 2  # it fills its support ...
        assert kernel.max() < 0.9  # ... and is a path, not a point

    def test_path_is_connected_and_thin(self, rng):
        from scipy.ndimage import label

        for _ in range(30):
            kernel = shake(31, rng)
            assert label(kernel > 0, np.ones((3, 3)))[1] == 1
            assert (kernel > 0).mean() < 0.5

    def test_speeds_differ_along_the_path(self, rng):
        spread = [np.std(k[k > 0]) / np.mean(k[k > 0]) for k in (shake(31, rng) for _ in range(30))]
        assert np.median(spread) > 0.5

    @pytest.mark.parametrize("size", [1, 10, -3])
    def test_refuses_sizes(self, size, rng):
        with pytest.raises(KernelError):
            shake(size, rng)


class TestMoves:
    def test_embed_keeps_the_weights_about_the_centre(self):
        larger = embed(gaussian(1.0), 15)
        assert larger.shape == (15, 15)
        np.testing.assert_array_equal(larger[3:12, 3:12], gaussian(1.0))
        assert larger.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize("size", [7, 10])
    def test_embed_refuses(self, size):
        with pytest.raises(KernelError):
            embed(gaussian(1.0), size)

    def test_centre_leaves_a_centred_kernel_alone(self):
        np.testing.assert_array_equal(centre(disk(3)), disk(3))

    @pytest.mark.parametrize(("down", "right"), [(0, 3), (-4, 2), (5, 5)])
    def test_centre_moves_by_whole_pixels_and_loses_nothing(self, down, right):
        original = motion(7, 30)
        moved = np.roll(embed(original, 17), (down, right), axis=(0, 1))
        np.testing.assert_array_equal(centre(moved), embed(original, 17))

    def test_centre_grows_the_support_where_weights_would_be_lost(self):
        corner = np.zeros((5, 5), np.float32)
        corner[0, 0], corner[4, 4] = 0.8, 0.2
        found = centre(corner)
        assert found.sum() == 1
        assert found.shape == (7, 7)
        assert np.abs(moments(found)[0]).max() <= 0.5

    @pytest.mark.parametrize(
        ("kind", "parameters", "expected"),
        [
            ("none", {}, delta()),
            ("gaussian", {"sigma": 1.2}, gaussian(1.2)),
            ("gaussian", {"sigma": 3, "sigma_y": 1, "angle": 20}, gaussian(3, 1, 20)),
            ("disk", {"radius": 2.2}, disk(2.2)),
            ("motion", {"length": 8, "angle": 70}, motion(8, 70)),
        ],
    )
    def test_from_parameters(self, kind, parameters, expected):
        np.testing.assert_array_equal(from_parameters(kind, parameters), expected)

    @pytest.mark.parametrize(
        ("kind", "parameters"), [("motion", {"length": 8}), ("shake", {"size": 9}), ("kernel", {})]
    )
    def test_from_parameters_refuses_what_numbers_do_not_determine(self, kind, parameters):
        with pytest.raises(KernelError):
            from_parameters(kind, parameters)


class TestFiles:
    skewed = check_kernel(np.arange(25.0).reshape(5, 5))

    def test_npy_is_exact(self, tmp_path):
        save_kernel(tmp_path / "k.npy", self.skewed)
        np.testing.assert_array_equal(load_kernel(tmp_path / "k.npy"), self.skewed)

    def test_png_is_the_kernel_in_eight_bits(self, tmp_path):
        save_kernel(tmp_path / "k.png", self.skewed)
        pixels = np.asarray(PILImage.open(tmp_path / "k.png"))
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, np.floor(self.skewed / self.skewed.max() * 255 + 0.5))
        np.testing.assert_allclose(load_kernel(tmp_path / "k.png"), self.skewed, atol=0.5 / pixels.sum() * 2)

    def test_colours_are_averaged_and_alpha_ignored(self, tmp_path):
        pixels = np.zeros((3, 3, 4), np.uint8)
        pixels[..., 3] = 77
        pixels[1, 1, 0] = pixels[0, 2, 1] = 100
        PILImage.fromarray(pixels).save(tmp_path / "k.png")
        np.testing.assert_allclose(load_kernel(tmp_path / "k.png"), [[0, 0, 0.5], [0, 0.5, 0], [0, 0, 0]])

    def test_even_and_oblong_arrays_get_zeros(self, tmp_path):
        np.save(tmp_path / "k.npy", np.array([[1.0, 2.0, 3.0, 4.0], [0, 0, 6.0, 0]]))
        found = load_kernel(tmp_path / "k.npy") * 16
        expected = np.zeros((5, 5))
        expected[1, :4], expected[2, 2] = [1, 2, 3, 4], 6
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_several_kernels_in_npy(self, tmp_path):
        np.save(tmp_path / "k.npy", np.stack([embed(delta(), 5), self.skewed]))
        np.testing.assert_allclose(load_kernel(tmp_path / "k.npy", index=1), self.skewed, atol=1e-8)
        with pytest.raises(KernelError, match="2 kernels"):
            load_kernel(tmp_path / "k.npy", index=2)

    def test_mat_v5_matrix_and_cells(self, tmp_path):
        scipy.io.savemat(tmp_path / "one.mat", {"psf": self.skewed})
        np.testing.assert_allclose(load_kernel(tmp_path / "one.mat"), self.skewed, atol=1e-8)
        cells = np.empty((1, 2), object)
        cells[0, 0], cells[0, 1] = np.ones((3, 3)), self.skewed
        scipy.io.savemat(tmp_path / "cells.mat", {"kernels": cells})
        np.testing.assert_allclose(load_kernel(tmp_path / "cells.mat", index=1), self.skewed, atol=1e-8)

    def test_mat_v73_is_transposed(self, tmp_path):
        with h5py.File(tmp_path / "one.mat", "w") as file:
            file["psf"] = self.skewed.T
        np.testing.assert_allclose(load_kernel(tmp_path / "one.mat"), self.skewed, atol=1e-8)

    def test_mat_v73_needs_an_extra(self, tmp_path, monkeypatch):
        with h5py.File(tmp_path / "one.mat", "w") as file:
            file["psf"] = self.skewed.T
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(MissingExtraError, match=r"unblur\[mat\]"):
            load_kernel(tmp_path / "one.mat")

    def test_centred(self, tmp_path):
        np.save(tmp_path / "k.npy", np.roll(embed(disk(2), 11), 2, axis=0))
        np.testing.assert_allclose(
            load_kernel(tmp_path / "k.npy", centred=True), embed(disk(2), 11), atol=1e-8
        )

    @pytest.mark.parametrize("name", ["k.npy", "k.mat", "k.png", "k.txt"])
    @pytest.mark.parametrize("content", [b"", b"not a kernel at all, whatever the name says" * 9])
    def test_refuses_broken_files(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            load_kernel(tmp_path / name)

    def test_refuses_truncated_files(self, tmp_path):
        save_kernel(tmp_path / "k.npy", self.skewed)
        with h5py.File(tmp_path / "h.mat", "w") as file:
            file["psf"] = self.skewed
        scipy.io.savemat(tmp_path / "m.mat", {"psf": self.skewed})
        PILImage.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(
            tmp_path / "p.png"
        )
        for path in tmp_path.iterdir():
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
            with pytest.raises(FileError, match=path.name):
                load_kernel(path)

    def test_refuses_missing_files_and_folders(self, tmp_path):
        for path in (tmp_path, tmp_path / "none.npy"):
            with pytest.raises(FileError):
                load_kernel(path)

    def test_refuses_a_stack_of_oblong_planes(self, tmp_path):
        np.save(tmp_path / "rgb.npy", np.ones((9, 9, 3)))
        with pytest.raises(KernelError, match=r"\(9, 9, 3\)"):
            load_kernel(tmp_path / "rgb.npy")

    def test_save_refuses(self, tmp_path):
        with pytest.raises(OptionError):
            save_kernel(tmp_path / "k.tif", self.skewed)
        for name in ("k.npy", "k.png"):
            with pytest.raises(OutputError):
                save_kernel(tmp_path / "no folder" / name, self.skewed)


@pytest.mark.data
class TestSampleKernels:
    @pytest.mark.parametrize("index", range(8))
    def test_levin_mat_and_npy_agree(self, data, index):
        from_mat = load_kernel(data / "kernels" / "Levin09.mat", index=index)
        np.testing.assert_array_equal(from_mat, load_kernel(data / "kernels" / f"levin09_{index + 1}.npy"))

    def test_levin_kernels_can_be_centred(self, data):
        for index in range(8):
            kernel = load_kernel(data / "kernels" / "Levin09.mat", index=index, centred=True)
            assert np.abs(moments(kernel)[0]).max() <= 0.5 + 1e-6
            assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)

    def test_twelve_cells(self, data):
        for index in range(12):
            assert load_kernel(data / "kernels" / "kernels_12.mat", index=index).shape == (25, 25)
        with pytest.raises(KernelError, match="12 kernels"):
            load_kernel(data / "kernels" / "kernels_12.mat", index=12)


def test_area_coverage_is_exact_for_whole_pixels():
    x = kernels._subcolumns(5)
    covered = kernels._coverage(np.where(np.abs(x) < 1.5, -0.5, 0.0), np.where(np.abs(x) < 1.5, 0.5, 0.0), 5)
    expected = np.zeros((5, 5))
    expected[2, 1:4] = 1
    np.testing.assert_array_equal(covered, expected)
